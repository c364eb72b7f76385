"""Ray for curation and training alike: the cluster at an address, or one that starts on this machine."""

import logging
import os
from typing import Any

import ray

from harp.ray_address import RayUnavailable, check_ray_address

logger = logging.getLogger(__name__)

START_ATTEMPTS = 4

DASHBOARD = "HARP_RAY_DASHBOARD"
"""Set to 1, a Ray that starts here serves its dashboard on loopback. Off by default: it is ten processes, and mostly nobody looks."""


def connect_ray(address: str | None, **own: Any) -> None:
    """Connect to a cluster, or start Ray on this machine until `ray.shutdown`.

    Args:
        address: of the cluster; None starts Ray here.
        own: options of `ray.init` for a Ray that starts here.

    Raises:
        RayUnavailable: nobody answers at the address, or Ray does not start.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address:
        check_ray_address(address)
        ray.init(address=address, **quiet)
        return
    wants_dashboard = os.environ.get(DASHBOARD, "0") not in ("", "0")
    # Asked for True, Ray fails where its dashboard does; for None it tries, and goes on without.
    own["include_dashboard"] = None if wants_dashboard else False
    for attempt in range(1, START_ATTEMPTS + 1):
        try:
            context = ray.init(address="local", **quiet, **own)
        except Exception as error:
            # Ray gives its processes 15 to 30 s to come up, which a busy machine may exceed. It raises a bare Exception.
            ray.shutdown()
            if attempt == START_ATTEMPTS:
                raise RayUnavailable(
                    f"Ray did not start in {START_ATTEMPTS} attempts ({error}): run again when the machine is less "
                    "busy, or without Ray: with the local executor, or a training with one worker."
                ) from error
            logger.warning("Ray did not start (%s); trying again", error)
            continue
        if wants_dashboard:
            tell_dashboard(context.dashboard_url)
        return


def tell_dashboard(url: str | None) -> None:
    """Say where the dashboard is, given the address that `ray.init` returns."""
    if url:
        logger.info("Ray's dashboard is at http://%s", url)
    else:
        logger.warning(
            "Ray's dashboard, which %s asks for, did not start; the run goes on without. It needs ray[default].",
            DASHBOARD,
        )
