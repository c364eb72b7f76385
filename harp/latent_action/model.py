"""HARP-LAM: latent actions as a discrete bottleneck between two frames (paper §3.2, A.3).

The encoder sees both frames of a transition and reads four latent actions at the second one; the decoder
predicts the second frame from the first and the codes alone. Nothing else that the encoder computed reaches the
decoder: language enters it raw, so that codes cannot be bypassed.

Layout and sub-module names are UniVLA's first-stage model, which the paper follows: with equal weights the encoder's
latents and the decoder's output agree with its code to 1e-6. Where HARP differs: features of 2176 numbers enter through
the input projection; one keypoint and one end-effector query stand behind the action queries, and heads on them read
both frames; padded language is masked in the order in which frames are folded (there, lengths of another sample's
instruction were taken for all but the first); dead codes move onto latents during training (there, at the end of an
epoch, onto other rows of the codebook, dead ones included).

UniVLA reads latents from the action queries at the second frame, which hold all there is to know of a clip; what differs
most between clips is instruction and scene, and a young model's codes name those: of 4.0 bits in the codes of a
transition, 0.9 were left once the clip was known, and nothing of the wrist's motion could be read from them (120 steps on
the simulated tabletop, 24 pairs held out). With `latents_from: change` they are read from the difference of the queries
between the two frames. What stands still cancels, exactly so where both frames are the same: 3.4 of 5.1 bits are left, and
a linear map from the codes of humans explains 29 % of the robots' wrist motion; 59 % with twice the steps and quantization
that begins late (`harp.latent_action.quantizer`).

What makes one query another cancels in that difference, too, and latents lie along one direction (98 % of their variance): one
codebook then gives the four queries of a transition the same code. With `codebooks: residual` each query has its own
and codes what the queries before it left unsaid, so that the four say more than one (`harp.latent_action.quantizer`).

Shapes: B transitions, P patches, V visual dimension, L language tokens, W width, Q = N_q, d = d_q, K = N_K.
"""

from dataclasses import dataclass

import torch
from torch import nn

from harp.latent_action.config import LatentActionConfig
from harp.latent_action.language import Language
from harp.latent_action.normalization import EmbodimentNorm, LatentNorm
from harp.latent_action.quantizer import VectorQuantizer
from harp.latent_action.transformer import SpatioTemporalTransformer, SpatioTransformer


@dataclass(frozen=True)
class LatentActions:
    """What the encoder reads out of a batch of transitions."""

    latents: torch.Tensor
    """(B, Q, d) continuous latent actions a."""
    quantized: torch.Tensor
    """(B, Q, d) straight-through codes, the decoder's input q."""
    code_vectors: torch.Tensor
    """(B, Q, d) the same values, with gradient to the codebook."""
    codes: torch.Tensor
    """(B, Q) int64: the labels of stage 2."""
    keypoints: torch.Tensor
    """(B, 2, K, 2) predicted object keypoints of both frames, (x, y) as a share of width and height."""
    effector: torch.Tensor
    """(B, 2, 2) predicted wrist or end effector of both frames, (x, y) as a share of width and height."""


class LatentActionModel(nn.Module):
    """Encoder E, codebook Q, decoder D and the two auxiliary heads G_K and G_E."""

    def __init__(self, vision_dim: int, language_dim: int, config: LatentActionConfig) -> None:
        super().__init__()
        self.config = config
        self.action_latent = _queries(config.num_queries, vision_dim)
        self.keypoint_latent = _queries(1, vision_dim)
        self.effector_latent = _queries(1, vision_dim)
        self.lang_proj = nn.Linear(language_dim, config.width)
        self.encoder = SpatioTemporalTransformer(vision_dim, config.encoder_blocks, config)
        self.to_codebook = nn.Linear(config.width, config.latent_dim)
        num_latents = config.num_queries * config.latent_dim
        if config.normalize_latents != "none":
            is_joint = config.normalize_latents == "batch"
            self.latent_norm = LatentNorm(num_latents) if is_joint else EmbodimentNorm(num_latents)
        books = 1 if config.codebooks == "shared" else config.num_queries
        self.vq = VectorQuantizer(config.codebook_size, config.latent_dim, config.dead_after, books)
        self.patch_up = nn.Linear(vision_dim, config.width)
        self.action_up = nn.Linear(config.latent_dim, config.width)
        self.decoder = SpatioTransformer(config.width, vision_dim, config.decoder_blocks, config)
        if config.residual_decoder:  # begin by copying the condition
            nn.init.zeros_(self.decoder.out.weight)
            nn.init.zeros_(self.decoder.out.bias)
        self.keypoint_head = _cue_head(config.width, config.num_keypoints)
        self.effector_head = _cue_head(config.width, 1)

    def encode(
        self, z_B2PV: torch.Tensor, language: Language, is_robot_B: torch.Tensor | None = None
    ) -> LatentActions:
        """Infer the latent actions of transitions (frame t, frame t+Δ).

        Args:
            z_B2PV: patch tokens of the two frames.
            language: token embeddings of the B instructions by the frozen text encoder.
            is_robot_B: bool, whose transitions they are; needed where each embodiment's latents are standardized by
                themselves, and read by nothing else.
        """
        B = z_B2PV.shape[0]
        queries = torch.cat((self.action_latent, self.keypoint_latent, self.effector_latent), dim=2)
        x = torch.cat((queries.expand(B, 2, -1, -1).to(z_B2PV.dtype), z_B2PV), dim=2)
        x = self.encoder(x, self.lang_proj(language.tokens), language.mask)
        Q = self.config.num_queries
        latents = self._standardized(self.to_codebook(self._read(x[:, :, :Q])).float(), is_robot_B)
        quantized = self.vq(latents)
        return LatentActions(
            latents=latents,
            quantized=quantized.straight_through,
            code_vectors=quantized.vectors,
            codes=quantized.codes,
            keypoints=self.keypoint_head(x[:, :, Q]).unflatten(-1, (-1, 2)),
            effector=self.effector_head(x[:, :, Q + 1]),
        )

    def _read(self, actions_B2QW: torch.Tensor) -> torch.Tensor:
        """(B, Q, W) of the action queries; attention over time is causal, so the first frame's have not seen the second."""
        if self.config.latents_from == "second":
            return actions_B2QW[:, 1]
        return actions_B2QW[:, 1] - actions_B2QW[:, 0]

    def _standardized(self, latents_BQd: torch.Tensor, is_robot_B: torch.Tensor | None) -> torch.Tensor:
        if self.config.normalize_latents == "none":
            return latents_BQd
        rows = latents_BQd.flatten(1)
        if self.config.normalize_latents == "batch":
            return self.latent_norm(rows).view_as(latents_BQd)
        if is_robot_B is None:
            raise ValueError("latents are standardized per embodiment: say which transitions are the robot's")
        return self.latent_norm(rows, is_robot_B.to(rows.device)).view_as(latents_BQd)

    def decode(
        self, condition_BPV: torch.Tensor, quantized_BQd: torch.Tensor, language: Language
    ) -> torch.Tensor:
        """Predict the patch tokens (B, P, V) of frame t+Δ.

        Args:
            condition_BPV: z̃, patch tokens of frame t of the video to predict: the same video (self-prediction)
                or its partner (cross-prediction).
            quantized_BQd: codes of the source transition.
        """
        patches = self.patch_up(condition_BPV)
        actions = self.action_up(quantized_BQd.to(patches.dtype))
        x = torch.cat((actions, patches), dim=1)
        y = self.decoder(x, self.lang_proj(language.tokens), language.mask)[:, actions.shape[1] :]
        return condition_BPV + y if self.config.residual_decoder else y


def _queries(number: int, dim: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(1, 1, number, dim).uniform_(-1, 1))


def _cue_head(width: int, num_points: int) -> nn.Sequential:
    last = nn.Linear(width, 2 * num_points)
    nn.init.constant_(last.bias, 0.5)  # begin at the image centre
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), last)
