"""Samples per second of the shard reader for what training reads, against other ways to the same frames.

    python -m benchmarks.data.readers LAKE [--version latest] [--context 4] [--samples 64] [--repeats 5]

Training wants 2 + C robot frames and the cues of a sample of up to 64 frames a side. Compared are

- HARP's reader, warm (member tables known) and cold (a new reader each time);
- `webdataset` over the same shards, decoding every frame, with its own decoder (Pillow) and with ours (OpenCV);
- the same robot clips as videos with LeRobot's settings, random access as its two backends do it
  (`benchmarks.data.video_access`: the access pattern by PyAV, not the package, which needs torchvision).

All repeats are interleaved in one run, on a warm page cache; a ratio is the median over repeats of times within
the same repeat. Peak memory is measured in a fresh process for each way. Last come the loader's cost per step as batch,
context frames and feature width grow; features are random numbers there.
"""

import argparse
import io
import itertools
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import webdataset
from rich.console import Console
from rich.table import Table

from benchmarks.data.video_access import Video, write_video
from data_schemas.samples import SampleIndex
from harp.data.config import DataConfig
from harp.data.frozen_features import FrozenFeatures
from harp.data.loader import Stage1Loader
from harp.data.sampling import TransitionSampler
from harp.data.shards import ShardReader
from harp.data.version import PublishedVersion, version_folder

REFERENCE = "HARP, warm"


class Readers:
    """Each method reads the same number of samples its own way; returns the number of frames it decoded."""

    def __init__(self, folder: Path, videos: Path, num_samples: int, context: int) -> None:
        self._version = PublishedVersion.open(folder)
        self._reader = ShardReader(self._version, "size")
        rng = np.random.default_rng(0)
        robots = [s for s in self._version.samples if s.kind == "pair" and s.num_frames >= 2 + context]
        chosen = rng.permutation(len(robots))[:num_samples]
        self.samples = [robots[i] for i in chosen]
        self._frames = [
            sorted(rng.choice(s.num_frames, 2 + context, replace=False).tolist()) for s in self.samples
        ]
        self._videos = videos
        self.ways: dict[str, Callable[[], int]] = {
            REFERENCE: lambda: self._harp(self._reader),
            "HARP, cold": lambda: self._harp(ShardReader(self._version, "size")),
            "webdataset, every frame, Pillow": lambda: self._webdataset("rgb8"),
            "webdataset, every frame, OpenCV": lambda: self._webdataset(_decode_jpeg),
            "video, frame by frame": lambda: self._video(Video.one_by_one),
            "video, one sweep": lambda: self._video(Video.in_one_sweep),
        }

    def write_videos(self) -> None:
        """The robot side of every sample as a video."""
        for sample in self.samples:
            frames = self._reader.frames(sample, "robot", range(sample.num_frames))
            write_video(frames, self._path(sample), round(sample.fps))

    def _path(self, sample: SampleIndex) -> Path:
        return self._videos / f"{sample.key}.mp4"

    def _harp(self, reader: ShardReader) -> int:
        for sample, frames in zip(self.samples, self._frames, strict=True):
            reader.frames(sample, "robot", frames)
            reader.cues(sample, "robot")
            reader.cues(sample, "human")
        return sum(map(len, self._frames))

    def _webdataset(self, decode: Callable[..., Any] | str) -> int:
        urls = [str(self._version.lake / shard.path) for shard in self._version.manifest.shards]
        dataset: Any = webdataset.WebDataset(urls, shardshuffle=False).decode(decode)
        samples = itertools.islice(itertools.cycle(dataset), len(self.samples))
        return sum(name.endswith(".jpg") for sample in samples for name in sample)

    def _video(self, read: Callable[[Video, list[int]], np.ndarray]) -> int:
        for sample, frames in zip(self.samples, self._frames, strict=True):
            read(Video(self._path(sample)), frames)
        return sum(map(len, self._frames))


def _decode_jpeg(name: str, data: bytes) -> object:
    if name.endswith("jpg"):
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    return dict(np.load(io.BytesIO(data))) if name.endswith("npz") else None


def peak_memory(way: str, arguments: tuple) -> float:
    """MB above the start, in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (way, arguments))


def _peak(way: str, arguments: tuple) -> float:
    readers = Readers(*arguments)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = _resident_peak()
    readers.ways[way]()
    return _resident_peak() - before


def _resident_peak() -> float:
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def compare(console: Console, arguments: tuple, repeats: int) -> None:
    """Print the table of readers."""
    readers = Readers(*arguments)
    readers.write_videos()
    seconds: dict[str, list[float]] = {way: [] for way in readers.ways}
    frames = {}
    for way, read in readers.ways.items():
        frames[way] = read()
    for _ in range(repeats):
        for way, read in readers.ways.items():
            started = time.perf_counter()
            read()
            seconds[way].append(time.perf_counter() - started)
    number = len(readers.samples)
    table = Table(title=f"{number} samples, {repeats} interleaved repeats")
    for column in ("", "samples/s", "frames decoded", "time / HARP warm", "peak MB"):
        table.add_column(column, justify="right" if column else "left")
    for way, times in seconds.items():
        ratios = np.array(times) / np.array(seconds[REFERENCE])
        spread = f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})"
        row = (f"{number / np.median(times):.1f}", str(frames[way]), spread)
        table.add_row(way, *row, f"{peak_memory(way, arguments):.0f}")
    console.print(table)


def step_costs(console: Console, folder: Path, scratch: Path, repeats: int) -> None:
    """Print the loader's time for a batch as its size, its frames and the features' width grow."""
    version = PublishedVersion.open(folder)
    reader = ShardReader(version, "size")
    base = {"pairs": 8, "context": 4, "width": 384}
    grown = [
        base,
        *({**base, name: value} for name, values in GROWTH.items() for value in values),
    ]
    loaders = [_loader(version, reader, scratch, **setting) for setting in grown]
    seconds = np.empty((repeats + 1, len(grown)))
    for repeat in range(repeats + 1):
        for i, loader in enumerate(loaders):
            started = time.perf_counter()
            loader.load(repeat)
            seconds[repeat, i] = time.perf_counter() - started
    table = Table(title=f"Loader, one thread, {repeats} interleaved repeats")
    for column in (*base, "ms a step", "ms a pair"):
        table.add_column(column, justify="right")
    for setting, times in zip(grown, seconds[1:].T, strict=True):
        ms = 1000 * float(np.median(times))
        table.add_row(*map(str, setting.values()), f"{ms:.1f}", f"{ms / setting['pairs']:.2f}")
    console.print(table)


GROWTH = {"pairs": (16, 32, 64), "context": (2, 8, 16), "width": (1024, 2176)}
PATCHES = 16


def _loader(
    version: PublishedVersion, reader: ShardReader, scratch: Path, pairs: int, context: int, width: int
) -> Stage1Loader:
    config = DataConfig(pairs_per_batch=pairs, singles_per_batch=0, context_frames=context)
    features = FrozenFeatures.prepare(
        version,
        reader,
        lambda frames: torch.randn(len(frames), PATCHES, width),
        identity=f"random {width}",
        folder=scratch,
        max_token_bytes=10**12,
    )
    return Stage1Loader(TransitionSampler(version, config, 0), reader, features, 64, 0)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lake", type=Path)
    parser.add_argument("--version", default="latest")
    parser.add_argument("--context", type=int, default=4)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-steps", action="store_true", help="leave out the cost per step")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    console = Console(width=110)
    folder = version_folder(arguments.lake, arguments.version)
    with tempfile.TemporaryDirectory() as scratch:
        where = (folder, Path(scratch), arguments.samples, arguments.context)
        compare(console, where, arguments.repeats)
        if not arguments.no_steps:
            step_costs(console, folder, Path(scratch), arguments.repeats)


if __name__ == "__main__":
    main()
