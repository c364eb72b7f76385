#!/bin/sh
# Makes the work pool, deploys prefect.yaml, creates the automations. Safe to run again: what is there stays or is
# replaced. Wants PREFECT_API_URL, and is run in the folder of prefect.yaml.
set -eu

prefect work-pool inspect harp >/dev/null 2>&1 || prefect work-pool create harp --type process
prefect --no-prompt deploy --all
prefect automation inspect "crash runs that stopped answering" >/dev/null 2>&1 \
    || prefect automation create --from-file automations.yaml
