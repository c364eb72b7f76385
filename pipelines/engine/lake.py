"""The lake: one Delta Lake table per class of row, partitioned by stage key.

A commit is atomic: readers and a run that continues after a kill see all of its rows or none. The partition
column makes "which ids has this stage done" a read of one column of the files of one stage key, whatever
else the table holds. The price is that every commit adds a file per key; `runner` therefore commits seldom.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, write_deltalake

from data_schemas.errors import UserError
from data_schemas.row import Row

R = TypeVar("R", bound=Row)

ENGINE_COLUMNS = pa.schema(
    [
        pa.field("item_id", pa.string()),
        pa.field("stage_key", pa.string()),
        pa.field("committed_at", pa.timestamp("us", tz="UTC")),
    ]
)
"""What the lake adds to the columns of every row."""


class Lake:
    """Tables under one root.

    Args:
        root: a local folder (made when first written to) or the URL of an object store.
        storage_options: credentials and endpoint of an object store, as `deltalake` takes them.
    """

    def __init__(self, root: Path | str, storage_options: Mapping[str, str] | None = None) -> None:
        self.root = str(root).rstrip("/")
        self.storage_options = dict(storage_options or {})
        if "://" not in self.root and Path(self.root).exists() and not Path(self.root).is_dir():
            raise UserError(
                f"The lake's root {self.root} is a file; give a folder, it will be made if missing."
            )

    def append(self, row_class: type[R], stage_key: str, rows: Sequence[tuple[str, R]]) -> None:
        """Commit `(item_id, row)`s under one stage key, all or none."""
        if not rows:
            return
        now = datetime.now(UTC)
        records = [
            {**row.to_record(), "item_id": item_id, "stage_key": stage_key, "committed_at": now}
            for item_id, row in rows
        ]
        # `merge` lets a row class gain a column without a migration: old rows read as null there.
        write_deltalake(
            self._uri(row_class),
            pa.Table.from_pylist(records, schema=table_schema(row_class)),
            mode="append",
            partition_by=["stage_key"],
            schema_mode="merge",
            storage_options=self.storage_options or None,
        )

    def read(
        self, row_class: type[R], stage_key: str, item_ids: Collection[str] | None = None
    ) -> dict[str, R]:
        """Rows by item id, in the order of the ids; of all items under the key, or of those given."""
        condition = None if item_ids is None else pc.field("item_id").isin(list(item_ids))
        table = self.table(row_class, stage_key, condition=condition)
        arrays = row_class.arrays()
        rows = {record["item_id"]: row_class.from_record(record) for record in _records(table, arrays)}
        return dict(sorted(rows.items()))

    def ids(self, row_class: type[Row], stage_key: str) -> set[str]:
        """Ids of the items that have a row under the key."""
        return set(self.table(row_class, stage_key, ["item_id"]).column("item_id").to_pylist())

    def table(
        self,
        row_class: type[Row],
        stage_key: str | None = None,
        columns: Sequence[str] | None = None,
        condition: pc.Expression | None = None,
    ) -> pa.Table:
        """Arrow table of one stage key, or of all; empty where nothing was written yet."""
        schema = table_schema(row_class)
        names = list(columns) if columns is not None else schema.names
        if not DeltaTable.is_deltatable(self._uri(row_class), self.storage_options or None):
            return schema.empty_table().select(names)
        delta = DeltaTable(self._uri(row_class), storage_options=self.storage_options or None)
        pruning = None if stage_key is None else [("stage_key", "=", stage_key)]
        dataset = delta.to_pyarrow_dataset(file_pruning_predicate=pruning, schema=schema)
        return dataset.to_table(columns=names, filter=condition)

    def _uri(self, row_class: type[Row]) -> str:
        return f"{self.root}/{row_class.TABLE}"


def table_schema(row_class: type[Row]) -> pa.Schema:
    """Schema of a row's table: the row's own columns, then those of the engine it does not declare itself."""
    own = row_class.schema()
    return pa.schema([*own, *(column for column in ENGINE_COLUMNS if column.name not in own.names)])


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
