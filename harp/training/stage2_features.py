"""Kept features of the clips that stage 2 draws from: the frozen path of human sides, the adapted path of robot sides."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from data_schemas.identity import content_id
from data_schemas.samples import SampleIndex
from harp.data.policy_labels import LabelledClip, Transition
from harp.data.shards import ShardReader
from harp.data.version import PublishedVersion
from harp.policy.prismatic import PrismaticVLA
from harp.training.kept_features import KeptFeatures, Progress


class ClipFeatures:
    """Reads the kept features of labelled clips; `make` computes what is missing.

    Args:
        folder: of the features of all runs and encoders.
        vla: whose vision encoder is meant.
        precision: of the encoder.
        version: that the clips are of.
    """

    def __init__(self, folder: Path, vla: PrismaticVLA, precision: str, version: PublishedVersion) -> None:
        self._kept = KeptFeatures(folder, vla, precision)
        self._version = version

    def make(
        self,
        clips: Sequence[LabelledClip],
        reader: ShardReader,
        progress: Progress = lambda done, total: None,
    ) -> None:
        """Features of all frames of some clips."""
        for done, clip in enumerate(clips, 1):
            for sample in clip.subject.segments:
                frames = partial(reader.frames, sample, clip.side, range(sample.num_frames))
                self._kept.keep(self._name(sample, clip.side), frames, clip.side == "robot")
            progress(done, len(clips))

    def of(self, transition: Transition) -> np.ndarray:
        """(P, F) float16 of what the policy sees at a transition."""
        sample, local = transition.clip.subject.locate(transition.frame)
        return self._kept.of(self._name(sample, transition.clip.side))[local]

    def _name(self, sample: SampleIndex, side: str) -> str:
        """Of the content: versions that share a shard share its features."""
        return content_id(self._version.shard_files[sample.shard].sha256, sample.key, side)
