"""Latent actions of demonstrations, for the action head that reads them.

Every step gets the codes of (t, t+Δ) of the third view through the adapted encoder; Δ is the middle of the range that
stage 1 drew from, as in labelling. At an episode's end t+Δ is its last frame: the robot is about to stand still there.
Files are named by video and instruction, so that episodes of one name, as merged collections have, keep theirs apart, and
sets that share episodes share their codes.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from data_schemas.episodes import VIDEOS
from data_schemas.identity import content_id
from harp.data.arrays import save_array
from harp.data.policy_episodes import EpisodeSet
from harp.data.sampling import horizon_frames
from harp.latent_action.labels import Labeller
from harp.training.stage1_models import load_stage1, stage1_identity


def episode_codes(
    episodes: EpisodeSet,
    run: Path,
    device: torch.device,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[np.ndarray]:
    """(T, Q) codes of each episode, computed where they are not yet beside the decoded videos.

    Raises:
        UserError: no finished stage-1 run with a latent action model.
    """
    models = load_stage1(run, device)
    labeller = Labeller(models.encoder, models.latent_action, models.text)
    seconds = sum(models.config.data.horizon_seconds) / 2
    rate = episodes.collection.rate
    key, codes = content_id("episode codes", stage1_identity(run), str(seconds), str(rate)), []
    for done, episode in enumerate(episodes.episodes, 1):
        name = content_id(Path(episodes.frames_name(episode, VIDEOS[0])).stem, episode.info.instruction)
        path = episodes.frames_folder / f"codes-{key}" / f"{name}.npy"
        if not path.is_file():
            last = episode.info.steps - 1
            first = np.arange(episode.info.steps)
            later = np.minimum(first + horizon_frames(seconds, rate, last), last)
            frames = episodes.frames(episode, VIDEOS[0])
            labels = labeller.codes(
                frames, "robot", episode.info.instruction, np.stack([first, later], axis=1)
            )
            save_array(path, labels)
        codes.append(np.load(path, allow_pickle=False))
        progress(done, len(episodes.episodes))
    return codes
