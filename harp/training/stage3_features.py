"""Kept features of demonstrations, beside their decoded videos."""

from functools import partial
from pathlib import Path

import numpy as np
import torch

from data_schemas.episodes import VIDEOS
from harp.data.policy_episodes import EpisodeSet
from harp.policy.config import PolicyConfig
from harp.policy.images import camera_image
from harp.policy.prismatic import PrismaticVLA
from harp.training.kept_features import KeptFeatures, Progress

EpisodeFeatures = tuple[np.ndarray, ...]
"""(T, P, F) float16 of each camera."""


def episode_features(
    episodes: EpisodeSet,
    vla: PrismaticVLA,
    precision: str,
    progress: Progress = lambda done, total: None,
) -> list[EpisodeFeatures]:
    """Features of each episode's frames through the adapted path, mapped from disk.

    Args:
        episodes: with decoded videos.
        vla: whose encoder, cameras and image preparation are meant.
        precision: of the encoder.
    """
    config = vla.policy_config
    kept = KeptFeatures(episodes.frames_folder, vla, precision, config.image.model_dump_json())
    features = []
    for done, episode in enumerate(episodes.episodes, 1):
        views = []
        for camera in VIDEOS[: config.cameras]:
            name = Path(episodes.frames_name(episode, camera)).stem
            kept.keep(name, partial(episodes.frames, episode, camera), True, partial(_views, config))
            views.append(kept.of(name))
        features.append(tuple(views))
        progress(done, len(episodes.episodes))
    return features


def _views(config: PolicyConfig, frames_THWC: np.ndarray) -> torch.Tensor:
    return torch.stack([camera_image(f, config.image, config.vision.image_size) for f in frames_THWC])
