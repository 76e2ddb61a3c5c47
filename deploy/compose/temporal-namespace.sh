#!/bin/sh
# Runs in temporalio/admin-tools. Address and namespace come from TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE.
set -eu

describe() { temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE" >/dev/null 2>&1; }

attempt=1
until temporal operator cluster health >/dev/null 2>&1; do
  if [ "$attempt" -ge 60 ]; then
    echo "Temporal at $TEMPORAL_ADDRESS did not become healthy in two minutes." >&2
    exit 1
  fi
  attempt=$((attempt + 1))
  sleep 2
done

describe || temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" --retention 30d || describe
echo "Namespace $TEMPORAL_NAMESPACE is there."
