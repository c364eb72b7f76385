"""Cuts a time line into segments of at most 64 frames.

The segments differ by at most one frame in length, so that no clip ends in a stub too short to train on:
65 frames become 33 + 32, not 64 + 1.
"""

from data_schemas.samples import MAX_SEGMENT_FRAMES


def plan_segments(num_frames: int, max_frames: int = MAX_SEGMENT_FRAMES) -> list[range]:
    """As few consecutive ranges as possible that cover `range(num_frames)`, longer ones first."""
    number = -(-num_frames // max_frames)
    if number == 0:
        return []
    length, longer = divmod(num_frames, number)
    segments, start = [], 0
    for i in range(number):
        stop = start + length + (i < longer)
        segments.append(range(start, stop))
        start = stop
    return segments
