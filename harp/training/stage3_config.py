"""Configuration of stage 3: everything that a run's result depends on."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from data_schemas.errors import UserError
from data_schemas.storage import everywhere
from data_schemas.strict_model import StrictModel
from harp.data.policy_episodes import EpisodeSet
from harp.policy.checkpoints.folder import CONFIG_FILE, policy_in, read_config
from harp.policy.config import POLICIES, ActionConfig, LatentHeadWidth, PolicyConfig, preset
from harp.training.config import PolicyTrainingConfig
from harp.training.policy_run import Start, checkpoint_identity
from harp.training.stage1_models import finished_config, stage1_identity


class HeadConfig(StrictModel):
    """The action head; what it predicts and reads follows from the demonstrations."""

    kind: Literal["parallel", "latent"] = "parallel"
    """`parallel` is OpenVLA-OFT's (the paper), `latent` UniVLA's, which needs the stage-1 run for its codes."""
    chunk: int = Field(default=10, gt=0)
    """Actions predicted at once."""
    proprioception: bool = True
    """Read the robot's state."""
    clip_proprioception: bool = True
    latent_head_width: LatentHeadWidth = 512


class LoraSettings(StrictModel):
    """Low-rank updates (OpenVLA-OFT's: rank 32, α 16, the vision encoder too)."""

    rank: int = Field(default=32, gt=0)
    alpha: int = Field(default=16, gt=0)
    vision: bool = True


class EpisodeDataConfig(StrictModel):
    """Batches of steps of demonstrations."""

    batch_size: int = Field(default=64, gt=0)
    """Steps of episodes per training step, over all workers and micro-batches."""
    episodes_per_task: int | None = Field(default=None, gt=0)
    """Only the first so many of each task; all by default."""
    cameras: int = Field(default=2, ge=1, le=2)
    """1: third view; 2: third view and wrist."""
    loader_threads: int = Field(default=2, ge=1)
    crop_area: float | None = Field(default=None, gt=0, le=1)
    """Share of the area that random crops keep, and later the centre crop of what the robot sees; by default that of the
    policy it starts from."""
    keep_features: bool = False
    """Compute the frozen encoder's features of every frame once and keep them on disk."""


class Stage3Config(StrictModel):
    """Training of a policy with an action head on demonstrations (paper §3.4, A.3)."""

    seed: int = Field(default=0, ge=0)
    policy: Annotated[PolicyConfig | None, BeforeValidator(preset)] = None
    """Filled in from `start`: sizes of the policy of stage 2, or of a named one that begins untrained."""
    head: HeadConfig = HeadConfig()
    lora: LoraSettings | None = LoraSettings()
    """None trains all weights but the vision encoder's."""
    vision: Literal["frozen", "adapters", "all"] = "frozen"
    """What of the vision encoder is trained; `frozen` where there are low-rank updates."""
    data: EpisodeDataConfig = EpisodeDataConfig()
    training: PolicyTrainingConfig
    test_steps: int = Field(default=256, gt=0)
    """Steps of the demonstrations, evenly spread, that the trained policy is compared with."""
    start: str | None = None
    """Identity of the policy the run starts from, or its name; filled in when the run starts."""
    stage1: str | None = None
    """Identity of the stage-1 run, where one is used; filled in when the run starts."""
    base: str | None = None
    """Identity of the checkpoint that a named policy starts from; filled in when the run starts."""
    demonstrations: str | None = None
    """Identity of the demonstrations; filled in when the run starts."""

    @model_validator(mode="after")
    def _fits(self) -> "Stage3Config":
        if self.lora and self.vision != "frozen":
            raise ValueError(
                f"vision={self.vision} is for lora=null; with low-rank updates lora.vision says whether it has some"
            )
        if self.data.keep_features and (self.lora.vision if self.lora else self.vision != "frozen"):
            raise ValueError(
                "data.keep_features needs a vision encoder that is not trained: lora.vision=false, or lora=null and "
                "vision=frozen"
            )
        return self

    @property
    def sizes(self) -> PolicyConfig:
        """Of the policy, once the configuration is resolved."""
        assert self.policy is not None, "resolve_stage3 fills it in"
        return self.policy


def resolve_stage3(config: Stage3Config, policy: str, episodes: EpisodeSet, start: Start) -> Stage3Config:
    """The configuration with all that the recipe leaves to the policy and the data.

    Args:
        policy: folder of a policy, or a name of `POLICIES`.

    Raises:
        UserError: neither of the two, a latent head without its stage-1 run, an action head that does not fit, or sizes
            or weights from two places.
    """
    folder = policy_folder(policy)
    if config.policy is not None:
        raise UserError(
            "Sizes and pictures of stage 3 are those of the policy it starts from: leave `policy` out of its recipe."
        )
    if config.head.kind == "latent" and start.stage1 is None:
        raise UserError(
            "The latent head learns from codes of the demonstrations: give the stage-1 run by --stage1."
        )
    needless = start.stage1 is not None and config.head.kind == "parallel"
    if folder and (start.base or needless):
        raise UserError(
            f"{folder} has its weights, encoder included: give --base and --stage1 with a policy that begins untrained."
        )
    sizes = (read_config(folder) if folder else POLICIES[policy]).model_dump()
    if folder is None and start.stage1:
        sizes["vision"] = finished_config(start.stage1).vision.model_dump()
    if config.head.kind == "latent" and start.stage1:
        sizes["codes_of"] = codes_of(start.stage1, policy, PolicyConfig.model_validate(sizes))
    if config.data.crop_area is not None:
        sizes["image"]["crop_area"] = config.data.crop_area
    if config.data.keep_features and sizes["image"]["crop_area"] < 1:
        raise UserError(
            "Random crops change the features: give data.keep_features=false, or data.crop_area=1."
        )
    collection = episodes.collection
    sizes["cameras"] = config.data.cameras
    action = ActionConfig(
        head=config.head.kind,
        chunk=config.head.chunk,
        dim=len(collection.actions),
        proprioception_dim=len(collection.proprioception) if config.head.proprioception else None,
        clip_proprioception=config.head.clip_proprioception,
        latent_head_width=config.head.latent_head_width,
        interface=collection.interface,
    )
    if folder:
        check_head(folder, action)
    sizes["action"] = action.model_dump()
    return config.model_copy(
        update={
            "policy": PolicyConfig.model_validate(sizes),
            "start": checkpoint_identity(folder) if folder else policy,
            "stage1": stage1_identity(start.stage1) if start.stage1 else None,
            "base": checkpoint_identity(start.base) if start.base else None,
            "demonstrations": episodes.identity,
        }
    )


def codes_of(run: Path, policy: str, sizes: PolicyConfig) -> str:
    """Identity of the stage-1 run whose codes a latent head learns.

    Raises:
        UserError: the policy was trained on the codes of another model.
    """
    latent, found = finished_config(run).latent_action, stage1_identity(run)
    fits = latent and (latent.codebook_size, latent.num_queries) == (sizes.num_codes, sizes.codes_per_action)
    if not fits or sizes.codes_of not in (None, found):
        known = sizes.codes_of or f"{sizes.codes_per_action} of {sizes.num_codes}"
        raise UserError(
            f"The codes of {run} ({found}) are not those that the policy {policy} was trained on ({known}); give the "
            "stage-1 run that its labels are of."
        )
    return found


def check_head(folder: Path, wanted: ActionConfig) -> None:
    """That the action head of a policy, where it has one, can be trained on.

    Raises:
        UserError: it has other sizes.
    """
    own = read_config(folder).action
    if own is None:
        return
    names = ["head", "dim", "proprioception_dim"]
    if wanted.head == "latent":
        names += ["chunk", "latent_head_width"]
    differing = [name for name in names if getattr(own, name) != getattr(wanted, name)]
    if differing:
        found, asked = (", ".join(f"{n}={getattr(c, n)}" for n in differing) for c in (own, wanted))
        raise UserError(
            f"{folder} has an action head of {found}, asked for is {asked}; to begin with a new head, start from its "
            f"policy of stage 2, or give the name of its sizes as policy and --base {folder}."
        )


def policy_folder(policy: str) -> Path | None:
    """Absolute folder of a policy, also where the folder of its run is given; None for a name of `POLICIES`.

    Raises:
        UserError: neither of the two.
    """
    folder = policy_in(policy)
    if folder:
        return everywhere(folder)
    if policy in POLICIES:
        return None
    raise UserError(
        f"'{policy}' is neither a folder with {CONFIG_FILE}, as `harp train stage2` writes it, nor one of "
        f"{', '.join(POLICIES)}."
    )
