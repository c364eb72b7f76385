"""Demonstrations with actions that a few thousand weights can learn: what to do shows in the pictures and the state."""

from pathlib import Path

import numpy as np

from data_schemas.episodes import (
    COLLECTION_FILE,
    EPISODE_FILE,
    EPISODES,
    STEPS_FILE,
    VIDEOS,
    Collection,
    EpisodeInfo,
)
from harp.data.policy_episodes import EpisodeSet
from simulation.rh20t_writer import write_video

STEPS, SIZE = 6, 32
TASKS = ("press", "push")


def write_demonstrations(root: Path, per_task: int = 2, fingers: int = 0) -> Path:
    """Two tasks of `per_task` episodes; the third action dimension is a gripper that opens or closes, then come joints
    of fingers that close, each at its own pace."""
    root.mkdir(parents=True)
    collection = Collection(
        robot="dot",
        rate=10.0,
        actions=("x", "y", "opening", *(f"finger{i}" for i in range(fingers))),
        action_scale=(0.02, 0.02, *[1.0] * (1 + fingers)),
        proprioception=("x", "height"),
        size=SIZE,
        seed=0,
        appearance={},
        license="CC0-1.0",
    )
    (root / COLLECTION_FILE).write_text(collection.model_dump_json())
    for task in TASKS:
        for trial in range(per_task):
            write_episode(root, task, trial, fingers)
    return root


def write_episode(root: Path, task: str, trial: int, fingers: int = 0) -> Path:
    name = f"{task}_{trial:05d}"
    folder = root / EPISODES / name
    folder.mkdir(parents=True)
    rng = np.random.default_rng([trial, TASKS.index(task)])
    time = np.arange(STEPS) / (STEPS - 1)
    level = rng.uniform(0.2, 0.8)
    actions = np.stack([0.4 * time - level, np.full(STEPS, level), np.where(time < 0.5, 1.0, -1.0)], axis=1)
    paces = np.linspace(0.2, 1.5, fingers)
    actions = np.concatenate([actions, level * paces + paces * time[:, None]], axis=1)
    states = np.stack([time * 3, np.full(STEPS, 10 * level)], axis=1)
    for camera in VIDEOS:
        frames = np.zeros((STEPS, SIZE, SIZE, 3), np.uint8)
        frames[..., 0], frames[..., 1] = int(255 * level), 60 if camera == "wrist" else 200
        for t in range(STEPS):
            frames[t, :, : 2 + 5 * t, 2] = 255
        write_video(folder / f"{camera}.mp4", frames)
    np.savez(folder / STEPS_FILE, actions=actions, proprioception=states)
    info = EpisodeInfo(
        name=name, task=task, trial=trial, instruction=f"{task} the dot", steps=STEPS, success=True
    )
    (folder / EPISODE_FILE).write_text(info.model_dump_json())
    return folder


def episode_set(root: Path, folder: Path, per_task: int | None = None, cameras: int = 2) -> EpisodeSet:
    """Opened and decoded."""
    episodes = EpisodeSet.open(root, folder, per_task)
    episodes.decode(cameras)
    return episodes
