#!/bin/sh
# Runs in the image of PostgreSQL. Creates the user and the database of Salvor's audit where they are absent.
set -eu

PGPASSWORD="$(cat /run/secrets/postgres_password)"
export PGPASSWORD

# On standard input: a password among the arguments could be seen in the process list.
{
  printf '\\set password %s\n' "$(cat /run/secrets/audit_password)"
  cat <<'SQL'
SELECT 'CREATE ROLE salvor LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'salvor') \gexec
ALTER ROLE salvor WITH PASSWORD :'password';
SELECT 'CREATE DATABASE salvor OWNER salvor' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'salvor') \gexec
SQL
} | psql --no-psqlrc --quiet --set ON_ERROR_STOP=1
