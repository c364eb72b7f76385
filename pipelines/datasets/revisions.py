"""Demonstrations whose video stands as it was, while something beside it has changed: an instruction, poses, a calibration.

A demonstration's id is that of its video, so that a file may move. What later stages computed from the video and what
lay beside it is found by that id, too: after a mended instruction they would find nothing left to do. A row that says
something else than an earlier row of the same video therefore gets an id of its own. Everything that follows is then
computed for it, versions published before keep what they had, and a change that is taken back finds the rows of before.
Files that were merely touched, copied or moved say the same, and keep their id.

Copies of one video that are new at the same time, as under two pairs, are one demonstration whatever they say. When a run
was killed while it read them, the next one finds the rows of some: a row whose clip is still there therefore counts as
earlier only once a later stage has taken it up. So the ids are those of a run that was never killed, whatever stood when
it continued.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_schemas.cues import WristTrack
from data_schemas.demonstrations import Demonstration
from data_schemas.identity import content_id
from data_schemas.ledger import LedgerEntry
from pipelines.engine.lake import Condition, Lake

PLACE = ("demonstration_id", "source", "video_path", "revision")
"""Columns that are no part of what a row says."""

USE = ("item_id", "committed_at")


def revision_of(row: Demonstration) -> str:
    """Hash of what a row says, wherever its files lie."""
    said = {name: value for name, value in row.to_record().items() if name not in PLACE}
    return content_id("revision", json.dumps(said, sort_keys=True, default=np.ndarray.tolist))


class Revisions:
    """What earlier runs have read of the videos, as it bears on the ids of new rows.

    Args:
        stage_key: of ingestion.
        current: items of this run.
    """

    def __init__(self, lake: Lake, stage_key: str, current: Collection[str]) -> None:
        self._lake, self._stage_key, self._current = lake, stage_key, current

    def settle(self, rows: Sequence[tuple[str, Demonstration]]) -> list[tuple[str, Demonstration]]:
        """The rows by item id, under the ids that they are to have."""
        if not rows:  # nothing is read where nothing is new
            return []
        earlier = self._earlier_of({row.demonstration_id for _, row in rows})
        changed = {i: row for i, row in rows if _says_otherwise(row, earlier.get(row.demonstration_id, []))}
        taken = self._taken({i: earlier[i] for i in {row.demonstration_id for row in changed.values()}})
        return [
            (i, _with_own_id(row) if i in changed and row.demonstration_id in taken else row)
            for i, row in rows
        ]

    @cached_property
    def _earlier(self) -> pa.Table:
        """Rows that stood when this run had written none, as it was about to write the first.

        Those written before there were revisions are left out: they count as saying the same.
        """
        columns = ["item_id", "demonstration_id", "revision", "committed_at"]
        return self._lake.table(Demonstration, self._stage_key, columns, [("revision", "!=", "")])

    def _earlier_of(self, ids: Collection[str]) -> dict[str, list[dict[str, Any]]]:
        """By demonstration id."""
        is_wanted = pc.is_in(self._earlier["demonstration_id"], pa.array(list(ids), pa.string()))
        found: dict[str, list[dict[str, Any]]] = {}
        for row in self._earlier.filter(is_wanted).to_pylist():
            found.setdefault(row["demonstration_id"], []).append(row)
        return found

    def _taken(self, earlier: Mapping[str, list[dict[str, Any]]]) -> set[str]:
        """The ids that stay with their earlier rows: of a clip that is no longer there as it was, or that is taken up."""
        gone = {i for i, rows in earlier.items() if any(row["item_id"] not in self._current for row in rows)}
        return gone | self._taken_up({i: rows for i, rows in earlier.items() if i not in gone})

    def _taken_up(self, earlier: Mapping[str, list[dict[str, Any]]]) -> set[str]:
        """The ids for which a later stage has been at work since their rows stand.

        The first of them finds wrists. A kill may leave its last rows without ledger entries, so both are looked at. What
        is older than the rows was done after the video was read under another key.
        """
        since = {i: min(row["committed_at"] for row in rows) for i, rows in earlier.items()}
        if not since:
            return set()
        wanted: Condition = ("item_id", "in", pa.array(list(since), pa.string()))
        tables = [self._lake.table(kind, None, USE, [wanted]) for kind in (WristTrack, LedgerEntry)]
        return {
            i for table in tables for i, at in zip(*table.to_pydict().values(), strict=True) if at > since[i]
        }


def _says_otherwise(row: Demonstration, earlier: Sequence[Mapping[str, Any]]) -> bool:
    """Than all earlier rows; no, where there are none."""
    return bool(earlier) and row.revision is not None and all(row.revision != e["revision"] for e in earlier)


def _with_own_id(row: Demonstration) -> Demonstration:
    assert row.revision is not None
    return replace(row, demonstration_id=content_id("demonstration", row.demonstration_id, row.revision))
