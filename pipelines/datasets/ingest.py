"""The first stage of curation: clips found on disk become rows of `demonstrations`."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, model_validator

from data_schemas.demonstrations import Demonstration
from data_schemas.errors import BadInput
from pipelines.datasets.base import Reader, Skip
from pipelines.datasets.clip_files import file_states, source_id
from pipelines.datasets.registry import check_options, get_reader
from pipelines.datasets.revisions import revision_of
from pipelines.engine.stage import Done, Failed, Filtered, Outcome, Stage, StageConfig
from pipelines.engine.work import Labels, Work
from pipelines.inputs import SourceClip

SourcePayload = tuple[SourceClip, Path]
"""A clip and the raw root below which it lies."""


class IngestConfig(StageConfig):
    """Which reader, with which options, under which name of the data set (the reader's own by default)."""

    name: str
    dataset: str = ""
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        """Write the defaults out, so that the stage's key changes when a default does."""
        if isinstance(values, dict) and "name" in values:
            values = {
                **values,
                "dataset": values.get("dataset") or values["name"],
                "options": check_options(values["name"], values.get("options") or {}).model_dump(mode="json"),
            }
        return values

    def make_reader(self) -> Reader:
        return get_reader(self.name, self.options, self.dataset)


def source_work(clips: Iterable[SourceClip], raw_root: Path) -> Work[SourcePayload]:
    """One item a clip; see `clip_files.source_id` for when its id changes."""
    state_of = file_states(raw_root)
    found = {source_id(clip, state_of): clip for clip in clips}
    labels = Labels(found, lambda clip: f"{clip.source} [{clip.camera}]")
    return Work(labels, lambda ids: {i: (found[i], raw_root) for i in ids})


class IngestStage(Stage[SourcePayload, IngestConfig]):
    """Opens, checks, hashes and indexes one clip per item."""

    name: ClassVar[str] = "ingest"
    version: ClassVar[int] = 2
    row = Demonstration

    def __init__(self, config: IngestConfig) -> None:
        super().__init__(config)
        self.reader = config.make_reader()

    def process(self, batch: Sequence[SourcePayload]) -> list[Outcome]:
        return [self._read(clip, raw_root) for clip, raw_root in batch]

    def _read(self, clip: SourceClip, raw_root: Path) -> Outcome:
        try:
            row = self.reader.read(clip, raw_root)
        except Skip as skip:
            return Filtered(skip.reason, skip.detail)
        except BadInput as bad:
            return Failed(bad.reason, bad.detail)
        return Done(replace(row, revision=revision_of(row)))
