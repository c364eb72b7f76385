"""Patch features of demonstrations, computed once where nothing in front of them is trained.

A step of the demonstrations is drawn tens of times, and the vision encoder is most of a small policy's work: with the
encoder frozen and no random crops its features never change. They are kept as float16 beside the decoded videos, 49 KB
a frame and camera with the `laptop` encoder, 1.1 MB with the paper's, which is why this is a setting.
"""

from collections.abc import Callable

import numpy as np
import torch

from data_schemas.episodes import VIDEOS
from data_schemas.identity import content_id
from harp.data.arrays import save_array
from harp.data.policy_episodes import EpisodeSet
from harp.policy.images import camera_image
from harp.policy.predict import device_of
from harp.policy.prismatic import PrismaticVLA
from harp.training.tensors_identity import tensors_identity

FRAMES_AT_ONCE = 32

EpisodeFeatures = tuple[np.ndarray, ...]
"""(T, P, F) float16 of each camera."""


def episode_features(
    episodes: EpisodeSet,
    vla: PrismaticVLA,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[EpisodeFeatures]:
    """Features of each episode's frames through the adapted path, mapped from disk.

    Args:
        episodes: with decoded videos.
        vla: whose encoder, cameras and image preparation are meant.
    """
    config = vla.policy_config
    key = content_id(
        "episode features", tensors_identity(vla.vision.state_dict()), config.image.model_dump_json()
    )
    folder = episodes.frames_folder / f"features-{key}"
    features = []
    for done, episode in enumerate(episodes.episodes, 1):
        views = []
        for camera in VIDEOS[: config.cameras]:
            path = folder / episodes.frames_name(episode, camera)
            if not path.is_file():
                save_array(path, _encode(vla, episodes.frames(episode, camera)))
            views.append(np.load(path, mmap_mode="r", allow_pickle=False))
        features.append(tuple(views))
        progress(done, len(episodes.episodes))
    return features


@torch.no_grad()
def _encode(vla: PrismaticVLA, frames_THWC: np.ndarray) -> np.ndarray:
    """(T, P, F) float16."""
    encoder, config, device = vla.vision, vla.policy_config, device_of(vla)
    parts = []
    for first in range(0, len(frames_THWC), FRAMES_AT_ONCE):
        some = np.array(frames_THWC[first : first + FRAMES_AT_ONCE])
        views = torch.stack([camera_image(f, config.image, config.vision.image_size) for f in some])
        images = encoder.preprocess(views.to(device)).to(vla.projector.fc1.weight.dtype)
        parts.append(encoder.adapted(images).half().cpu().numpy())
    return np.concatenate(parts)
