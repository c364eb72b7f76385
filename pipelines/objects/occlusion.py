"""Full occlusion and re-appearance: a rule over the points of one object.

A point tracker judges every point alone. While the hand covers an object, single points are now and then
"seen" on the hand. The points of one object hide and show together, so:

- in a frame in which less than a share of the points shows, the object counts as fully occluded and no
  point as visible: visibility is lowered to at most 0.5;
- it has re-appeared in the first later frame in which that share shows again.

Positions are left as the tracker says: best estimates, masked by visibility (paper A.1).
"""

import numpy as np


def hide_stragglers(visibility: np.ndarray, least: float) -> np.ndarray:
    """(T, N) visibility with frames of full occlusion lowered to at most 0.5.

    Args:
        visibility: (T, N) probabilities of the points of one object; above 0.5 is visible.
        least: share of the points that must be visible for any to be.
    """
    share = (visibility > 0.5).mean(axis=1, keepdims=True)
    return np.where(share < least, np.minimum(visibility, 0.5), visibility).astype(np.float32)
