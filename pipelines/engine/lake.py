"""The lake: one Delta Lake table per class of row, partitioned by stage key.

A commit is atomic: readers and a run that continues after a kill see all of its rows or none. The partition
column makes "which ids has this stage done" a read of one column of the files of one stage key, whatever
else the table holds. The price is that every commit adds a file per key; `runner` therefore commits seldom, and
`maintenance` joins the files. How a row comes to stand once although several runs write is in `insertion`.
"""

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from data_schemas.errors import UserError
from data_schemas.row import Row
from data_schemas.storage import is_remote, location
from pipelines.engine.refusals import is_refusal

R = TypeVar("R", bound=Row)

Condition = tuple[str, Literal["=", "!=", "<", ">", "<=", ">=", "in"], Any]
"""Column, operator, value."""

ENGINE_COLUMNS = pa.schema(
    [
        pa.field("item_id", pa.string()),
        pa.field("stage_key", pa.string()),
        pa.field("committed_at", pa.timestamp("us", tz="UTC")),
    ]
)
"""What the lake adds to the columns of every row."""

MAX_IDS_IN_RANGE = 20_000
"""Ids are also looked for by their range where they are at most so many: files and row groups that hold none of
them are then skipped by their statistics."""


class Lake:
    """Tables under one root.

    Args:
        root: a local folder (made when first written to) or the URL of an object store.
        storage_options: credentials and endpoint of an object store, as `deltalake` takes them.
    """

    def __init__(self, root: Path | str, storage_options: Mapping[str, str] | None = None) -> None:
        self.folder = location(root)
        self.root = str(self.folder).rstrip("/")
        self.storage_options = dict(storage_options or {})
        self._read: dict[type[Row], DeltaTable] = {}
        if not is_remote(self.folder) and self.folder.exists() and not self.folder.is_dir():
            raise UserError(
                f"The lake's root {self.root} is a file; give a folder, it will be made if missing."
            )

    def append(self, row_class: type[R], stage_key: str, rows: Sequence[tuple[str, R]]) -> None:
        """Commit `(item_id, row)`s under one stage key, all or none, whatever stands there already."""
        if rows:
            self.write(self.opened(row_class), row_class, stage_key, rows)

    def write(
        self,
        delta: DeltaTable,
        row_class: type[R],
        stage_key: str,
        rows: Sequence[tuple[str, R]],
        transaction: Transaction | None = None,
    ) -> None:
        """Commit rows on top of the version that `delta` stands at, and bring `delta` to the version made.

        Raises:
            CommitFailedError: another commit since then has a transaction of the same name.
            UserError: the storage is full or must not be written to.
        """
        now = datetime.now(UTC)
        records = [
            {**row.to_record(), "item_id": item_id, "stage_key": stage_key, "committed_at": now}
            for item_id, row in rows
        ]
        with self.writing():
            # `merge` lets a row class gain a column without a migration: old rows read as null there.
            write_deltalake(
                delta,
                pa.Table.from_pylist(records, schema=table_schema(row_class)),
                mode="append",
                schema_mode="merge",
                commit_properties=CommitProperties(
                    app_transactions=[] if transaction is None else [transaction]
                ),
            )

    def opened(self, row_class: type[Row]) -> DeltaTable:
        """The table at its latest version; made if it is missing."""
        if (delta := self.existing(row_class)) is not None:
            return delta
        uri, options = self._uri(row_class), self.storage_options or None
        # Of several runs that make it at once one does, and the others go on with that.
        with self.writing(), suppress(CommitFailedError):
            DeltaTable.create(
                uri,
                table_schema(row_class),
                mode="ignore",
                partition_by=["stage_key"],
                storage_options=options,
            )
        return DeltaTable(uri, storage_options=options)

    def existing(self, row_class: type[Row]) -> DeltaTable | None:
        """The table at its latest version, or None where nothing was written yet."""
        uri, options = self._uri(row_class), self.storage_options or None
        return DeltaTable(uri, storage_options=options) if DeltaTable.is_deltatable(uri, options) else None

    @contextmanager
    def writing(self) -> Generator[None]:
        """Turn what the storage refuses into a sentence for people; a half-written file is never part of a table.

        What may pass, as an object store that does not answer, stays what it is: `flows.retries` goes by it.
        """
        try:
            yield
        except CommitFailedError:
            raise
        except (OSError, DeltaError) as error:
            if is_refusal(error):
                text = " ".join(str(error).split())
                raise UserError(
                    f"The lake {self.root} cannot be written to ({text[-200:]}): make room or give write access, "
                    "and run again; what was committed stays."
                ) from error
            raise

    def read(
        self, row_class: type[R], stage_key: str, item_ids: Collection[str] | None = None
    ) -> dict[str, R]:
        """Rows by item id, in the order of the ids; of all items under the key, or of those given."""
        table = self.table(row_class, stage_key, where=_among(item_ids))
        arrays = row_class.arrays()
        rows = {record["item_id"]: row_class.from_record(record) for record in _records(table, arrays)}
        return dict(sorted(rows.items()))

    def ids(self, row_class: type[Row], stage_key: str) -> set[str]:
        """Ids of the items that have a row under the key."""
        return set(self.table(row_class, stage_key, ["item_id"]).column("item_id").to_pylist())

    def columns(
        self,
        row_class: type[Row],
        stage_key: str,
        names: Sequence[str],
        item_ids: Collection[str] | None = None,
        order: Sequence[str] = ("item_id",),
    ) -> list[list[Any]]:
        """A few columns of many rows, sorted by those of `order`: for planning, without reading the rest."""
        table = self.table(row_class, stage_key, list(dict.fromkeys([*order, *names])), _among(item_ids))
        table = table.sort_by([(name, "ascending") for name in order])
        return [table.column(name).to_pylist() for name in names]

    def records(self, row_class: type[Row], stage_key: str, names: Sequence[str]) -> list[dict[str, Any]]:
        """`columns` of all rows, as one dictionary a row with its `item_id`."""
        names = list(dict.fromkeys(["item_id", *names]))
        columns = self.columns(row_class, stage_key, names)
        return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]

    def table(
        self,
        row_class: type[Row],
        stage_key: str | None = None,
        columns: Sequence[str] | None = None,
        where: Sequence[Condition] = (),
    ) -> pa.Table:
        """Arrow table of one stage key, or of all, as it stands now; empty where nothing was written yet.

        Args:
            where: conditions that all hold for the rows returned; files whose statistics say that they hold none
                are not opened.
        """
        schema = table_schema(row_class)
        names = list(columns) if columns is not None else schema.names
        delta = self._latest(row_class)
        if delta is None:
            return schema.empty_table().select(names)
        conditions = [*where] if stage_key is None else [("stage_key", "=", stage_key), *where]
        # A column that the row class has gained since the last write is not there to prune by.
        known = {field.name for field in delta.schema().fields}
        pruning: Any = [c for c in conditions if c[1] != "in" and c[0] in known]
        # The statistics of every column in the schema are parsed for every file: 40 ms of 50 in a table of 160 files.
        needed = {"stage_key", *names, *(name for name, _, _ in where)}
        dataset = delta.to_pyarrow_dataset(
            file_pruning_predicate=pruning or None,
            schema=pa.schema([column for column in schema if column.name in needed]),
        )
        return dataset.to_table(columns=names, filter=pq.filters_to_expression([*where]) if where else None)

    def files(self, row_class: type[Row], stage_key: str) -> list[str]:
        """Names of the files that hold the rows of a stage key now, sorted; a file is never changed."""
        delta = self._latest(row_class)
        return [] if delta is None else sorted(delta.file_uris([("stage_key", "=", stage_key)]))

    def _latest(self, row_class: type[Row]) -> DeltaTable | None:
        """Like `existing`, for readers: one table is kept and brought up to date, which takes 2 ms instead of 30."""
        if row_class in self._read:
            self._read[row_class].update_incremental()
        elif (delta := self.existing(row_class)) is not None:
            self._read[row_class] = delta
        return self._read.get(row_class)

    def _uri(self, row_class: type[Row]) -> str:
        return f"{self.root}/{row_class.TABLE}"


def table_schema(row_class: type[Row]) -> pa.Schema:
    """Schema of a row's table: the row's own columns, then those of the engine it does not declare itself."""
    own = row_class.schema()
    return pa.schema([*own, *(column for column in ENGINE_COLUMNS if column.name not in own.names)])


def _among(item_ids: Collection[str] | None) -> list[Condition]:
    if item_ids is None:
        return []
    wanted: Condition = ("item_id", "in", pa.array(item_ids, pa.string()))
    if 0 < len(item_ids) <= MAX_IDS_IN_RANGE:
        return [("item_id", ">=", min(item_ids)), ("item_id", "<=", max(item_ids)), wanted]
    return [wanted]


def _records(table: pa.Table, arrays: Collection[str]) -> Iterator[dict[str, Any]]:
    """Rows as dictionaries; arrays become views on Arrow's buffers instead of lists of Python objects."""
    columns: dict[str, Sequence[Any]] = {}
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        columns[name] = _views(column) if name in arrays else column.to_pylist()
    for i in range(table.num_rows):
        yield {name: values[i] for name, values in columns.items()}


def _views(column: pa.ListArray) -> list[np.ndarray]:
    offsets = column.offsets.to_numpy()
    return np.split(column.flatten().to_numpy(zero_copy_only=False), offsets[1:-1] - offsets[0])
