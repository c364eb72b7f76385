"""The lake against plain dictionaries, and through the files that it writes."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from data_schemas.errors import UserError
from data_schemas.row import Row
from pipelines.engine.lake import Condition, Lake
from tests.pipelines.engine.toy import Power, power_row


def test_rows_come_back_as_they_went_in(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    rows = {f"id{v}": power_row(v, 2) for v in range(7)}
    lake.append(Power, "k1", list(rows.items())[:3])
    lake.append(Power, "k1", list(rows.items())[3:])
    back = lake.read(Power, "k1")
    assert list(back) == sorted(rows)
    for item_id, row in rows.items():
        assert back[item_id].to_record().keys() == row.to_record().keys()
        assert back[item_id].lower.shape == row.lower.shape
        assert back[item_id].lower.dtype == np.float32
        np.testing.assert_array_equal(back[item_id].lower, row.lower)
        for name in ("value", "power", "note", "tags", "numbers"):
            assert getattr(back[item_id], name) == getattr(row, name)


def test_keys_are_apart(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.append(Power, "k1", [("a", power_row(1, 2)), ("b", power_row(2, 2))])
    lake.append(Power, "k2", [("a", power_row(1, 3))])
    assert lake.ids(Power, "k1") == {"a", "b"}
    assert lake.ids(Power, "k2") == {"a"}
    assert lake.read(Power, "k1", ["b", "zzz"]).keys() == {"b"}
    assert lake.table(Power).num_rows == 3


def test_conditions_choose_rows_whatever_the_files(tmp_path: Path) -> None:
    lake, other = Lake(tmp_path), Lake(tmp_path)
    assert lake.table(Power).num_rows == 0
    for start in range(0, 12, 3):
        other.append(Power, "k", [(f"{v:02d}", power_row(v, 2)) for v in range(start, start + 3)])
        assert lake.table(Power).num_rows == start + 3, "commits of others are seen"
    conditions: dict[Condition, set[int]] = {
        ("value", "!=", 4): set(range(12)) - {4},
        ("value", ">=", 7): {7, 8, 9, 10, 11},
        ("note", "=", "even"): {0, 2, 4, 6, 8, 10},
        ("value", "in", (3, 99)): {3},
    }
    for condition, expected in conditions.items():
        assert set(lake.table(Power, "k", ["value"], [condition])["value"].to_pylist()) == expected
    both = lake.table(Power, "k", ["item_id"], [("note", "=", "even"), ("value", ">", 8)])
    assert both["item_id"].to_pylist() == ["10"]


def test_an_empty_lake_reads_empty(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "none")
    assert lake.ids(Power, "k") == set()
    assert lake.read(Power, "k") == {}
    lake.append(Power, "k", [])
    assert not (tmp_path / "none").exists()


def test_ids_read_only_the_files_of_their_key(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.append(Power, "k1", [("a", power_row(1, 2))])
    lake.append(Power, "k2", [("b", power_row(2, 2))])
    for file in (tmp_path / "powers" / "stage_key=k1").glob("*.parquet"):
        file.write_bytes(b"not parquet")
    assert lake.ids(Power, "k2") == {"b"}
    with pytest.raises(Exception, match=r"(?i)parquet"):
        lake.ids(Power, "k1")


def test_any_delta_reader_sees_the_table(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.append(Power, "k1", [("a", power_row(5, 2))])
    delta = DeltaTable(tmp_path / "powers")
    assert delta.metadata().partition_columns == ["stage_key"]
    (file,) = (tmp_path / "powers").rglob("*.parquet")
    assert pq.ParquetFile(file).read().to_pylist()[0]["power"] == 25


def test_a_file_as_root_is_a_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        Lake(tmp_path / "file")


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        OSError("Generic LocalFileSystem error: Unable to copy data to file: File too large (os error 27)"),
        DeltaError("Failed to parse parquet: Unable to open file /lake/part: Not a directory (os error 20)"),
        DeltaError('Could not create local directory: Os { code: 20, kind: NotADirectory, message: "…" }'),
        OSError("Server returned non-2xx status code 403 Forbidden <Code>InvalidAccessKeyId</Code>"),
        OSError("Server returned non-2xx status code 404 Not Found <Code>NoSuchBucket</Code>"),
        PermissionError("Access Denied"),
    ],
    ids=str,
)
def test_what_the_storage_refuses_is_a_users_mistake(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(UserError, match=r"cannot be written to .* make room or give write access"):
        raise_while_writing(Lake(tmp_path), error)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(104, "Connection reset by peer"),
        TimeoutError("timed out"),
        OSError(5, "Input/output error"),
        OSError(16, "Please reduce your request rate."),
        OSError("Generic S3 error: error sending request: Connection refused (os error 111)"),
        DeltaError("Generic S3 error: Error performing PUT: tcp connect error (os error 111)"),
        OSError("Server returned non-2xx status code 503 Slow Down"),
    ],
    ids=str,
)
def test_an_outage_of_the_storage_stays_what_it_is(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        raise_while_writing(Lake(tmp_path), error)
    assert caught.value is error


def raise_while_writing(lake: Lake, error: Exception) -> None:
    with lake.writing():
        raise error


@dataclass(frozen=True)
class Before(Row):
    """As `Power` was before it knew anything but the value."""

    TABLE: ClassVar[str] = "powers"

    value: int


def test_a_condition_on_a_column_that_rows_have_gained_since(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.append(Before, "k", [("a", Before(1))])
    assert lake.table(Power, "k", ["item_id"], [("note", "=", "even")]).num_rows == 0
    lake.append(Power, "k", [("b", power_row(2, 2))])
    assert lake.table(Power, "k", ["item_id"], [("note", "=", "even")])["item_id"].to_pylist() == ["b"]
