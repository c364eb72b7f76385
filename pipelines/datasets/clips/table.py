"""The table of the clips reader, `pairs.csv`.

    pair_id,human,robot,instruction,calibration,task,license
    push_1,human/push_1.mp4,robot/push_1.mov,push the plate forward,calibration/push_1.json,push,CC-BY-4.0
    push_2,human/push_2.mp4,,push the plate forward,,push,CC-BY-4.0
    ,,robot/play.mp4,,,,

The first four columns must be there, the others may be. Paths are relative to the raw root and use forward
slashes. A row with a `pair_id` and one video is a pair whose other half is missing; a row without `pair_id`
is a clip that was never meant to be paired.
"""

import csv
import logging
from collections.abc import Mapping
from pathlib import Path

from data_schemas.errors import UserError

REQUIRED = ("pair_id", "human", "robot", "instruction")
OPTIONAL = ("calibration", "task", "license")

logger = logging.getLogger(__name__)


def load_table(path: Path) -> list[dict[str, str]]:
    """Rows of the table with every column of REQUIRED and OPTIONAL; raises `UserError` for any defect."""
    if not path.is_file():
        raise UserError(
            f"{path} is missing: the clips reader expects a table with the columns {', '.join(REQUIRED)} "
            "beside the videos; write one."
        )
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            columns = [name.strip() for name in next(reader, [])]
            rows = [(reader.line_num, row) for row in reader if row]
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8.") from None
    except csv.Error as error:
        raise UserError(f"{path} is no CSV table: {error}; mend that line.") from None
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise UserError(
            f"{path} has the columns {', '.join(columns) or '(none)'}: expected also {', '.join(missing)}; add them."
        )
    extra = [name for name in columns if name not in REQUIRED + OPTIONAL]
    if extra:
        logger.warning("%s: columns %s are not read", path, ", ".join(extra))
    seen: dict[str, int] = {}
    table = []
    empty = dict.fromkeys(REQUIRED + OPTIONAL, "")
    places = {name: columns.index(name) for name in empty if name in columns}
    for line, row in rows:
        if len(row) != len(columns):
            raise UserError(
                f"{path} line {line} has not {len(columns)} fields: quote an instruction that holds a comma."
            )
        cells = empty | {name: row[place].strip() for name, place in places.items()}
        _check_row(cells, path, seen, line)
        table.append(cells)
    return table


def _check_row(row: Mapping[str, str], table: Path, seen: dict[str, int], line: int) -> None:
    where, name = f"{table} line {line}", row["pair_id"]
    if not row["human"] and not row["robot"]:
        raise UserError(
            f"{where} names no video: expected a path under human or robot; add one or drop the row."
        )
    if not name and row["human"] and row["robot"]:
        raise UserError(f"{where} names two videos without a pair_id: give the pair a name.")
    if name in seen:
        raise UserError(f"{where} repeats the pair_id '{name}' of line {seen[name]}: give each pair its own.")
    if name:
        seen[name] = line
    for column in ("human", "robot", "calibration"):
        path = row[column]  # a path object for each would take longer than all else here
        if path.startswith("/") or ".." in path.split("/"):
            raise UserError(
                f"{where}: {column} '{row[column]}' leads out of the folder: expected a path inside it; "
                "copy the file there."
            )
