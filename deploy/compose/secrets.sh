#!/bin/sh
# Writes what docker-compose.yml reads from ./secrets. What is there already is kept.
#   deploy/compose/secrets.sh [CONTEXT]     CONTEXT: of your kubeconfig; the current one by default
set -eu
cd "$(dirname "$0")/../.."

# Containers run as other users and read single files of it; other users of this machine cannot enter it.
mkdir -p -m 700 secrets

random() {
  if [ -s "secrets/$1" ]; then return; fi
  head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"secrets/$1"
  chmod 444 "secrets/$1"
  echo "secrets/$1: written"
}

random postgres_password
random audit_password
random webhook_token

if [ ! -s secrets/kubeconfig ]; then
  if ! command -v kubectl >/dev/null; then
    echo "secrets/kubeconfig: kubectl is not here; put the kubeconfig of the cluster there yourself (docs/operations.md)" >&2
    exit 1
  fi
  kubectl config view --raw --minify --flatten ${1:+--context "$1"} >secrets/kubeconfig.new
  chmod 444 secrets/kubeconfig.new
  mv secrets/kubeconfig.new secrets/kubeconfig
  echo "secrets/kubeconfig: written from ${1:-the current context}"
fi
