"""Reader of any folder of video files with a table of pairs, so that anyone can try their own videos.

Times are those of the video file.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from data_schemas.demonstrations import Demonstration
from pipelines.datasets.base import Reader, ReaderOptions, check_root, make_demonstration
from pipelines.datasets.clip_files import index_clip, inside
from pipelines.datasets.clips.calibration import load_calibration, parse_calibration
from pipelines.datasets.clips.scenes import scenes
from pipelines.datasets.clips.table import read_table
from pipelines.datasets.robot_state import RobotState, check_overlap
from pipelines.inputs import SourceClip

CAMERA = "main"


class ClipsOptions(ReaderOptions):
    """`license` holds for rows that name none."""

    table: str = "pairs.csv"
    license: str = "unknown"


class ClipsReader(Reader[ClipsOptions]):
    """See `table` for what is found, `calibration` for what may be known of it."""

    options_type: ClassVar[type[ReaderOptions]] = ClipsOptions

    def discover(self, raw_root: Path) -> Iterator[SourceClip]:
        check_root(raw_root)
        uses: dict[str, dict[str, int]] = {"human": {}, "robot": {}}
        rows = list(read_table(raw_root / self.options.table))
        for row, scene in zip(rows, scenes(rows), strict=True):
            for embodiment, used in uses.items():
                if video := row[embodiment]:
                    # The same video in several pairs is several demonstrations: each needs its own id.
                    earlier = used.get(video, 0)
                    used[video] = earlier + 1
                    camera = f"{CAMERA}:{row['pair_id'] or earlier}" if earlier else CAMERA
                    yield self._clip(row, scene, embodiment, camera)

    def _clip(self, row: Mapping[str, str], scene: str, embodiment: str, camera: str) -> SourceClip:
        video, calibration = row[embodiment], row["calibration"]
        return SourceClip(
            dataset=self.dataset,
            source=video,
            embodiment=embodiment,
            camera=camera,
            pair_key=_pair_key(row["pair_id"], scene) if row["pair_id"] else None,
            hints={
                "video": video,
                "calibration": calibration,
                "watch": [video, calibration] if calibration else [video],
                "task": row["task"],
                "instruction": row["instruction"],
                "license": row["license"] or self.options.license,
            },
        )

    def read(self, clip: SourceClip, raw_root: Path) -> Demonstration:
        index = index_clip(clip, raw_root)
        K, robot = None, RobotState()
        if clip.hints["calibration"]:
            side = load_calibration(inside(raw_root, clip.hints["calibration"]), clip.embodiment)
            K, robot = parse_calibration(side, clip.hints["calibration"])
            if robot.effector_times.size:
                check_overlap(robot.effector_times, index.timestamps[-1], clip.hints["calibration"])
        return make_demonstration(
            clip,
            raw_root,
            index,
            index.timestamps,
            K=K,
            robot=robot,
            license_name=clip.hints["license"],
        )


def _pair_key(name: str, scene: str) -> str:
    """What stands before the last slash of a key shares a split, so that names which have slashes need one behind them."""
    if name != scene:
        return f"{scene}/{quote(name, safe='')}"
    return f"{name}/{CAMERA}" if "/" in name else name
