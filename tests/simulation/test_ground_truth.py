"""The ground truth against constructed cases and against the pictures."""

from pathlib import Path

import numpy as np

from simulation.content import catalogue, draw_content
from simulation.ground_truth import GroundTruth, unoccluded, visible_keypoints
from simulation.objects import BLOCK, surface_points
from simulation.rendering import intrinsics, project
from simulation.rotations import about_x


def wall(size: int, distance: float) -> np.ndarray:
    return np.full((size, size), distance)


def test_visibility_of_a_block_in_front_of_a_wall() -> None:
    """A camera 0.5 m above a block sees its top points only; a plate held between hides the left half."""
    K, size = intrinsics(200), 200
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = about_x(np.pi), [0, 0, 0.5]  # looks down, x to the right
    block = surface_points("block")
    depth = wall(size, 0.5)
    half = np.ceil(K[0, 0] * BLOCK[0] / (0.5 - BLOCK[2])).astype(int)
    depth[100 - half : 100 + half, 100 - half : 100 + half] = 0.5 - BLOCK[2]
    seen = visible_keypoints(block.points, block.normals, T, K, depth)
    np.testing.assert_array_equal(seen, block.normals[:, 2] > 0.5)

    depth[:, :100] = 0.3
    seen = visible_keypoints(block.points, block.normals, T, K, depth)
    np.testing.assert_array_equal(seen, (block.normals[:, 2] > 0.5) & (block.points[:, 0] > 0))


def test_points_outside_the_image_or_behind_the_camera_are_not_seen() -> None:
    K = intrinsics(100)
    points = np.array([[0, 0, 1.0], [5.0, 0, 1.0], [0, 0, -1.0]])
    np.testing.assert_array_equal(unoccluded(points, K, wall(100, 2.0), 0.01), [True, False, False])


def test_projection_of_a_hand_computed_point() -> None:
    K = np.array([[300.0, 0, 111.5], [0, 300.0, 111.5], [0, 0, 1]])
    np.testing.assert_allclose(project(K, np.array([0.1, -0.2, 0.5])), [171.5, -8.5])


def test_keypoints_lie_in_the_object_box(dataset: Path) -> None:
    truths = [GroundTruth.load(p) for p in sorted((dataset / "ground_truth").glob("*[!e].npz"))]
    assert {t.task for t in truths} == {"pick_place", "push", "press", "flip"}
    for truth in truths:
        box = truth.object_box[:, None]
        assert np.all(truth.keypoints >= box[..., :2] - 1)
        assert np.all(truth.keypoints <= box[..., 2:] + 1)
        assert np.all((truth.object_centre >= box[:, 0, :2]) & (truth.object_centre <= box[:, 0, 2:]))
        assert 0.1 < truth.keypoint_visible.mean() < 0.9
        assert truth.keypoint_visible.any(axis=1).mean() > 0.7


def test_correspondence_is_monotone_and_keeps_phases(dataset: Path) -> None:
    files = sorted((dataset / "ground_truth").glob("*.correspondence.npz"))
    assert len(files) == 4
    for file in files:
        name = file.name.removesuffix(".correspondence.npz")
        robot = GroundTruth.load(file.with_name(f"{name}.npz"))
        human = GroundTruth.load(file.with_name(f"{name}_human.npz"))
        with np.load(file) as z:
            index = z["human_index"]
        assert index.shape == robot.timestamps.shape
        assert np.all(np.diff(index) >= 0)
        assert robot.phase_names == human.phase_names
        apart = np.abs((robot.phase + robot.progress) - (human.phase + human.progress)[index])
        assert apart.max() < 0.6
        assert robot.instruction == human.instruction


def test_moved_object_moves_in_both_clips(dataset: Path) -> None:
    for path in (dataset / "ground_truth").glob("*[!e].npz"):
        truth = GroundTruth.load(path)
        if truth.task in ("pick_place", "push"):
            assert np.linalg.norm(truth.object_centre[-1] - truth.object_centre[0]) > 5


def test_every_instruction_is_in_the_catalogue() -> None:
    sentences = catalogue()
    assert len(set(sentences)) == len(sentences) < 10_000
    for i in range(40):
        content = draw_content(1, i)
        assert sentences[content.task_number - 1] == content.instruction
        assert len(set(content.colours.values())) == len(content.colours)
