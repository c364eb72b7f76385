"""Batches of stage 3: observations of both cameras and the chunk of actions that followed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from data_schemas.episodes import VIDEOS
from harp.data.mixture import Mixture, Pool
from harp.data.policy_episodes import EpisodeSet, EpisodeStep, EpisodeSteps, action_chunk
from harp.data.prefetch import StepLoader
from harp.policy.config import PolicyConfig
from harp.policy.images import camera_image
from harp.policy.normalization import Normalization

CROPS = 1
"""Stream of random numbers; the draws of the mixture have 0."""


@dataclass(frozen=True)
class Stage3Batch:
    """Shapes: B observations, K actions of A dimensions, S of the state, Q codes."""

    step: int
    micro: int
    episodes: tuple[str, ...]
    third_view: torch.Tensor | None
    """(B, H, W, 3) uint8 RGB, where there are no features."""
    wrist: torch.Tensor | None
    """(B, H', W', 3) uint8 RGB, of a policy with two cameras."""
    features: torch.Tensor | None
    """(B, I, P, F) float16 patch features, computed before."""
    instructions: tuple[str, ...]
    proprioception: torch.Tensor | None
    """(B, S) float32, normalized."""
    actions: torch.Tensor
    """(B, K, A) float32, normalized."""
    is_action: torch.Tensor
    """(B, K) bool, false behind the end of the episode."""
    codes: torch.Tensor | None
    """(B, Q) int64 latent actions, for the head that reads them."""

    @property
    def ids(self) -> list[str]:
        """Episodes in the batch, for error messages."""
        return list(dict.fromkeys(self.episodes))


class Stage3Loader(StepLoader[Stage3Batch]):
    """Iterates from its position to `num_steps`.

    Args:
        config: of the policy, with its action head; a `crop_area` below 1 becomes a random crop of that area.
        codes: of each episode, (T, Q), for the head that reads them.
        features: of each episode, (T, P, F) of every camera, to take the place of the pictures.
    """

    def __init__(
        self,
        episodes: EpisodeSet,
        normalization: Normalization,
        config: PolicyConfig,
        num_steps: int,
        *,
        batch_size: int,
        seed: int,
        codes: Sequence[np.ndarray] | None = None,
        features: Sequence[tuple[np.ndarray, ...]] | None = None,
        threads: int = 2,
        rank: int = 0,
        world_size: int = 1,
        accumulate: int = 1,
    ) -> None:
        self.steps = EpisodeSteps(episodes.episodes)
        self._draws = Mixture([Pool("demonstrations", 1.0, self.steps)], batch_size, seed, stream=0)
        super().__init__(
            num_steps,
            {"batch_size": self._draws.number},
            threads=threads,
            rank=rank,
            world_size=world_size,
            accumulate=accumulate,
        )
        assert config.action is not None
        self._episodes, self._normalization, self._codes = episodes, normalization, codes
        self._config, self._action, self._seed, self._features = config, config.action, seed, features

    def load(self, step: int, micro: int = 0) -> Stage3Batch:
        drawn = self._draws.draw(step)
        corners = np.random.default_rng([self._seed, step, CROPS]).uniform(
            size=(len(drawn), self._config.cameras, 2)
        )
        part = self.share(micro)
        return self.collate(drawn[part], corners[part], step, micro)

    def collate(
        self, drawn: Sequence[EpisodeStep], corners: np.ndarray | None = None, step: int = 0, micro: int = 0
    ) -> Stage3Batch:
        """Some steps as a batch.

        Args:
            corners: (B, I, 2) place of each crop, 0 … 1; the centre by default.
        """
        views = self._views(drawn, corners) if self._features is None else (None, None)
        chunks = [action_chunk(one.episode.actions, one.t, self._action.chunk) for one in drawn]
        actions = self._normalization.action.normalize(np.stack([actions for actions, _ in chunks]))
        return Stage3Batch(
            step=step,
            micro=micro,
            episodes=tuple(one.episode.info.name for one in drawn),
            third_view=views[0],
            wrist=views[1],
            features=self._known(drawn),
            instructions=tuple(one.episode.info.instruction for one in drawn),
            proprioception=self._states(drawn),
            actions=torch.from_numpy(actions),
            is_action=torch.from_numpy(np.stack([exists for _, exists in chunks])),
            codes=self._labels(drawn),
        )

    def _views(
        self, drawn: Sequence[EpisodeStep], corners: np.ndarray | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        at = np.full((len(drawn), self._config.cameras, 2), 0.5) if corners is None else corners
        views = [
            torch.stack([self._view(one, camera, place[i]) for one, place in zip(drawn, at, strict=True)])
            for i, camera in enumerate(VIDEOS[: self._config.cameras])
        ]
        return views[0], views[1] if len(views) > 1 else None

    def _known(self, drawn: Sequence[EpisodeStep]) -> torch.Tensor | None:
        if self._features is None:
            return None
        return torch.from_numpy(
            np.stack([[view[one.t] for view in self._features[one.number]] for one in drawn])
        )

    def _view(self, one: EpisodeStep, camera: str, place: np.ndarray) -> torch.Tensor:
        image = self._config.image
        frame = np.array(self._episodes.frames(one.episode, camera)[one.t])
        whole = image.model_copy(update={"crop_area": 1.0})
        view = camera_image(frame, whole, self._config.vision.image_size)
        sides = [round(side * image.crop_area**0.5) for side in view.shape[:2]]
        top, left = (
            round(float(share) * (full - side))
            for share, full, side in zip(place, view.shape, sides, strict=False)
        )
        return view[top : top + sides[0], left : left + sides[1]]

    def _states(self, drawn: Sequence[EpisodeStep]) -> torch.Tensor | None:
        statistics = self._normalization.proprioception
        if not self._action.proprioception_dim or statistics is None:
            return None
        states = np.stack([one.episode.proprioception[one.t] for one in drawn])
        return torch.from_numpy(statistics.normalize(states, clip=self._action.clip_proprioception))

    def _labels(self, drawn: Sequence[EpisodeStep]) -> torch.Tensor | None:
        if self._codes is None:
            return None
        return torch.from_numpy(np.stack([self._codes[one.number][one.t] for one in drawn]).astype(np.int64))
