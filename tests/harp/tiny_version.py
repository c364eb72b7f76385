"""Writes a small published version by the contract of `data_schemas`, with the standard tarfile and pyarrow alone.

A pair shows a disc that moves along a path of its own; both sides share path and disc colour, the background
tells the sides apart.
"""

import io
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_schemas.identity import content_id, file_sha256
from data_schemas.samples import FRAME_SIZE, SampleIndex, SampleInfo
from data_schemas.versions import Manifest, ShardFile

ORIGINAL = (640, 480)
BACKGROUND = {"human": (170, 130, 100), "robot": (90, 110, 150)}
VERBS = ("push", "lift", "press", "flip")


def write_version(
    lake: Path,
    *,
    pairs: int = 6,
    held_out: int = 2,
    humans: int = 0,
    robots: int = 0,
    frames: int = 12,
    segment_frames: int = 64,
    keypoints: int = 3,
    fps: float = 10.0,
    shards: int = 2,
    seed: int = 0,
) -> Path:
    """Returns the folder of the version. The first `pairs` pairs are for training."""
    rng = np.random.default_rng(seed)
    subjects = [("pair", "train" if i < pairs else "held_out") for i in range(pairs + held_out)]
    subjects += [("human", "train")] * humans + [("robot", "train")] * robots
    per_shard = -(-len(subjects) // shards)
    index: list[SampleIndex] = []
    files = []
    for number in range(shards):
        path = f"shards/part-{number:03d}.tar"
        (lake / path).parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(lake / path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for subject in range(number * per_shard, min((number + 1) * per_shard, len(subjects))):
                kind, split = subjects[subject]
                index += _write_subject(
                    tar,
                    shard=path,
                    subject=subject,
                    subject_id=subject_id(subject, seed),
                    kind=kind,
                    split=split,
                    frames=frames,
                    segment_frames=segment_frames,
                    keypoints=keypoints,
                    fps=fps,
                    rng=rng,
                )
        files.append(
            ShardFile(
                path=path,
                sha256=file_sha256(lake / path),
                num_bytes=(lake / path).stat().st_size,
                num_samples=sum(row.shard == path for row in index),
            )
        )
    version_id = content_id("version", *(file.sha256 for file in files))
    folder = lake / "versions" / version_id
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist([row.to_record() for row in index], schema=SampleIndex.schema())
    pq.write_table(table, folder / "index.parquet")
    manifest = Manifest(
        version_id=version_id,
        dataset="discs",
        created_at="2026-01-01T00:00:00Z",
        shards=files,
        index_sha256=file_sha256(folder / "index.parquet"),
        stage_keys={},
        recipe={},
        licenses={"CC0-1.0": len(index)},
        counts={"pairs": pairs + held_out, "train_pairs": pairs, "held_out_pairs": held_out},
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    return folder


def subject_id(subject: int, seed: int = 0) -> str:
    """Equal ids mean equal recordings, so those of another seed are others."""
    return content_id("subject", str(1000 * seed + subject))


def disc_path(subject: int, frames: int) -> np.ndarray:
    """(frames, 2) centre of the disc in pixels of the original frame."""
    rng = np.random.default_rng([7, subject])
    start, stop = rng.uniform((100, 100), (540, 380), (2, 2))
    return start + np.linspace(0, 1, frames)[:, None] * (stop - start)


def frame_image(subject: int, side: str, centre: np.ndarray) -> np.ndarray:
    """(224, 224, 3) uint8 RGB."""
    colour = np.random.default_rng([8, subject]).integers(0, 255, 3).tolist()
    image = np.full((FRAME_SIZE, FRAME_SIZE, 3), BACKGROUND[side], np.uint8)
    x, y = (centre / ORIGINAL * FRAME_SIZE).round().astype(int).tolist()
    cv2.circle(image, (x, y), 30, colour, -1)
    cv2.putText(image, str(subject), (x - 12, y + 8), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255, 255, 255), 2)
    return image


def _write_subject(
    tar: tarfile.TarFile,
    *,
    shard: str,
    subject: int,
    subject_id: str,
    kind: str,
    split: str,
    frames: int,
    segment_frames: int,
    keypoints: int,
    fps: float,
    rng: np.random.Generator,
) -> list[SampleIndex]:
    sides = ("human", "robot") if kind == "pair" else (kind,)
    centres = disc_path(subject, frames)
    points = np.repeat(centres[:, None], keypoints, 1) + np.arange(keypoints)[:, None] * 4
    num_segments = -(-frames // segment_frames)
    rows = []
    for segment in range(num_segments):
        part = slice(segment * segment_frames, min((segment + 1) * segment_frames, frames))
        number = part.stop - part.start
        key = f"{subject_id}-{segment:03d}"
        info = SampleInfo(
            key=key,
            kind=kind,
            split=split,
            dataset="discs",
            subject_id=subject_id,
            human_id="h" if "human" in sides else None,
            robot_id="r" if "robot" in sides else None,
            instruction=f"{VERBS[subject % 4]} the disc" + (" gently" if subject % 3 else ""),
            task=VERBS[subject % 4],
            fps=fps,
            license="CC0-1.0",
            segment=segment,
            num_segments=num_segments,
            num_frames=number,
            num_keypoints=keypoints,
        )
        cues = {}
        for side in sides:
            visible = rng.uniform(size=(number, keypoints)) < 0.8
            wrist_visible = rng.uniform(size=number) < 0.8
            wrist = (centres[part] - 20).astype(np.float32)
            wrist[~wrist_visible] = np.nan
            cues |= {
                f"{side}_time": np.arange(part.start, part.stop) / fps,
                f"{side}_frame_index": np.arange(part.start, part.stop),
                f"{side}_frame_size": np.array(ORIGINAL),
                f"{side}_wrist": wrist,
                f"{side}_wrist_visibility": wrist_visible.astype(np.float32),
                f"{side}_wrist_visible": wrist_visible,
                f"{side}_object": points[part].astype(np.float32),
                f"{side}_object_visibility": visible.astype(np.float32),
                f"{side}_object_visible": visible,
            }
        archive = io.BytesIO()
        np.savez(archive, **cues)
        members = {"cues.npz": archive.getvalue(), "json": info.model_dump_json().encode()}
        for side in sides:
            for i in range(number):
                image = frame_image(subject, side, centres[part.start + i])
                members[f"{side}.{i:04d}.jpg"] = cv2.imencode(".jpg", image[..., ::-1])[1].tobytes()
        first = tar.offset
        for name in sorted(members):
            member = tarfile.TarInfo(f"{key}.{name}")
            member.size = len(members[name])
            tar.addfile(member, io.BytesIO(members[name]))
        rows.append(
            SampleIndex(
                key=key,
                shard=shard,
                offset=first,
                num_bytes=tar.offset - first,
                kind=kind,
                split=split,
                dataset="discs",
                subject_id=subject_id,
                instruction=info.instruction,
                task=info.task,
                fps=fps,
                segment=segment,
                num_segments=num_segments,
                num_frames=number,
            )
        )
    return rows
