"""One step of stage 1: cross- and self-prediction, shared cues and alignment on one batch (paper §3.2, A.2).

The robot branch runs through the adapted ViT with gradient; all human features are frozen. Gradients reach the
adapters through the alignment loss, through the robot transitions that the latent action model reads, and through the
frames its decoder is conditioned on; the decoder's target is detached by default. Without a latent action model
(the paper's HR and HR-Style rows) the alignment loss alone remains, and nothing else is computed.

On several workers, global: every mean, the alignment's negatives, codebook statistics and revival, the latents'
normalization. Per micro-batch under gradient accumulation: the alignment's negatives, the latents' normalization.

Shapes: N_r robot and N_h human clips, of which B pairs come first on both sides; P patches, D dimension.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from harp.data.batch import CueTargets, Stage1Batch
from harp.data.loader import HumanTokens
from harp.latent_action.language import FrozenTextEncoder
from harp.latent_action.model import LatentActionModel
from harp.latent_action.quantizer import code_usage
from harp.losses.alignment import build_objective
from harp.losses.features import PairedFeatures, PairStreams
from harp.losses.prediction import prediction_loss
from harp.losses.shared_cues import masked_huber
from harp.losses.vq import vq_loss
from harp.training.config import Stage1Config
from harp.training.distributed import gathered, world_size
from harp.training.routes import prediction_routes
from harp.training.stage import Counts, StepOutput
from harp.vision.encoder import HarpVisionEncoder


@dataclass(frozen=True)
class ClipLatents:
    """Latent actions of a micro-batch, for the statistics of the codebook."""

    keys: torch.Tensor
    """(N,) int64: the same clip has the same key on every worker."""
    latents: torch.Tensor
    """(N, Q, d)."""
    codes: torch.Tensor
    """(N, Q)."""


class Stage1(nn.Module):
    """HARP-VE, HARP-LAM and the alignment objective as one trainable module.

    Args:
        has_pairs: every batch has some, so that each worker's part has robots.
    """

    def __init__(
        self,
        config: Stage1Config,
        encoder: HarpVisionEncoder,
        text: FrozenTextEncoder,
        has_pairs: bool = True,
    ) -> None:
        super().__init__()
        self.config = config
        self._has_pairs = has_pairs
        self.encoder = encoder
        self.text = text
        sizes = config.latent_action
        self.latent_action = LatentActionModel(encoder.dim, text.dim, sizes) if sizes else None
        self.objective = build_objective(config.losses.alignment, encoder.dim, text.dim)
        trained = {id(parameter) for parameter in encoder.trainable_parameters()}
        for parameter in encoder.parameters():  # adapters of blocks that never run are not trained
            parameter.requires_grad_(id(parameter) in trained)

    @property
    def human_tokens(self) -> HumanTokens:
        """What the loader has to bring of the human frames."""
        if self.objective.task_aware:
            return "all"
        return "transitions" if self.latent_action else "none"

    @property
    def may_skip_parameters(self) -> bool:
        """Single demonstrations may all be human, and then no adapter runs."""
        return not self._has_pairs

    def units_to_shard(self) -> None:
        """Every worker holds all parameters."""

    def count(self, batch: Stage1Batch) -> Counts:
        """Clips, predictions and pairs: what the means of the loss run over."""
        clips = len(batch.robot_ids) + len(batch.human_ids)
        return {"clips": clips, "predictions": len(self._routes(batch)[0]), "pairs": batch.num_pairs}

    def forward(self, batch: Stage1Batch, totals: Counts) -> StepOutput:
        """This batch's share of L_stage1 = L_lam + λ_aux L_aux + λ_align L_align."""
        z_robot, context = self._robot_tokens(batch)
        z_human = z_robot[:0] if self.human_tokens == "none" else self._human_tokens(batch, z_robot)
        loss, metrics, state = z_robot.new_zeros(()), {}, None
        if self.latent_action:
            z = torch.cat((z_robot, z_human))
            loss, metrics, state = self._latent_action_loss(self.latent_action, batch, z, totals)
        metrics["loss"] = loss.detach()

        B = batch.num_pairs
        streams = self._pair_streams(batch, torch.cat((z_robot[:B], context), dim=1), z_human[:B])
        pooled = self.objective.pool(streams)
        features = PairedFeatures(*map(gathered, (pooled.robot, pooled.human, pooled.robot_frozen)))
        if len(features.robot):
            alignment = self.objective(features)
            # Every worker computes the loss of all pairs; its gradient reaches the features of its own pairs.
            share = len(features.robot) / totals["pairs"]
            weighted = self.config.losses.alignment.weight * share * alignment.loss
            loss = loss + weighted
            metrics["loss"] = metrics["loss"] + weighted.detach() / world_size()
            shares = {"alignment": alignment.loss.detach(), **alignment.metrics}
            metrics |= {name: value * share / world_size() for name, value in shares.items()}
        return StepOutput(loss, metrics, state)

    def _latent_action_loss(
        self,
        model: LatentActionModel,
        batch: Stage1Batch,
        z: torch.Tensor,
        totals: Counts,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], ClipLatents]:
        """(L_lam + λ_aux L_aux, their metrics, latents)."""
        losses = self.config.losses
        language = self.text.encode([*batch.robot_instructions, *batch.human_instructions])
        is_robot = torch.arange(len(z)) < len(batch.robot_ids)
        actions = model.encode(z, language, is_robot)
        source, target = (rows.to(z.device) for rows in self._routes(batch))
        condition, future = z[target, 0], z[target, 1]
        is_quantized = batch.step >= model.config.quantize_after * self.config.training.steps
        explained_by = actions.quantized if is_quantized else actions.latents
        commitment = losses.commitment if is_quantized else 0.0
        predicted = model.decode(condition, explained_by[source], language[source])
        cues = CueTargets.cat((batch.robot_cues, batch.human_cues))
        delta = losses.huber_delta
        terms = {
            "prediction": prediction_loss(predicted, future, losses.detach_target),
            "vq": vq_loss(actions.latents[source], actions.code_vectors[source], commitment),
            "keypoints": masked_huber(actions.keypoints, cues.keypoints, cues.keypoint_mask, delta),
            "effector": masked_huber(actions.effector, cues.effector, cues.effector_mask, delta),
            "copy": prediction_loss(condition.detach(), future),
        }
        over = {"prediction": "predictions", "vq": "predictions", "copy": "predictions"}
        means = {name: term.sum() / max(totals[over.get(name, "clips")], 1) for name, term in terms.items()}
        cue_loss = losses.keypoints * means["keypoints"] + losses.effector * means["effector"]
        loss = losses.prediction * means["prediction"] + means["vq"] + losses.auxiliary * cue_loss
        keys = [clip_key("robot", i) for i in batch.robot_ids] + [
            clip_key("human", i) for i in batch.human_ids
        ]
        state = ClipLatents(torch.tensor(keys, device=z.device), actions.latents.detach(), actions.codes)
        return loss, {name: mean.detach() for name, mean in means.items()}, state

    def _routes(self, batch: Stage1Batch) -> tuple[torch.Tensor, torch.Tensor]:
        sizes = (len(batch.robot_ids), len(batch.human_ids), batch.num_pairs)
        return prediction_routes(*sizes, self.config.paired_prediction, self.config.single_prediction)

    def _robot_tokens(self, batch: Stage1Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Adapted tokens of the transitions (N_r, 2, P, D) and of the pairs' context frames (B, C, P, D)."""
        tokens = self._encode(batch.robot_frames, self.encoder.adapted)
        num_transitions = 2 * len(batch.robot_ids)
        return tokens[:num_transitions].unflatten(0, (-1, 2)), self._context(tokens[num_transitions:], batch)

    def _human_tokens(self, batch: Stage1Batch, like: torch.Tensor) -> torch.Tensor:
        """Frozen tokens of the transitions (N_h, 2, P, D)."""
        if batch.human_tokens is not None:
            tokens = batch.human_tokens if batch.human_ids else like[:0]
            return tokens.to(like.dtype)
        assert batch.human_frames is not None
        return self._encode(batch.human_frames, self.encoder.frozen).unflatten(0, (-1, 2)).to(like.dtype)

    def _pair_streams(
        self, batch: Stage1Batch, robot: torch.Tensor, human_transitions: torch.Tensor
    ) -> PairStreams:
        """The pairs' transitions and context frames, as patch tokens where the objective needs them."""
        B, F, _, D = robot.shape
        sentences = self._sentences(batch.robot_instructions[:B]).to(robot.device)
        if not self.objective.task_aware:
            human, frozen = (
                kept.view(B, F, 1, D) for kept in (batch.human_pooled, batch.robot_frozen_pooled)
            )
            return PairStreams(robot, human, frozen, sentences)
        context = batch.robot_frames[2 * len(batch.robot_ids) :]
        frozen = self._encode(torch.cat((batch.robot_frames[: 2 * B], context)), self.encoder.frozen)
        frozen = torch.cat(
            (frozen[: 2 * B].unflatten(0, (-1, 2)), self._context(frozen[2 * B :], batch)), dim=1
        )
        human_context = batch.human_context_tokens
        if human_context is None:
            assert batch.human_context_frames is not None
            human_context = self._context(
                self._encode(batch.human_context_frames, self.encoder.frozen), batch
            )
        human = torch.cat((human_transitions, human_context.to(robot.dtype)), dim=1)
        return PairStreams(robot, human, frozen, sentences)

    def _sentences(self, instructions: Sequence[str]) -> torch.Tensor:
        """Mean token embedding of each instruction (n, E)."""
        if not instructions:
            return torch.empty(0, self.text.dim)
        text = self.text.encode(instructions)
        return (text.tokens * text.mask[..., None]).sum(1) / text.mask.sum(1, keepdim=True)

    def _encode(self, frames: torch.Tensor, encode: Any) -> torch.Tensor:
        """(n, H, W, 3) → (n, P, D), where n may be 0."""
        if not len(frames):
            return torch.empty(0, self.encoder.num_patches, self.encoder.dim, device=frames.device)
        return encode(self.encoder.preprocess(frames))

    def _context(self, tokens: torch.Tensor, batch: Stage1Batch) -> torch.Tensor:
        """(B C, P, D) → (B, C, P, D)."""
        return tokens.view(batch.num_pairs, len(tokens) // max(batch.num_pairs, 1), *tokens.shape[1:])

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Adapters, codebook and latent action model, each with its rate and decay."""
        settings = self.config.training
        adapters = list(self.encoder.trainable_parameters())
        rate = settings.adapter_learning_rate
        groups: list[dict[str, Any]] = [
            {"name": "adapters", "params": adapters, "lr": rate, "weight_decay": 0.0}
        ]
        others = list(self.objective.parameters())
        rate = settings.learning_rate
        if self.latent_action:
            codebook = self.latent_action.vq.codebook.weight
            its_rate = settings.codebook_learning_rate or rate
            groups.append({"name": "codebook", "params": [codebook], "lr": its_rate, "weight_decay": 0.0})
            others = [*(p for p in self.latent_action.parameters() if p is not codebook), *others]
        if others:
            decay = settings.weight_decay
            groups.append({"name": "latent_action", "params": others, "lr": rate, "weight_decay": decay})
        return groups

    def after_step(
        self,
        outputs: Sequence[StepOutput],
        metrics: dict[str, float],
        step: int,
        optimizer: torch.optim.Optimizer,
    ) -> dict[str, float]:
        """Revive dead codes on the latents of this step, those of all workers."""
        if not self.latent_action:
            return {}
        states: list[ClipLatents] = [output.state for output in outputs]
        keys = gathered(torch.cat([state.keys for state in states]))
        # In one order whatever worker they come from, because a revival draws by row.
        latents = gathered(torch.cat([state.latents for state in states]))[keys.argsort(stable=True)]
        codes = gathered(torch.cat([state.codes for state in states]))
        vq = self.latent_action.vq
        usage, perplexity = code_usage(vq.rows(codes), vq.codebook.num_embeddings)
        generator = torch.Generator(latents.device).manual_seed(self.config.seed * 1_000_003 + step)
        revived = vq.revive(latents, generator)
        forget_moments(optimizer, vq.codebook.weight, revived)
        return {
            "prediction_over_copy": metrics["prediction"] / max(metrics["copy"], 1e-12),
            "code_usage": usage,
            "code_perplexity": perplexity,
            "codes_revived": len(revived),
        }

    def trained_state(self) -> dict[str, torch.Tensor]:
        """Adapters as `encoder.…`, the latent action model as `latent_action.…`, the objective's own parameters."""
        parts = {"encoder": self.encoder.adapter_state_dict(), "objective": self.objective.state_dict()}
        if self.latent_action:
            parts["latent_action"] = self.latent_action.state_dict()
        return {f"{part}.{name}": tensor for part, state in parts.items() for name, tensor in state.items()}

    def load_trained_state(self, state: dict[str, torch.Tensor]) -> None:
        """Inverse of `trained_state`."""
        self.encoder.load_adapter_state_dict(_part(state, "encoder"))
        self.objective.load_state_dict(_part(state, "objective"))
        if self.latent_action:
            self.latent_action.load_state_dict(_part(state, "latent_action"))


def forget_moments(optimizer: torch.optim.Optimizer, weight: torch.Tensor, rows: list[int]) -> None:
    """Clear AdamW's moments of rows that were put elsewhere: momentum would carry them on as if they had not been."""
    state = optimizer.state.get(weight, {})
    for moment in ("exp_avg", "exp_avg_sq"):
        if moment in state:
            state[moment][rows] = 0


def clip_key(side: str, subject_id: str) -> int:
    """63 bits that stand for one side of a subject."""
    digest = hashlib.blake2b(f"{side} {subject_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _part(state: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}
