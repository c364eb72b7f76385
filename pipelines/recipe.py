"""The recipe of a curation: which reader, and the configuration of every stage. Defaults stand for the rest."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import yaml
from pydantic import Field, model_validator

from data_schemas.strict_model import StrictModel
from harp.configuration import load_recipe
from pipelines.alignment.stage import AlignConfig
from pipelines.camera_motion.stage import CameraConfig
from pipelines.datasets.base import Reader
from pipelines.datasets.ingest import IngestConfig
from pipelines.engine.executor import Limits
from pipelines.objects.stage import ObjectConfig
from pipelines.quality.verdict import VerdictConfig
from pipelines.shards.stage import ShardConfig
from pipelines.wrists.stage import WristConfig

RECIPES = Path(__file__).parent / "recipes"


class ReaderConfig(StrictModel):
    """Name of a reader and its own options."""

    name: str
    options: dict = Field(default_factory=dict)


class CurateRecipe(StrictModel):
    """How to curate one data set."""

    dataset: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """Name of the data set in tables, ids and versions."""
    reader: ReaderConfig
    wrists: WristConfig = WristConfig()
    camera: CameraConfig = CameraConfig()
    objects: ObjectConfig = ObjectConfig()
    alignment: AlignConfig = AlignConfig()
    verdict: VerdictConfig = VerdictConfig()
    shards: ShardConfig = ShardConfig()
    max_failed_fraction: float = Field(0.5, ge=0, le=1)
    """A stage in which more items failed ends the run, after everything else was committed."""
    limits: Limits = Limits()
    """What an item and a worker may take; no part of any key."""

    @model_validator(mode="after")
    def _shards_hold_all_keypoints(self) -> Self:
        if self.objects.num_keypoints > self.shards.num_keypoints:
            raise ValueError(
                f"objects.num_keypoints is {self.objects.num_keypoints}, but shards.num_keypoints, which has to hold "
                f"them, is {self.shards.num_keypoints}: raise it too"
            )
        return self

    @property
    def ingest(self) -> IngestConfig:
        return IngestConfig(name=self.reader.name, dataset=self.dataset, options=self.reader.options)

    def make_reader(self) -> Reader:
        return self.ingest.make_reader()

    def as_yaml(self) -> str:
        """The recipe with every key, those of the reader included; read as a recipe it is this one."""
        values = self.model_dump(mode="json")
        values["reader"]["options"] = self.ingest.options
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def load_curate_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> CurateRecipe:
    """A recipe by the name it ships under, or by the path of a YAML file, with `key.path=value` changes."""
    return load_recipe(CurateRecipe, RECIPES, name_or_path, overrides)
