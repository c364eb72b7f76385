"""Configuration of the policy: language model, prompt, latent-action tokens, action head.

Every size is configuration, and every language model gets its extra tokens by one rule: `<PAD>` follows the
pretrained vocabulary, the latent actions `<ACT_0>`, `<ACT_1>`, … follow it, and the embedding table grows by 64 rows.
On Llama-2 that is `<PAD>` 32000 and `<ACT_i>` 32001 + i in a table of 32064, as OpenVLA and UniVLA have it.
"""

from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator, Field, model_validator
from transformers import LlamaConfig

from data_schemas.robot_interface import RobotInterface
from data_schemas.strict_model import StrictModel
from harp.policy.action_head import pooling_heads
from harp.vision.config import LAPTOP, PAPER, VisionConfig

PROMPT = "In: What action should the robot take to {instruction}?\nOut:"
"""Prismatic's plain prompt; the answer follows after one space."""

Bounds = Literal["quantiles", "extremes"]

EXTRA_ROWS = 64
"""Rows that the embedding table grows by, for `<PAD>` and the latent actions."""


class LanguageModelConfig(StrictModel):
    """A Llama."""

    weights: str | None = None
    """A model of `harp weights list`, or a folder with safetensors and `tokenizer.json`; none means random weights
    and a tokenizer of single bytes."""
    width: int = Field(gt=0)
    depth: int = Field(gt=0)
    heads: int = Field(gt=0)
    kv_heads: int = Field(gt=0)
    mlp_width: int = Field(gt=0)
    vocabulary: int = Field(gt=0)
    """Rows of the pretrained embedding table, before `EXTRA_ROWS` are added."""
    bos_id: int = Field(ge=0)
    eos_id: int = Field(ge=0)
    max_tokens: int = Field(gt=0)
    """Longest sequence: image patches, prompt and action slots together."""
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5
    tied_embeddings: bool = False
    attention: Literal["sdpa", "eager"] = "sdpa"

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> "LanguageModelConfig":
        if self.width % (2 * self.heads):
            raise ValueError(
                f"width {self.width} is not a multiple of twice its {self.heads} heads: rotary positions turn pairs of "
                "a head's numbers"
            )
        if self.heads % self.kv_heads:
            raise ValueError(f"{self.heads} heads cannot share {self.kv_heads} kv_heads evenly")
        if max(self.bos_id, self.eos_id) >= self.vocabulary:
            raise ValueError(
                f"bos_id {self.bos_id} and eos_id {self.eos_id} are not both among the {self.vocabulary} rows of the "
                "vocabulary"
            )
        return self

    @property
    def pad_id(self) -> int:
        return self.vocabulary

    @property
    def rows(self) -> int:
        return self.vocabulary + EXTRA_ROWS

    def llama(self) -> LlamaConfig:
        """The same as `transformers` has it, but for `attention`.

        Random weights begin at 1/√width: with transformers' 0.02, which suits widths of thousands, a `tiny` policy took
        400 steps of stage 3 until its error fell, and takes 150 so.
        """
        return LlamaConfig(
            vocab_size=self.rows,
            hidden_size=self.width,
            intermediate_size=self.mlp_width,
            num_hidden_layers=self.depth,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            max_position_embeddings=self.max_tokens,
            rms_norm_eps=self.norm_eps,
            initializer_range=self.width**-0.5,
            rope_parameters={"rope_type": "default", "rope_theta": self.rope_theta},
            tie_word_embeddings=self.tied_embeddings,
            pad_token_id=self.pad_id,
            bos_token_id=self.bos_id,
            eos_token_id=self.eos_id,
        )


class ImageConfig(StrictModel):
    """What happens to a camera image before the vision encoder; by default only the encoder's own resizing."""

    jpeg: bool = False
    """Encode and decode as JPEG of quality 95, as RLDS data sets were."""
    lanczos: bool = False
    """Resize by an antialiased Lanczos kernel, as RLDS pipelines do, and not bicubically."""
    crop_area: float = Field(default=1.0, gt=0, le=1)
    """Share of the area that a centre crop keeps; 0.9 where training cropped at random."""


def _shared_by_heads(width: int) -> int:
    if width % pooling_heads(width):
        raise ValueError(
            f"{width} is not a multiple of its {pooling_heads(width)} heads; take a multiple of 64"
        )
    return width


LatentHeadWidth = Annotated[int, Field(gt=0), AfterValidator(_shared_by_heads)]
"""Width of the `latent` head."""


class ActionConfig(StrictModel):
    """Stage 3: what the head predicts, and from what."""

    head: Literal["parallel", "latent"] = "parallel"
    """`parallel`: zeroed action slots, bidirectional attention, an MLP per time step (OpenVLA-OFT, the paper's A.3).
    `latent`: pooling by attention over the latent-action embeddings (UniVLA)."""
    chunk: int = Field(default=10, gt=0)
    """Actions predicted at once, K."""
    dim: int = Field(gt=0)
    """Of one action, A: 7 on CALVIN, 18 on xArm and XHand."""
    proprioception_dim: int | None = None
    """Of the robot's state, S; none leaves the token out."""
    clip_proprioception: bool = True
    """Clip the normalized state to ±1; the authors do not on CALVIN."""
    latent_head_width: LatentHeadWidth = 512
    bounds: Bounds = "quantiles"
    """What of the statistics stands at -1 and 1: q01 and q99, or minimum and maximum as OpenVLA-OFT has it on ALOHA."""
    interface: RobotInterface | None = None
    """Rate and meaning of the numbers in the demonstrations; none where a checkpoint from elsewhere does not say."""


class PolicyConfig(StrictModel):
    """The whole policy; without `action` it is the model of stage 2."""

    vision: VisionConfig
    language_model: LanguageModelConfig
    projector_width: int | None = Field(default=None, gt=0)
    """First hidden width of the projector; four times the vision width by default (2176 → 8704 → 4096 → 4096)."""
    cameras: int = Field(default=1, gt=0)
    """Images per observation: third view, then wrist."""
    num_codes: int = Field(default=16, gt=0, lt=EXTRA_ROWS)
    """Size of the codebook, K of §3.2."""
    codes_per_action: int = Field(default=4, gt=0)
    """Latent-action tokens per transition, N_q."""
    codes_of: str | None = None
    """Identity of the stage-1 model whose codes it learned; none where that is not known, or it learned none."""
    action: ActionConfig | None = None
    image: ImageConfig = ImageConfig()
    dtype: Literal["float32", "bfloat16"] = "float32"

    @model_validator(mode="after")
    def _fits(self) -> "PolicyConfig":
        if self.prompt_tokens <= 0:
            raise ValueError(
                f"{self.cameras} images of {self.vision.num_patches} patches and {self.slots} slots leave no room for "
                f"the prompt in max_tokens {self.language_model.max_tokens}"
            )
        return self

    @property
    def torch_dtype(self) -> torch.dtype:
        """Type of the weights that the policy is kept in."""
        return getattr(torch, self.dtype)

    @property
    def slots(self) -> int:
        """Places of a sequence that are answered."""
        return self.action.chunk * self.action.dim if self.action else self.codes_per_action

    @property
    def prompt_tokens(self) -> int:
        """Longest prompt, `<BOS>` included: what images, proprioception, slots and the end leave of a sequence."""
        others = self.cameras * self.vision.num_patches + self.slots + 1
        others += bool(self.action and self.action.proprioception_dim)
        return self.language_model.max_tokens - others

    @property
    def projector_hidden(self) -> int:
        return self.projector_width or 4 * self.vision.dim

    @property
    def code_ids(self) -> range:
        """Token ids of `<ACT_0>`, `<ACT_1>`, …"""
        first = self.language_model.pad_id + 1
        return range(first, first + self.num_codes)


TINY_LLAMA = LanguageModelConfig(
    width=128,
    depth=4,
    heads=4,
    kv_heads=2,
    mlp_width=384,
    vocabulary=258,
    bos_id=256,
    eos_id=257,
    max_tokens=1024,
)
"""Random, over bytes: 0.8 M parameters."""

SMOLLM2_135M = LanguageModelConfig(
    weights="smollm2-135m",
    width=576,
    depth=30,
    heads=9,
    kv_heads=3,
    mlp_width=1536,
    vocabulary=49152,
    bos_id=1,
    eos_id=2,
    max_tokens=8192,
    rope_theta=100_000.0,
    tied_embeddings=True,
)

LLAMA_2_7B = LanguageModelConfig(
    width=4096,
    depth=32,
    heads=32,
    kv_heads=32,
    mlp_width=11008,
    vocabulary=32000,
    bos_id=1,
    eos_id=2,
    max_tokens=4096,
)

POLICIES = {
    "tiny": PolicyConfig(vision=LAPTOP, language_model=TINY_LLAMA, projector_width=256),
    "smollm2-135m": PolicyConfig(vision=LAPTOP, language_model=SMOLLM2_135M),
    "llama-2-7b": PolicyConfig(vision=PAPER, language_model=LLAMA_2_7B, dtype="bfloat16"),
}
"""Stage-2 policies by name; stage 3 adds `action`."""


def preset(value: Any) -> Any:
    """`{preset: NAME, key: value}` of a recipe or a `policy.json` to the sizes of a named policy, with changes on top.

    Raises:
        ValueError: no such name.
    """
    if not isinstance(value, dict) or "preset" not in value:
        return value
    changes = {key: change for key, change in value.items() if key != "preset"}
    if value["preset"] not in POLICIES:
        raise ValueError(f"unknown preset {value['preset']!r}; the presets are {', '.join(POLICIES)}")
    return _merged(POLICIES[value["preset"]].model_dump(), changes)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        nested = isinstance(value, dict) and isinstance(below.get(key), dict)
        merged[key] = _merged(below[key], value) if nested else value
    return merged
