"""From what a robot sees, is told and feels to what it does: one call, the same answer every time.

predictor = Predictor.load(Path("runs/stage3/policy"), dataset="calvin")
actions = predictor.act([third_view, wrist], "push the plate", state)      # (10, 7), in the robot's units
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from data_schemas.errors import BadInput, UserError
from harp.policy.action_policy import ActionPolicy, Observations
from harp.policy.checkpoints import load_policy
from harp.policy.config import PolicyConfig
from harp.policy.images import camera_image
from harp.policy.normalization import Normalization
from harp.policy.normalization_files import choose
from harp.policy.prismatic import PrismaticVLA
from harp.policy.tokenizer import PolicyTokenizer


@dataclass(frozen=True)
class Request:
    """One robot's observation."""

    images: Sequence[NDArray[np.uint8]]
    """uint8 RGB (H, W, 3), any size: third view, then wrist."""
    instruction: str
    state: ArrayLike | None = None
    """(S,) proprioception in the robot's units, if the policy reads one."""


class Predictor:
    """A policy of stage 3 with its statistics.

    Args:
        policy: in evaluation mode, on its device.
    """

    def __init__(
        self, policy: ActionPolicy, tokenizer: PolicyTokenizer, normalization: Normalization
    ) -> None:
        self.policy = policy
        self._tokenizer = tokenizer
        self.normalization = normalization
        action, state = policy.action, normalization.proprioception
        if normalization.action.dim != action.dim:
            raise UserError(
                f"The policy predicts {action.dim} action dimensions, the statistics have {normalization.action.dim}."
            )
        if action.proprioception_dim and (state is None or state.dim != action.proprioception_dim):
            found = "none" if state is None else f"{state.dim} dimensions"
            raise UserError(
                f"The policy reads a state of {action.proprioception_dim} dimensions, statistics: {found}."
            )

    @staticmethod
    def load(
        folder: Path,
        dataset: str | None = None,
        device: torch.device | str = "cpu",
        config: PolicyConfig | None = None,
    ) -> "Predictor":
        """Read a policy's folder.

        Args:
            dataset: whose statistics, where the folder holds several.
            config: of a folder that was not written here.

        Raises:
            UserError: files missing or not fitting, or a model of stage 2.
        """
        loaded = load_policy(folder, config)
        if loaded.policy is None:
            raise UserError(
                f"{folder} holds a model of stage 2, which predicts latent actions; train stage 3 from it."
            )
        return Predictor(loaded.policy.to(device), loaded.tokenizer, choose(loaded.normalization, dataset))

    def act(
        self, images: Sequence[NDArray[np.uint8]], instruction: str, state: ArrayLike | None = None
    ) -> NDArray[np.float32]:
        """A chunk of K actions (K, A) in the robot's units."""
        return self.act_batch([Request(images, instruction, state)])[0]

    def act_batch(self, requests: Sequence[Request]) -> NDArray[np.float32]:
        """Chunks (B, K, A) of several robots in one pass.

        Raises:
            BadInput: an image, a state or an instruction that the policy cannot take.
        """
        observations = Observations(
            images=camera_images(self.policy.vla, [request.images for request in requests]),
            prompts=self._tokenizer.prompts([request.instruction for request in requests]).to(self._device),
            proprioception=self._states(requests),
        )
        return self.normalization.action.denormalize(self.policy.predict(observations).float().cpu().numpy())

    @property
    def _device(self) -> torch.device:
        return device_of(self.policy.vla)

    def _states(self, requests: Sequence[Request]) -> Tensor | None:
        dim, statistics = self.policy.action.proprioception_dim, self.normalization.proprioception
        if not dim or statistics is None:
            if any(request.state is not None for request in requests):
                raise BadInput("bad_state", "the policy reads no proprioception, but a state was given.")
            return None
        states = []
        for request in requests:
            state = np.asarray([] if request.state is None else request.state, dtype=np.float64)
            if state.shape != (dim,) or not np.isfinite(state).all():
                raise BadInput(
                    "bad_state", f"expected {dim} finite numbers of proprioception, found {state.tolist()}."
                )
            states.append(statistics.normalize(state, clip=self.policy.action.clip_proprioception))
        return torch.from_numpy(np.stack(states)).to(self._device)


def camera_images(vla: PrismaticVLA, images: Sequence[Sequence[NDArray[np.uint8]]]) -> Tensor:
    """Normalized pixels (B, I, C, S, S) of B observations.

    Raises:
        BadInput: another number of cameras, or what `camera_image` refuses.
    """
    config = vla.policy_config
    size, parameter = config.vision.image_size, vla.projector.fc1.weight
    rows = []
    for views in images:
        if len(views) != config.cameras:
            raise BadInput(
                "bad_cameras", f"expected {config.cameras} images, third view then wrist, found {len(views)}."
            )
        prepared = [camera_image(view, config.image, size)[None].to(parameter.device) for view in views]
        rows.append(torch.cat([vla.vision.preprocess(image) for image in prepared]))
    return torch.stack(rows).to(parameter.dtype)


def device_of(vla: PrismaticVLA) -> torch.device:
    """Where the model's weights are."""
    return vla.projector.fc1.weight.device
