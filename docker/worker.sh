#!/bin/sh
# Joins the Ray cluster at RAY_ADDRESS, if there is one, as a node that runs no items, and works for the pool `harp`.
# A Ray driver has to be on a node of its cluster; flows are drivers.
set -eu

if [ -n "${RAY_ADDRESS:-}" ]; then
    ray start --address "$RAY_ADDRESS" --num-cpus 0 --num-gpus 0 --disable-usage-stats
fi
exec prefect worker start --pool harp --type process --with-healthcheck
