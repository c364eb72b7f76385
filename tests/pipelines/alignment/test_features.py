"""What the motion profile says of a clip, against its definition written as loops."""

import tracemalloc

import cv2
import numpy as np
import pytest

from pipelines.alignment.features import MotionProfile


def profiles_frame_by_frame(frames: np.ndarray) -> tuple[np.ndarray, bool]:
    """The definition as plain loops, with every frame at hand: (T, 16) descriptions, and whether anything moves."""
    small = []
    for frame in frames:
        grey = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (96, 96), interpolation=cv2.INTER_AREA)
        small.append(cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 2.0).astype(np.float64))
    profiles, amounts = [], []
    for i in range(len(small)):
        difference = np.abs(small[min(i + 1, len(small) - 1)] - small[max(i - 1, 0)])
        moved = np.clip(difference, 2.0, 42.0) - 2.0
        bands = [moved[:, 12 * b : 12 * b + 12] for b in range(8)]
        bands += [moved[12 * b : 12 * b + 12] for b in range(8)]
        profiles.append([np.sqrt(band.mean()) for band in bands])
        amounts.append(moved.mean())
    squared = [sum(value**2 for value in profile) for profile in profiles]
    lengths = [np.sqrt(s + 0.3 * np.mean(squared) + 1e-12) for s in squared]
    values = [np.array(profile) / length for profile, length in zip(profiles, lengths, strict=True)]
    return np.array(values), bool(np.percentile(amounts, 95) >= 0.05)


@pytest.mark.parametrize("count", [1, 2, 3, 40])
@pytest.mark.parametrize("liveliness", [0, 3, 200])
def test_motion_profile_agrees_with_its_definition(count: int, liveliness: int) -> None:
    rng = np.random.default_rng(count)
    coarse = 20 + rng.integers(0, liveliness + 1, size=(count, 12, 16, 3))
    frames = coarse.astype(np.uint8).repeat(10, axis=1).repeat(10, axis=2)
    values, usable = MotionProfile().describe(frame for frame in frames)
    expected, lively = profiles_frame_by_frame(frames)
    np.testing.assert_allclose(values, expected, atol=1e-6)
    assert usable.tolist() == [lively] * count


def test_motion_profile_does_not_hold_the_clip() -> None:
    """2000 shrunk frames would be 74 MB."""
    frame = np.random.default_rng(0).integers(0, 255, size=(60, 80, 3), dtype=np.uint8)
    tracemalloc.start()
    MotionProfile().describe(np.roll(frame, i, axis=1) for i in range(2000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4e6


def test_motion_profile_says_where_something_moves() -> None:
    frames = np.full((20, 96, 96, 3), 100, dtype=np.uint8)
    for i in range(20):
        frames[i, 40:48, 4 * i : 4 * i + 8] = 250
    values, usable = MotionProfile().describe(frames)
    assert usable.all()
    columns, rows = values[1:-1, :8], values[1:-1, 8:]
    centres = (4 * np.arange(1, 19) + 4) / 12
    assert (np.abs(columns.argmax(axis=1) + 0.5 - centres) <= 1).all()
    assert set(rows.argmax(axis=1)) <= {3, 4}


def test_motion_profile_does_not_depend_on_colour_or_background() -> None:
    def clip(table: int, arm: int) -> np.ndarray:
        frames = np.full((30, 96, 96, 3), table, dtype=np.uint8)
        for i in range(30):
            frames[i, 20 + i : 36 + i, 2 * i : 2 * i + 16] = arm
        return frames

    light_arm, _ = MotionProfile().describe(clip(60, 200))
    dark_arm, _ = MotionProfile().describe(clip(220, 90))
    np.testing.assert_allclose(light_arm, dark_arm, atol=0.05)
