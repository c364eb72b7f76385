"""Which pairs of a table must not be split into training and held-out data, as they share a video."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def scenes(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """`pair_id` of the first row among those that share videos with a row, directly or through others.

    Single videos, which have no `pair_id`, join nothing.
    """
    videos: dict[tuple[str, str], int] = {}
    edges = [
        (i, videos.setdefault((side, row[side]), len(videos)))
        for i, row in enumerate(rows)
        if row["pair_id"]
        for side in ("human", "robot")
        if row[side]
    ]
    if not edges:
        return [row["pair_id"] for row in rows]
    row_of, video_of = np.array(edges).T
    size = len(rows) + len(videos)
    graph = coo_array((np.ones(len(edges)), (row_of, len(rows) + video_of)), shape=(size, size))
    _, group_of = connected_components(graph, directed=False)
    first: dict[int, str] = {}
    return [first.setdefault(group, row["pair_id"]) for group, row in zip(group_of, rows, strict=False)]
