"""Every item has at most one row under a stage key, however many runs work on the lake at once.

Delta Lake's commits are optimistic: a writer prepares its files against the version it has read and puts them into
the log if nothing that conflicts came between. Two appends never conflict by themselves, so every commit of rows
also names the stage key as its application transaction, and two commits of one name do: the later one is refused.
Its writer then reads the ids that came since, drops the rows that stand already and tries again. Commits to
other keys of the table do not disturb each other, and no lock has to be kept, given back or broken.

The cost: without company none but the name in the log; beside another run one more attempt (about 20 ms) and
the ids of the other's new files per commit. Work that two runs did on the same item before either committed is done
twice; `Todo.share` keeps that to a micro-batch or two.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Generic, TypeVar

import pyarrow as pa
import pyarrow.dataset as pads
from deltalake import Transaction
from deltalake.exceptions import CommitFailedError

from data_schemas.row import Row
from pipelines.engine.lake import Lake

R = TypeVar("R", bound=Row)

IDS = pa.schema([pa.field("item_id", pa.string()), pa.field("stage_key", pa.string())])

MAX_ATTEMPTS = 1000
"""Every refused attempt means that another run got on; so many in a row mean that something else is wrong."""


class Insertion(Generic[R]):
    """Rows of one stage key, as far as this run has read and written them.

    Args:
        lake: is not written to before there are rows.
    """

    def __init__(self, lake: Lake, row_class: type[R], stage_key: str) -> None:
        self.id_column = pa.chunked_array([], pa.string())
        """Items that have a row; grows with `insert`."""
        self.has_company = False
        """Another run has been seen to work on the same key."""
        self._lake, self._row_class, self._stage_key = lake, row_class, stage_key
        self._files: set[str] = set()
        # Rows may stand whose ids are not known here. What is raised while a commit goes on, by Ctrl-C or by the storage,
        # does not tell whether the commit stands; `_delta` may be at its version then, where nothing conflicts any more.
        self._is_behind = True
        self._delta = lake.existing(row_class)
        self._catch_up()

    @cached_property
    def ids(self) -> set[str]:
        """`id_column` as a set, which grows with it; a run that finds nothing to do needs none."""
        return set(self.id_column.to_pylist())

    def insert(self, rows: Sequence[tuple[str, R]]) -> set[str]:
        """Commit the rows of items that have none, all or none of them.

        Returns:
            Ids of the items whose row was already there, made by another run.

        Raises:
            UserError: the lake cannot be written to.
        """
        given = {item_id for item_id, _ in rows}
        if not rows:
            return set()
        if self._delta is None:
            self._delta = self._lake.opened(self._row_class)
        written: set[str] = set()
        for _ in range(MAX_ATTEMPTS):
            if self._is_behind:
                self._delta.update_incremental()
                self._catch_up()
            missing = [(item_id, row) for item_id, row in rows if item_id not in self.ids]
            if not missing:
                break
            count = (self._delta.transaction_version(self._stage_key) or 0) + 1
            self._is_behind = True
            try:
                self._lake.write(
                    self._delta,
                    self._row_class,
                    self._stage_key,
                    missing,
                    Transaction(self._stage_key, count),
                )
            except CommitFailedError:
                self.has_company = True
                continue
            # The version reached may hold commits of others after this one: their ids have to be known before the
            # next commit takes it for its base.
            self._catch_up()
            written = {item_id for item_id, _ in missing}
            break
        else:
            raise RuntimeError(f"{MAX_ATTEMPTS} commits to {self._row_class.TABLE} were refused in a row")
        return given - written

    def _catch_up(self) -> None:
        """Read the ids of the files that are new to this run."""
        if self._delta is None:
            return
        dataset = self._delta.to_pyarrow_dataset(
            file_pruning_predicate=[("stage_key", "=", self._stage_key)], schema=IDS
        )
        new = [fragment for fragment in dataset.get_fragments() if fragment.path not in self._files]
        if new:
            files = pads.FileSystemDataset(new, IDS, dataset.format, dataset.filesystem)
            column = files.to_table(columns=["item_id"]).column("item_id")
            self.id_column = pa.chunked_array([*self.id_column.chunks, *column.chunks], pa.string())
            if "ids" in self.__dict__:
                self.ids.update(column.to_pylist())
            self._files |= {fragment.path for fragment in new}
        self._is_behind = False
