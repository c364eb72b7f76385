"""One step of stage 1: cross- and self-prediction, shared cues and alignment on one batch (paper §3.2, A.2).

The robot branch runs through the adapted ViT with gradient; all human features are frozen. Gradients reach the
adapters through the alignment loss, through the robot transitions that the latent action model reads, and through the
frames its decoder is conditioned on; the decoder's target is detached by default.

Shapes: N_r robot and N_h human clips, of which B pairs come first on both sides; P patches, D dimension.
"""

from typing import Any

import torch
from torch import nn

from harp.data.batch import CueTargets, Stage1Batch
from harp.latent_action.language import FrozenTextEncoder
from harp.latent_action.model import LatentActionModel, LatentActions
from harp.latent_action.quantizer import code_usage
from harp.losses.alignment import PairedFeatures, build_objective
from harp.losses.pooling import pool_frames, pool_patches
from harp.losses.prediction import prediction_loss
from harp.losses.shared_cues import masked_huber
from harp.losses.vq import vq_loss
from harp.training.config import Stage1Config
from harp.training.stage import StepOutput
from harp.vision.encoder import HarpVisionEncoder


class Stage1(nn.Module):
    """HARP-VE, HARP-LAM and the alignment objective as one trainable module."""

    def __init__(self, config: Stage1Config, encoder: HarpVisionEncoder, text: FrozenTextEncoder) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.text = text
        self.latent_action = LatentActionModel(encoder.dim, text.dim, config.latent_action)
        self.objective = build_objective(config.losses.alignment)

    def forward(self, batch: Stage1Batch) -> StepOutput:
        """L_stage1 = L_lam + λ_aux L_aux + λ_align L_align of one batch."""
        losses = self.config.losses
        z_robot, context = self._robot_tokens(batch)
        z_human = self._human_tokens(batch, z_robot)
        z = torch.cat((z_robot, z_human))
        language = self.text.encode([*batch.robot_instructions, *batch.human_instructions])

        actions = self.latent_action.encode(z, language)
        source, target = prediction_routes(
            len(z_robot), len(z_human), batch.num_pairs, self.config.paired_prediction
        )
        predicted = self.latent_action.decode(z[target, 0], actions.quantized[source], language[source])
        prediction = prediction_loss(predicted, z[target, 1], losses.detach_target)
        vq = vq_loss(actions.latents, actions.code_vectors, losses.commitment)
        keypoints, effector = self._cue_losses(actions, CueTargets.cat((batch.robot_cues, batch.human_cues)))
        loss = prediction + vq
        loss = loss + losses.auxiliary * (losses.keypoints * keypoints + losses.effector * effector)

        copied = prediction_loss(z[target, 0], z[target, 1]).item()
        usage, perplexity = code_usage(actions.codes, self.config.latent_action.codebook_size)
        metrics = {
            "prediction": prediction.item(),
            "prediction_over_copy": prediction.item() / max(copied, 1e-12),
            "vq": vq.item(),
            "keypoints": keypoints.item(),
            "effector": effector.item(),
            "code_usage": usage,
            "code_perplexity": perplexity,
        }
        if batch.num_pairs:
            robot_frames = torch.cat((z_robot[: batch.num_pairs], context), dim=1)
            features = PairedFeatures(
                robot=pool_frames(pool_patches(robot_frames)),
                human=pool_frames(batch.human_pooled),
                robot_frozen=pool_frames(batch.robot_frozen_pooled),
            )
            alignment = self.objective(features)
            loss = loss + losses.alignment.weight * alignment.loss
            metrics |= {"alignment": alignment.loss.item(), **alignment.metrics}
        return StepOutput(loss, metrics, state=actions)

    def _robot_tokens(self, batch: Stage1Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Adapted tokens of the transitions (N_r, 2, P, D) and of the pairs' context frames (B, C, P, D)."""
        P, D = self.encoder.num_patches, self.encoder.dim
        num_transitions = 2 * len(batch.robot_ids)
        if not len(batch.robot_frames):
            return torch.empty(0, 2, P, D), torch.empty(0, 0, P, D)
        tokens = self.encoder.adapted(self.encoder.preprocess(batch.robot_frames))
        num_context = (len(tokens) - num_transitions) // max(batch.num_pairs, 1)
        transitions = tokens[:num_transitions].view(-1, 2, P, D)
        return transitions, tokens[num_transitions:].view(batch.num_pairs, num_context, P, D)

    def _human_tokens(self, batch: Stage1Batch, like: torch.Tensor) -> torch.Tensor:
        """Frozen tokens of the transitions (N_h, 2, P, D)."""
        shape = (-1, 2, self.encoder.num_patches, self.encoder.dim)
        if not batch.human_ids:
            return like.new_empty(0, *shape[1:])
        if batch.human_tokens is not None:
            return batch.human_tokens.to(like.dtype)
        assert batch.human_frames is not None
        return self.encoder.frozen(self.encoder.preprocess(batch.human_frames)).view(shape).to(like.dtype)

    def _cue_losses(self, actions: LatentActions, cues: CueTargets) -> tuple[torch.Tensor, torch.Tensor]:
        delta = self.config.losses.huber_delta
        return (
            masked_huber(actions.keypoints, cues.keypoints, cues.keypoint_mask, delta),
            masked_huber(actions.effector, cues.effector, cues.effector_mask, delta),
        )

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Adapters, codebook and latent action model, each with its rate and decay."""
        settings = self.config.training
        codebook = self.latent_action.vq.codebook.weight
        others = [p for p in self.latent_action.parameters() if p is not codebook]
        return [
            {
                "name": "adapters",
                "params": list(self.encoder.trainable_parameters()),
                "lr": settings.adapter_learning_rate,
                "weight_decay": 0.0,
            },
            {"name": "codebook", "params": [codebook], "lr": settings.learning_rate, "weight_decay": 0.0},
            {
                "name": "latent_action",
                "params": [*others, *self.objective.parameters()],
                "lr": settings.learning_rate,
                "weight_decay": settings.weight_decay,
            },
        ]

    def after_step(self, output: StepOutput, step: int) -> dict[str, float]:
        """Revive dead codes on the latents of this step."""
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + step)
        return {"codes_revived": self.latent_action.vq.revive(output.state.latents, generator)}

    def trained_state(self) -> dict[str, torch.Tensor]:
        """Adapters as `encoder.…`, the latent action model as `latent_action.…`, the objective's own parameters."""
        parts = {
            "encoder": self.encoder.adapter_state_dict(),
            "latent_action": self.latent_action.state_dict(),
            "objective": self.objective.state_dict(),
        }
        return {f"{part}.{name}": tensor for part, state in parts.items() for name, tensor in state.items()}

    def load_trained_state(self, state: dict[str, torch.Tensor]) -> None:
        """Inverse of `trained_state`."""
        self.encoder.load_adapter_state_dict(_part(state, "encoder"))
        self.latent_action.load_state_dict(_part(state, "latent_action"))
        self.objective.load_state_dict(_part(state, "objective"))


def prediction_routes(
    num_robot: int, num_human: int, num_pairs: int, paired: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Who explains whose future: (source rows of the codes, target rows of condition and future).

    Rows count robot clips first, then human clips, pairs first in each. Single demonstrations always explain
    themselves; pairs explain their partner (`cross`), themselves (`self`) or `both`.
    """
    rows = torch.arange(num_robot + num_human)
    partner = rows.clone()
    partner[:num_pairs] = rows[num_robot : num_robot + num_pairs]
    partner[num_robot : num_robot + num_pairs] = rows[:num_pairs]
    if paired == "self":
        return rows, rows
    if paired == "cross":
        return rows, partner
    is_paired = partner != rows
    return torch.cat((rows, rows[is_paired])), torch.cat((partner, rows[is_paired]))


def _part(state: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}
