"""A tiny labelled version with its stage-1 run, for tests of stage 2."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_schemas.latent_actions import LABELS, LabelSet, LatentActions
from harp.data.version import PublishedVersion
from harp.training.policy_run import Start
from harp.training.stage1 import train_stage1
from harp.training.stage1_models import stage1_identity
from harp.training.stage2 import train_stage2
from harp.training.stage2_config import Stage2Config
from pipelines.engine.lake import Lake
from tests.harp.policy.tiny_policy import LANGUAGE, VISION
from tests.harp.tiny_version import write_version
from tests.harp.training.changed import changed
from tests.harp.training.tiny_recipe import tiny_config, write_text_encoder

FRAMES, HORIZON, CODES = 6, 2, 16


@dataclass(frozen=True)
class World:
    lake: Path
    version: PublishedVersion
    stage1: Path


def make_world(folder: Path) -> World:
    """Two pairs for training, one held out, two singles; codes that follow from subject and side."""
    root = write_version(folder / "lake", pairs=2, held_out=1, humans=1, robots=1, frames=FRAMES)
    train_stage1(tiny_config(write_text_encoder(folder / "bert"), training__steps=3), root, folder / "stage1")
    version = PublishedVersion.open(root)
    model = stage1_identity(folder / "stage1")
    write_labels(version, "first", (0.2,), model)
    write_labels(version, "several", (0.1, 0.2), model)
    return World(folder / "lake", version, folder / "stage1")


def true_codes(subject: int, side: str) -> list[int]:
    return [subject, CODES - 1 if side == "human" else 0, (3 * subject + len(side)) % CODES, 7]


def write_labels(version: PublishedVersion, key: str, horizons: tuple[float, ...], model: str) -> None:
    subjects = [s for split in ("train", "held_out") for s in version.subjects(split)]
    numbers = {s.subject_id: i for i, s in enumerate(sorted(subjects, key=lambda s: s.subject_id))}
    rows = []
    for subject in subjects:
        for side in subject.sides:
            pairs = [(h, t, t + round(10 * h)) for h in horizons for t in range(FRAMES - round(10 * h))]
            codes = [true_codes(numbers[subject.subject_id], side)] * len(pairs)
            row = LatentActions(
                subject_id=subject.subject_id,
                side=side,
                codes_per_action=4,
                horizon_seconds=np.array([h for h, _, _ in pairs], np.float32),
                frames=np.array([pair[1:] for pair in pairs], np.int32),
                codes=np.array(codes, np.int16),
            )
            rows.append((f"{subject.subject_id}/{side}", row))
    Lake(version.lake).append(LatentActions, key, rows)
    labels = LabelSet(
        key=key,
        version_id=version.version_id,
        model=model,
        run="runs/stage1",
        horizon_seconds=horizons,
        codebook_size=CODES,
        codes_per_action=4,
        clips=len(rows),
        transitions=sum(len(row.codes) for _, row in rows),
        left_out={},
        finished_at="2026-01-01T00:00:00Z",
    )
    (version.lake / LABELS).mkdir(exist_ok=True)
    (version.lake / LABELS / f"{key}.json").write_text(labels.model_dump_json())


def recipe(**changes: object) -> Stage2Config:
    values: dict = {
        "policy": {
            "preset": "tiny",
            "vision": VISION.model_dump(),
            "language_model": LANGUAGE.model_dump(),
        },
        "data": {"batch_size": 6},
        "training": {
            "steps": 4,
            "learning_rate": 5e-3,
            "warmup_steps": 2,
            "checkpoint_every": 2,
            "precision": "fp32",
        },
        "test_transitions": 4,
    }
    return Stage2Config.model_validate(changed(values, changes))


def train(world: World, out: Path, config: Stage2Config, **changes: Any):
    start = Start(stage1=world.stage1)
    return train_stage2(config, world.lake, out, labels=("first",), start=start, **changes)
