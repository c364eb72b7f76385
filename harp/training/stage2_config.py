"""Configuration of stage 2: everything that a run's result depends on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from data_schemas.errors import UserError
from data_schemas.latent_actions import LabelSet, read_label_set
from data_schemas.strict_model import StrictModel
from data_schemas.versions import LATEST
from harp.data.policy_labels import LabelDataConfig, LabelSource
from harp.policy.config import PolicyConfig, preset
from harp.training.config import PolicyTrainingConfig
from harp.training.policy_run import Start, checkpoint_identity
from harp.training.run_folder import begun_request
from harp.training.stage1_models import finished_config, stage1_identity


class Stage2Config(StrictModel):
    """Pretraining of a policy on latent actions (paper §3.3)."""

    seed: int = Field(default=0, ge=0)
    policy: Annotated[PolicyConfig, BeforeValidator(preset)]
    """Sizes, or `{preset: tiny}` with changes."""
    vision: Literal["frozen", "adapters", "all"] = "frozen"
    """What of the vision encoder is trained besides the rest; the paper freezes it."""
    adapters: Literal["stage1", "identity"] = "stage1"
    """Whether the robot's adapters are copied from stage 1 (the paper) or begin, and if frozen stay, at the identity."""
    data: LabelDataConfig
    training: PolicyTrainingConfig
    test_transitions: int = Field(default=256, ge=0)
    """Held-out transitions, evenly spread, that the trained policy is tested on."""
    stage1: str | None = None
    """Identity of the stage-1 run the encoder comes from; filled in when the run starts."""
    base: str | None = None
    """Identity of the checkpoint the run starts from; filled in when the run starts."""

    @model_validator(mode="after")
    def _fits_what_is_trained(self) -> "Stage2Config":
        if self.data.keep_features and self.vision != "frozen":
            raise ValueError(
                "data.keep_features needs a vision encoder that is not trained: give vision=frozen, or "
                "data.keep_features=false"
            )
        if self.training.sharding and self.vision != "frozen":
            raise ValueError(
                "training.sharding needs vision=frozen: workers wait for each other's gradients, and a batch without "
                "robots has none for the adapters"
            )
        return self


def resolve_stage2(config: Stage2Config, labels: Sequence[LabelSet], start: Start) -> Stage2Config:
    """The configuration with all that the recipe leaves to data and stage 1: sources, sizes, identities.

    Raises:
        UserError: no finished stage-1 run, no base checkpoint, or neither where adapters of stage 1 are asked for.
    """
    if config.adapters == "stage1" and not (start.stage1 or start.base):
        raise UserError(
            "The adapters are to be those of stage 1 and no run is given: name it by --stage1, or set adapters=identity."
        )
    policy = config.policy.model_dump()
    first = labels[0]
    policy |= {
        "num_codes": first.codebook_size,
        "codes_per_action": first.codes_per_action,
        "codes_of": first.model,
    }
    if start.stage1:
        policy["vision"] = finished_config(start.stage1).vision.model_dump()
    named = config.data.sources or tuple(LabelSource(labels=each.key) for each in labels)
    sources = tuple(
        source.model_copy(update={"labels": each.key}) for source, each in zip(named, labels, strict=True)
    )
    return Stage2Config.model_validate(
        config.model_dump()
        | {
            "policy": policy,
            "data": config.data.model_copy(update={"sources": sources}).model_dump(),
            "stage1": stage1_identity(start.stage1) if start.stage1 else None,
            "base": checkpoint_identity(start.base) if start.base else None,
        }
    )


def label_sets(
    lake: Path,
    names: Sequence[str],
    version_id: str | None,
    config: Stage2Config,
    start: Start,
    begun: Sequence[str] = (),
) -> list[LabelSet]:
    """The labellings that the command line, or else the recipe's sources, name.

    Args:
        names: keys, or `latest`.
        version_id: whose newest labelling is meant where neither names one.
        start: the stage-1 run, where there is one, made them: codes of another model mean other things.
        begun: keys that the run began with, which its `latest` means whatever was labelled since.

    Raises:
        UserError: no such labels, labels of another model, or labels named in both places.
    """
    from_recipe = [source.labels for source in config.data.sources]
    if names and from_recipe:
        raise UserError("Labels are named by --labels and by data.sources; use one of the two.")
    keys = list(names or from_recipe or [LATEST])
    if version_id is None and len(begun) == len(keys):
        keys = [before if key == LATEST else key for key, before in zip(keys, begun, strict=True)]
    model = stage1_identity(start.stage1) if start.stage1 else None
    return [read_label_set(lake, key, version_id, model) for key in keys]


def begun_labels(out: Path) -> list[str]:
    """Keys of the labels that the run in a folder began with; none before its first checkpoint."""
    sources = (begun_request(out) or {}).get("data", {}).get("sources", [])
    return [source["labels"] for source in sources if "labels" in source]
