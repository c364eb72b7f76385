"""How long a run takes that finds nothing to do, over a lake of many demonstrations.

Makes raw clips (empty files with a `pairs.csv`) and a lake in which all of them are curated: real rows with tracks of
100 frames under the keys of the recipe `clips`, real ledger entries, small shard files, a published version; one pair in
fifty is rejected. Then runs `harp curate` over it in a process of its own, twice. `planned` searches the raw folder, plans
every stage and publishes, as the first night does on which nothing is new; `repeated` searches the raw folder and
finds that everything is as that run left it, as all later nights do. What stands is reused by the next call.

    python benchmarks/engine/noop.py --out build/noop --demonstrations 200000
"""

import argparse
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from data_schemas.cues import ObjectTrack, WristTrack
from data_schemas.demonstrations import Demonstration
from data_schemas.identity import demonstration_id, pair_id
from data_schemas.ledger import LedgerEntry
from data_schemas.pairs import Alignment, Shard, Verdict
from data_schemas.row import Row
from pipelines.curate import make_stages, stage_keys
from pipelines.datasets.ingest import source_work
from pipelines.engine.lake import Lake
from pipelines.outlines import RunView
from pipelines.recipe import load_curate_recipe
from pipelines.shards.stage import plan_shards
from pipelines.shards.writer import PackedSample, index_path, write_rows

FRAMES = 100
KEYPOINTS = 8
CHUNK = 5000
REJECTED_ONE_OF = 50


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--demonstrations", type=int, default=200_000)
    options = arguments.parse_args()
    raw, lake = options.out / "raw", options.out / "lake"
    if not (lake / "complete").exists():
        make_raw(raw, options.demonstrations)
        make_lake(raw, lake)
        publish_first(raw, lake)
        (lake / "complete").touch()
    for record in (lake / "runs").glob("*.json"):
        record.unlink()
    for name in ("planned", "repeated"):
        seconds, cpu, peak = timed_run(raw, lake)
        figures = {"run": name, "demonstrations": options.demonstrations, "seconds": round(seconds, 2)}
        print(json.dumps(figures | {"cpu_seconds": round(cpu, 2), "peak_memory_mb": round(peak)}))


def timed_run(raw: Path, lake: Path) -> tuple[float, float, float]:
    """Wall and CPU seconds of `harp curate` with its start, and its peak memory in MB."""
    program = (
        "import resource, sys; from harp.cli import build_app\n"
        "try: build_app()(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "usage = resource.getrusage(resource.RUSAGE_SELF)\n"
        # The usage's own peak would be that of this process, which made the lake, if that is higher.
        "status = dict(line.split(':', 1) for line in open('/proc/self/status'))\n"
        "print(usage.ru_utime + usage.ru_stime, int(status['VmHWM'].split()[0]) / 1024)"
    )
    command = [sys.executable, "-c", program, "curate", "clips", "--root", str(raw), "--lake", str(lake)]
    start = time.perf_counter()
    done = subprocess.run([*command, "--executor", "local"], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - start
    assert "Nothing new" in done.stdout, done.stdout + done.stderr
    cpu, peak = map(float, done.stdout.split()[-2:])
    return seconds, cpu, peak


def make_raw(raw: Path, number: int) -> None:
    """Empty videos, half of them of people, half of robots, in pairs."""
    lines = ["pair_id,human,robot,instruction"]
    for i in range(number // 2):
        folder = raw / f"{i // 1000:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        names = [f"{i // 1000:04d}/{side}_{i}.mp4" for side in ("human", "robot")]
        for name in names:
            (raw / name).touch()
        lines.append(f"pair_{i},{names[0]},{names[1]},push the plate forward")
    (raw / "pairs.csv").write_text("\n".join(lines) + "\n")


def make_lake(raw: Path, root: Path) -> None:
    """Everything curated."""
    recipe, lake = load_curate_recipe("clips"), Lake(root)
    keys = stage_keys(make_stages(recipe, lake))
    clips = source_work(recipe.make_reader().discover(raw.resolve()), raw)
    demonstrations = {i: demonstration(clip) for i, (clip, _) in clips.load(list(clips.labels)).items()}
    write(lake, keys["ingest"], "ingest", demonstrations)
    ids = [row.demonstration_id for row in demonstrations.values()]
    write(lake, keys["wrist_tracks"], "wrist_tracks", {i: wrist(i) for i in ids})
    for chunk in chunks(ids):  # 700 MB of keypoints
        write(lake, keys["object_tracks"], "object_tracks", {i: objects(i) for i in chunk})
    view = RunView(lake, raw, keys, lambda: list(demonstrations))
    write(lake, keys["alignments"], "alignments", {i: alignment(i) for i in view.pairs})
    verdicts = {i: verdict(i, number % REJECTED_ONE_OF > 0) for number, i in enumerate(view.subjects)}
    write(lake, keys["verdicts"], "verdicts", verdicts)
    accepted = [subject for i, subject in view.subjects.items() if verdicts[i].accepted]
    shards = plan_shards(accepted, recipe.shards)
    write(lake, keys["shards"], "shards", {i: shard(root, i, plan.split) for i, plan in shards.items()})


def publish_first(raw: Path, root: Path) -> None:
    """The run that publishes what `make_lake` made."""
    command = [str(Path(sys.executable).with_name("harp")), "curate", "clips", "--root", str(raw.resolve())]
    subprocess.run([*command, "--lake", str(root), "--executor", "local"], check=True, capture_output=True)


def write(lake: Lake, key: str, stage: str, rows: Mapping[str, Row]) -> None:
    """Rows and their ledger entries, a commit for every `CHUNK` items."""
    for chunk in chunks(list(rows)):
        commit(lake, key, {i: rows[i] for i in chunk})
        entries = {
            i: LedgerEntry(i, i, stage, key, "made", 1, "done", "", "", False, "made", 1.0, 100.0, "")
            for i in chunk
        }
        commit(lake, key, entries)


def commit(lake: Lake, key: str, rows: Mapping[str, Row]) -> None:
    row_class = type(next(iter(rows.values())))
    lake.write(lake.opened(row_class), row_class, key, list(rows.items()))


def chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[i : i + CHUNK] for i in range(0, len(ids), CHUNK))


def demonstration(clip) -> Demonstration:
    sha256 = hashlib.sha256(clip.source.encode()).hexdigest()
    nothing = np.empty(0)
    return Demonstration(
        demonstration_id=demonstration_id(clip.dataset, sha256, clip.camera),
        dataset=clip.dataset,
        embodiment=clip.embodiment,
        camera=clip.camera,
        source=clip.source,
        pair_key=clip.pair_key,
        task="",
        instruction=clip.hints["instruction"],
        license="CC0-1.0",
        video_path=clip.hints["video"],
        source_sha256=sha256,
        codec="h264",
        width=640,
        height=360,
        num_frames=FRAMES,
        fps=10.0,
        timestamps=np.arange(FRAMES) / 10,
        pts=np.arange(FRAMES),
        keyframes=np.arange(0, FRAMES, 12),
        intrinsics=nothing,
        effector_times=nothing,
        effector_poses=nothing.reshape(0, 7),
        gripper_times=nothing,
        gripper_widths=nothing,
        object_box=nothing.astype(np.float32),
        object_box_frame=0,
    )


def wrist(i: str) -> WristTrack:
    seen = np.ones(FRAMES, bool)
    points = np.random.default_rng(int(i, 16)).normal(size=(FRAMES, 2)).astype(np.float32)
    return WristTrack(i, "made", points, seen.astype(np.float32), seen, ["found"] * FRAMES)


def objects(i: str) -> ObjectTrack:
    seen = np.ones((FRAMES, KEYPOINTS), bool)
    points = np.random.default_rng(int(i, 16)).normal(size=(FRAMES, KEYPOINTS, 2)).astype(np.float32)
    box = np.zeros(4, np.float32)
    return ObjectTrack(i, "made", "made", "", box, 0, KEYPOINTS, points, seen.astype(np.float32), seen)


def alignment(i: str) -> Alignment:
    steps = np.arange(FRAMES)
    return Alignment(i, i, i, "wrist", steps, np.stack([steps, steps], 1), 0.1, 1.0)


def verdict(i: str, accepted: bool) -> Verdict:
    reasons = [] if accepted else ["static_clip"]
    return Verdict(i, "pair", accepted, reasons, [f"metric_{n}" for n in range(14)], [0.5] * 14)


def shard(root: Path, i: str, split: str) -> Shard:
    """A tar of one kilobyte with the index of one sample."""
    path = f"shards/clips/{split}-pair-{i}.tar"
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(bytes(1024))
    sample = PackedSample(
        key=f"{i}-0000", shard=path, offset=0, num_bytes=1024, kind="pair", split=split, dataset="clips",
        subject_id=pair_id(i, i), instruction="push the plate forward", task="", fps=10.0, segment=0,
        num_segments=1, num_frames=64, license="CC0-1.0",
    )  # fmt: skip
    write_rows(index_path(root, path), PackedSample, [sample])
    return Shard(i, path, hashlib.sha256(i.encode()).hexdigest(), 1024, 1, 64)


if __name__ == "__main__":
    main()
