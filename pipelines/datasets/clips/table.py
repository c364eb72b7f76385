"""The table of the clips reader, `pairs.csv`.

    pair_id,human,robot,instruction,calibration,task,license
    push_1,human/push_1.mp4,robot/push_1.mov,push the plate forward,calibration/push_1.json,push,CC-BY-4.0
    push_2,human/push_2.mp4,,push the plate forward,,push,CC-BY-4.0
    ,,robot/play.mp4,stack the cups,,,

The first four columns must be there, the others may be. A clip without an instruction is read and tracked, but only published
where the recipe says `verdict.require_instruction: false`. Paths are relative to the raw root and use forward
slashes. A row with a `pair_id` and one video is a pair whose other half is missing; a row without `pair_id`
is a clip that was never meant to be paired. A pair is held out or trained on by itself, whatever its name, but together
with the pairs that it shares a video with.
"""

import csv
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from data_schemas.errors import UserError

REQUIRED = ("pair_id", "human", "robot", "instruction")
OPTIONAL = ("calibration", "task", "license")

logger = logging.getLogger(__name__)


def read_table(path: Path) -> Iterator[dict[str, str]]:
    """Rows of the table with every column of REQUIRED and OPTIONAL, one by one: a table may have 100,000.

    Raises:
        UserError: for any defect, when its line comes.
    """
    if not path.is_file():
        raise UserError(
            f"{path} is missing: the clips reader expects a table with the columns {', '.join(REQUIRED)} "
            "beside the videos; write one."
        )
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            columns = [name.strip() for name in next(reader, [])]
            yield from _rows(path, reader, columns)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8.") from None
    except csv.Error as error:
        raise UserError(f"{path} is no CSV table: {error}; mend that line.") from None


def _rows(path: Path, reader: Any, columns: list[str]) -> Iterator[dict[str, str]]:
    """The rows below a header of these columns."""
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise UserError(
            f"{path} has the columns {', '.join(columns) or '(none)'}: expected also {', '.join(missing)}; add them."
        )
    extra = [name for name in columns if name not in REQUIRED + OPTIONAL]
    if extra:
        logger.warning("%s: columns %s are not read", path, ", ".join(extra))
    seen: dict[str, int] = {}
    shown: dict[str, str] = {}
    empty = dict.fromkeys(REQUIRED + OPTIONAL, "")
    places = {name: columns.index(name) for name in empty if name in columns}
    for row in filter(None, reader):
        line = reader.line_num
        if len(row) != len(columns):
            raise UserError(
                f"{path} line {line} has not {len(columns)} fields: quote an instruction that holds a comma."
            )
        cells = empty | {name: row[place].strip() for name, place in places.items()}
        if problem := _problem(cells, seen, shown):
            raise UserError(f"{path} line {line} {problem}")
        if cells["pair_id"]:
            seen[cells["pair_id"]] = line
        yield cells


def _problem(row: Mapping[str, str], seen: Mapping[str, int], shown: dict[str, str]) -> str:
    """What is wrong with a row and how to mend it; nothing, mostly.

    Args:
        seen: pair_id -> line of the rows before.
        shown: video -> `human` or `robot`, of the rows before; the row's own are added.
    """
    name, human, robot = row["pair_id"], row["human"], row["robot"]
    if not human and not robot:
        return "names no video: expected a path under human or robot; add one or drop the row."
    if not name and human and robot:
        return "names two videos without a pair_id: give the pair a name."
    if name in seen:
        return f"repeats the pair_id '{name}' of line {seen[name]}: give each pair its own."
    for column in ("human", "robot"):
        if row[column] and (other := shown.setdefault(row[column], column)) != column:
            return (
                f"has '{row[column]}' under {column}, which stands under {other}, too: mend one of the paths."
            )
    for column in ("human", "robot", "calibration"):
        if flaw := _flaw(row[column]):
            return f"has the {column} {row[column]!r}, which {flaw}"
    return ""


def _flaw(place: str) -> str:
    """What is wrong with a path. It is looked at as text: a path object for each would take longer than all else here."""
    if place.startswith("/") or (".." in place and ".." in place.split("/")):
        return "leads out of the folder: expected a path inside it; copy the file there."
    if "\0" in place:
        return "holds a NUL character: expected a path; write it anew."
    return ""
