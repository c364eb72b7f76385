"""TAP-Vid's metrics against a loop over every point that follows the paper's words."""

import numpy as np
import pytest

from pipelines.objects.tap_vid import THRESHOLDS, tap_vid


def slowly(points, visible, true_points, true_visible, queries, size, mode):
    delta, jaccard, right, scored = [], [], 0, 0
    for threshold in THRESHOLDS:
        within = seen = true_positive = false_positive = false_negative = right = scored = 0
        for t in range(len(points)):
            for n in range(points.shape[1]):
                if t == queries[n] or (mode == "first" and t < queries[n]):
                    continue
                scored += 1
                right += visible[t, n] == true_visible[t, n]
                dx = (points[t, n, 0] - true_points[t, n, 0]) * 256 / size[0]
                dy = (points[t, n, 1] - true_points[t, n, 1]) * 256 / size[1]
                close = dx * dx + dy * dy < threshold**2
                if true_visible[t, n]:
                    seen += 1
                    within += close
                if visible[t, n] and true_visible[t, n] and close:
                    true_positive += 1
                elif visible[t, n]:
                    false_positive += 1
                if true_visible[t, n] and not (visible[t, n] and close):
                    false_negative += 1
        delta.append(within / seen)
        # The published code counts a visible point that is predicted far away both as a false positive and
        # as a false negative.
        jaccard.append(true_positive / (true_positive + false_positive + false_negative))
    return delta, jaccard, right / scored


@pytest.mark.parametrize("mode", ["strided", "first"])
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_loop(mode: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    frames, count, size = 14, 6, (640, 360)
    truth = rng.uniform(0, 360, (frames, count, 2))
    points = truth + rng.normal(0, 1, truth.shape) * rng.choice([0.5, 4, 30], (frames, count, 1))
    points[3, 2] = np.nan
    visible, true_visible = (rng.random((frames, count)) < 0.7 for _ in range(2))
    queries = rng.integers(0, frames - 2, count)
    scores = tap_vid(points, visible, truth, true_visible, queries, size, mode)
    delta, jaccard, accuracy = slowly(points, visible, truth, true_visible, queries, size, mode)
    np.testing.assert_allclose(scores.delta, delta)
    np.testing.assert_allclose(scores.jaccard, jaccard)
    assert scores.occlusion_accuracy == pytest.approx(accuracy)
    assert scores.average_jaccard == pytest.approx(np.mean(jaccard))
    assert scores.delta_average == pytest.approx(np.mean(delta))


def test_the_truth_scores_one_and_the_query_frame_does_not_count() -> None:
    truth = np.zeros((5, 2, 2))
    visible = np.ones((5, 2), bool)
    wrong_at_query = truth.copy()
    wrong_at_query[0] = 500
    scores = tap_vid(wrong_at_query, visible, truth, visible, np.zeros(2, int), (256, 256))
    assert scores.average_jaccard == scores.delta_average == scores.occlusion_accuracy == 1


def test_distances_are_those_of_the_square_picture() -> None:
    truth = np.zeros((2, 1, 2))
    off = truth.copy()
    off[1, 0] = [7.4, 0]  # 7.4 * 256 / 480 = 3.95 px wide, but 7.4 px at 256 pixels of width
    visible = np.ones((2, 1), bool)
    assert tap_vid(off, visible, truth, visible, np.zeros(1, int), (480, 256)).delta.tolist() == [
        0,
        0,
        1,
        1,
        1,
    ]
    assert tap_vid(off, visible, truth, visible, np.zeros(1, int), (256, 480)).delta.tolist() == [
        0,
        0,
        0,
        1,
        1,
    ]


def test_unknown_mode_is_refused() -> None:
    nothing = np.zeros((2, 1, 2)), np.zeros((2, 1), bool)
    with pytest.raises(ValueError, match="strided"):
        tap_vid(*nothing, *nothing, np.zeros(1, int), (256, 256), mode="last")
