"""Latent-action labels: what stage 1 reads out of every transition of a published version (paper §3.3).

Rows lie in the lake's table `latent_actions` under the stage key of their labelling, which depends on the version, the
stage-1 model and the horizons. `labels/<key>.json` beside the tables says what a finished labelling is.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa

from data_schemas.errors import UserError
from data_schemas.row import Array, Row
from data_schemas.strict_model import StrictModel
from data_schemas.versions import LATEST

LABELS = "labels"
"""Folder of the records of finished labellings, in the lake."""


@dataclass(frozen=True, eq=False)
class LatentActions(Row):
    """Codes of all N transitions of one side of one subject, horizon after horizon, each in order of time."""

    TABLE: ClassVar[str] = "latent_actions"

    subject_id: str
    side: str
    """`human` (frozen encoder) or `robot` (adapted encoder)."""
    codes_per_action: int
    """Q."""
    horizon_seconds: Annotated[np.ndarray, Array(pa.float32())]
    """(N,) the horizon Δ that was asked for."""
    frames: Annotated[np.ndarray, Array(pa.int32(), 2)]
    """(N, 2) frames t and t+Δ, counted through all segments of the subject."""
    codes: Annotated[np.ndarray, Array(pa.int16(), "codes_per_action")]
    """(N, Q) in 0 … codebook_size - 1."""


class LabelSet(StrictModel):
    """Content of `labels/<key>.json`: one labelling of one version by one model."""

    key: str
    """Stage key of its rows."""
    version_id: str
    model: str
    """Identity of the stage-1 model, by its content."""
    run: str
    """Where the stage-1 run lay on the machine that labelled; part of no key."""
    horizon_seconds: tuple[float, ...]
    codebook_size: int
    codes_per_action: int
    clips: int
    """Sides of subjects that have labels."""
    transitions: int
    left_out: dict[str, int]
    """Reason -> clips without labels."""
    finished_at: str
    """UTC, ISO 8601; of the last call, also when it found nothing to do."""


def read_label_set(
    lake: Path, labels: str, version_id: str | None = None, model: str | None = None
) -> LabelSet:
    """A finished labelling by its key, by the beginning of it, or the one asked for last (`latest`).

    Args:
        version_id: take only labellings of this version.
        model: and of these only what this stage-1 model made.

    Raises:
        UserError: there is none, several keys begin so, or the one meant is by another model.
    """
    known = [LabelSet.model_validate_json(path.read_text()) for path in (lake / LABELS).glob("*.json")]
    known = [each for each in known if version_id in (None, each.version_id)]
    of = f" of version {version_id}" if version_id else ""
    if not known:
        raise UserError(f"The lake {lake} has no labels{of} yet: make some with `harp label --stage1 RUN`.")
    own = [each for each in known if model in (None, each.model)]
    if labels == LATEST:
        if not own:
            others = ", ".join(sorted({each.model for each in known}))
            raise UserError(
                f"The lake {lake} has labels{of} by {others}, none by {model}: make some with `harp label --stage1 RUN`."
            )
        return max(own, key=lambda each: each.finished_at)
    found = [each for each in known if each.key.startswith(labels)]
    if len(found) != 1:
        keys = ", ".join(sorted(each.key for each in found or known))
        what = "several labellings begin with" if found else "no labelling is called"
        raise UserError(f"In {lake} {what} '{labels}'; there are {keys}.")
    if found[0] not in own:
        raise UserError(
            f"The labels {found[0].key} are by {found[0].model} and the encoder is of {model}; "
            "give the run that made the labels, or labels that this one made."
        )
    return found[0]
