"""The pretrained annotators of objects: their provenance, and that their files are there.

Unlike the small models of the default chain these are never fetched in passing: hundreds of megabytes are
downloaded when someone asks for them by name.
"""

import os
from pathlib import Path

from data_schemas.errors import UserError
from harp import weights


def model_id(name: str) -> str:
    """`name@revision` of a catalog entry."""
    return weights.CATALOG[name].model_id


def require(name: str) -> Path:
    """Folder of a model that was fetched before, or that lies in `HARP_WEIGHTS_DIR/<name>`.

    Raises:
        UserError: it is not on this machine; names the command, the size and the licence.
    """
    (state,) = (state for state in weights.list_models() if state.entry.name == name)
    entry, own = state.entry, os.environ.get("HARP_WEIGHTS_DIR")
    if not state.cached and not (own and all((Path(own) / name / file).is_file() for file in entry.files)):
        raise UserError(
            f"The weights of {entry.model_id} are not on this machine: `harp weights pull {name}` fetches them "
            f"({entry.size / 1e6:.0f} MB, licence {entry.license})."
        )
    return weights.resolve(name)
