"""Prefect flows: thin wrappers, one task per stage.

Prefect reads its settings when it is first imported, so the defaults for embedded use are set here, before any
flow imports it. What the user has set stays as it is: with PREFECT_API_URL the flows talk to that server,
without it Prefect starts one of its own for the time of the run.

On a worker the loggers of `PREFECT_LOGGING_EXTRA_LOGGERS` write to the page of the run, but only what passes their
level, which Prefect leaves at the root's: WARNING.
"""

import logging
import os

EMBEDDED = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # The embedded server takes about 15 s on two busy cores; Prefect's own patience is 20 s.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    "PREFECT_LOGGING_LEVEL": "WARNING",
}

for _name, _value in EMBEDDED.items():
    os.environ.setdefault(_name, _value)

for _name in ("harp", "pipelines", "flows"):
    logging.getLogger(_name).setLevel(logging.INFO)
