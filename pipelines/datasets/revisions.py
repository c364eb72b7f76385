"""Demonstrations whose video stands as it was, while something beside it has changed: an instruction, poses, a calibration.

A demonstration's id is that of its video, so that a file may move. What later stages computed from the video and what
lay beside it is found by that id, too: after a mended instruction they would find nothing left to do. A row that says
something else than an earlier row of the same video, which the run's clips no longer have, therefore gets an id of its
own. Everything that follows is then computed for it, versions published before keep what they had, and a change that is
taken back finds the rows of before. Files that were merely touched, copied or moved say the same, and keep their id.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_schemas.demonstrations import Demonstration
from data_schemas.identity import content_id
from pipelines.engine.lake import Lake

PLACE = ("demonstration_id", "source", "video_path", "revision")
"""Columns that are no part of what a row says."""


def revision_of(row: Demonstration) -> str:
    """Hash of what a row says, wherever its files lie."""
    said = {name: value for name, value in row.to_record().items() if name not in PLACE}
    return content_id("revision", json.dumps(said, sort_keys=True, default=np.ndarray.tolist))


class Revisions:
    """What earlier runs have read of the videos, as it bears on the ids of new rows.

    Args:
        stage_key: of ingestion.
        current: items of this run. Two of them may be copies of one video, and then are one demonstration.
    """

    def __init__(self, lake: Lake, stage_key: str, current: Collection[str]) -> None:
        self._lake, self._stage_key, self._current = lake, stage_key, current

    def settle(self, rows: Sequence[tuple[str, Demonstration]]) -> list[tuple[str, Demonstration]]:
        """The rows by item id, under the ids that they are to have."""
        return [(item_id, self._settled(row)) for item_id, row in rows]

    def _settled(self, row: Demonstration) -> Demonstration:
        said_before = self._earlier.get(row.demonstration_id)
        if said_before is None or row.revision is None or row.revision in said_before:
            return row
        own_id = content_id("demonstration", row.demonstration_id, row.revision)
        return replace(row, demonstration_id=own_id)

    @cached_property
    def _earlier(self) -> dict[str, set[str]]:
        """Demonstration id -> revisions of its rows that are not of this run.

        Rows written before there were revisions are left out: they count as saying the same.
        """
        columns = ["item_id", "demonstration_id", "revision"]
        table = self._lake.table(Demonstration, self._stage_key, columns, [("revision", "!=", "")])
        current = pa.array(list(self._current), pa.string())
        is_current = pc.is_in(table["item_id"], current)  # type: ignore[attr-defined]
        table = table.filter(pc.invert(is_current))  # type: ignore[attr-defined]
        earlier: dict[str, set[str]] = {}
        pairs = zip(table["demonstration_id"].to_pylist(), table["revision"].to_pylist(), strict=True)
        for demonstration_id, revision in pairs:
            earlier.setdefault(demonstration_id, set()).add(revision)
        return earlier
