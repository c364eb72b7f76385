"""Robot demonstrations with actions as stage 3 sees them: any step of any episode, without decoding a video twice.

Both cameras of an episode are decoded once, front to back, into memory-mapped arrays named by the checksum of the
video, which all runs share; a batch then reads the pictures it needs. The price is disk: 15 MB per hundred frames of
224 pixels and camera. Seeking in H.264 instead decodes tens of frames for each one.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError

from data_schemas.episodes import (
    COLLECTION_FILE,
    STEPS_FILE,
    VIDEOS,
    Collection,
    Episode,
    episode_folders,
    read_collection,
    read_episode,
)
from data_schemas.errors import BadInput, UserError
from data_schemas.identity import content_id, file_sha256
from harp.data.arrays import save_array
from harp.data.flattened import Flattened
from harp.policy.normalization import Normalization, Statistics

ROUNDING = 1e-6
"""Range of a dimension, in the robot's units, below which it counts as constant."""
FORMAT = "mov,mp4"
"""FFmpeg's name of what `data_schemas.episodes` has videos in. Others (playlists) read files that whoever wrote them has chosen."""

OPEN_FILES = 256
"""Decoded videos that stay mapped."""


@dataclass(frozen=True)
class EpisodeSet:
    """Successful episodes of one folder, and where their decoded videos lie."""

    collection: Collection
    episodes: tuple[Episode, ...]
    frames_folder: Path
    _checksums: dict[Path, str] = field(default_factory=dict, repr=False, compare=False)
    """Of the videos as they are while the set is open: each is read once, however often its frames are asked for."""

    @classmethod
    def open(cls, root: Path, frames_folder: Path, per_task: int | None = None) -> "EpisodeSet":
        """Read everything but the pictures.

        Args:
            root: folder of `harp simulate demonstrations`, or of its layout.
            frames_folder: where decoded videos are kept.
            per_task: the first so many of each task, by name; all by default.

        Raises:
            UserError: no demonstrations there, a broken one, episodes that do not belong together, or too few.
        """
        collection = read_collection(root)
        episodes = [e for e in (_read(folder) for folder in episode_folders(root)) if e.info.success]
        if not episodes:
            raise UserError(
                f"{root} holds no successful episode; make some with `harp simulate demonstrations`."
            )
        dims = (len(collection.actions), len(collection.proprioception))
        for episode in episodes:
            found = (episode.actions.shape[1], episode.proprioception.shape[1])
            if found != dims:
                raise UserError(
                    f"Episode {episode.info.name} has {found[0]} action and {found[1]} state dimensions, "
                    f"{COLLECTION_FILE} says {dims[0]} and {dims[1]}; remove its folder."
                )
        if per_task is not None:
            numbers = Counter(episode.info.task for episode in episodes)
            short = {task: number for task, number in numbers.items() if number < per_task}
            if short:
                raise UserError(
                    f"{per_task} episodes a task are asked for, {root} has {short}; simulate more, or set "
                    "data.episodes_per_task lower."
                )
            taken: Counter[str] = Counter()
            first = []
            for episode in episodes:
                taken[episode.info.task] += 1
                if taken[episode.info.task] <= per_task:
                    first.append(episode)
            episodes = first
        return cls(collection, tuple(episodes), frames_folder)

    @property
    def identity(self) -> str:
        """Changes with any number or picture that training sees."""
        parts = [self.collection.model_dump_json()]
        for episode in self.episodes:
            parts += [episode.info.model_dump_json(), file_sha256(episode.folder / STEPS_FILE)]
            videos = (episode.video(camera) for camera in VIDEOS)
            parts += [self._checksum(video) for video in videos if video.is_file()]
        return f"demonstrations@{content_id(*parts)}"

    def normalization(self) -> Normalization:
        """q01 and q99 of all steps. A command that takes two values within ±1, as an open-or-close gripper, passes unchanged."""
        actions = np.concatenate([episode.actions for episode in self.episodes])
        values = [np.unique(column) for column in actions.T]
        moves = np.ptp(actions, axis=0) > ROUNDING
        # What stands still is normalized too: so it is held, whatever the policy says.
        is_continuous = [
            not moving or len(v) > 2 or bool(np.abs(v).max() > 1)
            for moving, v in zip(moves, values, strict=True)
        ]
        states = np.concatenate([episode.proprioception for episode in self.episodes])
        return Normalization(_statistics(actions, is_continuous), _statistics(states))

    def decode(self, cameras: int, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Decode what is not yet there of the first so many cameras.

        Raises:
            UserError: a video that is not there, cannot be read, or has another number of frames than its episode has steps.
        """
        for episode in self.episodes:
            for camera in VIDEOS[:cameras]:
                if not episode.video(camera).is_file():
                    raise UserError(
                        f"There is no {episode.video(camera)}: write it, remove the episode's folder, or train with "
                        "data.cameras=1 where the robot has no wrist camera."
                    )
        for done, episode in enumerate(self.episodes, 1):
            for camera in VIDEOS[:cameras]:
                path = self._path(episode, camera)
                if not path.is_file():
                    save_array(path, decode_video(episode.video(camera), episode.info.steps))
            progress(done, len(self.episodes))

    def frames(self, episode: Episode, camera: str) -> np.ndarray:
        """(T, H, W, 3) uint8 RGB, mapped."""
        return _mapped(self._path(episode, camera))

    def frames_name(self, episode: Episode, camera: str) -> str:
        """File of a video's frames, named by its content."""
        return f"{self._checksum(episode.video(camera))[:32]}.npy"

    def _path(self, episode: Episode, camera: str) -> Path:
        return self.frames_folder / self.frames_name(episode, camera)

    def _checksum(self, video: Path) -> str:
        if video not in self._checksums:
            self._checksums[video] = file_sha256(video)
        return self._checksums[video]


@dataclass(frozen=True)
class EpisodeStep:
    """What was seen at step t of an episode."""

    episode: Episode
    number: int
    """Of the episode in its set."""
    t: int


class EpisodeSteps(Flattened[EpisodeStep]):
    """All steps of all episodes."""

    def __init__(self, episodes: Sequence[Episode]) -> None:
        super().__init__(
            [episode.info.steps for episode in episodes], lambda i, t: EpisodeStep(episodes[i], i, t)
        )


def action_chunk(actions: np.ndarray, t: int, chunk: int) -> tuple[np.ndarray, np.ndarray]:
    """(the K actions from step t on (K, A), which of them exist (K,)).

    OpenVLA-OFT leaves out the last K-1 steps of an episode, so that its policy never sees a task about to be finished.
    Here every step begins a chunk, and what comes after the end has no part in the loss.

    Args:
        actions: (T, A).
    """
    real = actions[t : t + chunk]
    padded = np.concatenate([real, np.repeat(real[-1:], chunk - len(real), axis=0)])
    return padded, np.arange(chunk) < len(real)


def decode_video(path: Path, num_frames: int) -> np.ndarray:
    """All frames (T, H, W, 3) uint8 RGB.

    Raises:
        UserError: a video that cannot be read, or of another length.
    """
    try:
        with av.open(str(path), options={"format_whitelist": FORMAT}) as container:
            frames = [frame.to_ndarray(format="rgb24", threads=1) for frame in container.decode(video=0)]
    except (FFmpegError, OSError) as error:
        raise UserError(
            f"{path} cannot be decoded ({error}); remove the episode's folder or write it again."
        ) from None
    if len(frames) != num_frames:
        raise UserError(
            f"{path} has {len(frames)} frames, its episode {num_frames} steps; remove the episode's folder or write "
            "it again."
        )
    return np.stack(frames)


def _statistics(values_ND: np.ndarray, mask: Sequence[bool] | None = None) -> Statistics:
    """Quantiles, equal where a dimension moves by rounding only: normalized, that would be noise of full size."""
    found = Statistics.of(values_ND, mask)
    moves = found.q99 - found.q01 > ROUNDING
    return Statistics.checked(found.q01, np.where(moves, found.q99, found.q01), found.mask)


def _read(folder: Path) -> Episode:
    try:
        episode = read_episode(folder)
    except BadInput as error:
        raise UserError(f"A demonstration is broken, {error}; remove its folder or write it again.") from None
    return episode


@lru_cache(OPEN_FILES)
def _mapped(path: Path) -> np.ndarray:
    return np.load(path, mmap_mode="r", allow_pickle=False)
