"""Segments partition the time line, evenly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.shards.segments import plan_segments


@given(st.integers(1, 5000), st.integers(1, 100))
def test_segments_partition_the_time_line(num_frames: int, max_frames: int) -> None:
    segments = plan_segments(num_frames, max_frames)
    assert [frame for segment in segments for frame in segment] == list(range(num_frames))
    lengths = [len(segment) for segment in segments]
    assert max(lengths) <= max_frames
    assert max(lengths) - min(lengths) <= 1
    assert (len(segments) - 1) * max_frames < num_frames


@pytest.mark.parametrize(
    ("num_frames", "lengths"), [(0, []), (1, [1]), (64, [64]), (65, [33, 32]), (130, [44, 43, 43])]
)
def test_examples(num_frames: int, lengths: list[int]) -> None:
    assert [len(segment) for segment in plan_segments(num_frames)] == lengths
