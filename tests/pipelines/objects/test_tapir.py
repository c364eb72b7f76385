"""TAPIR's adapter: geometry and chunks with a stand-in that is easy to know, numbers with the real class."""

from collections import Counter

import cv2
import numpy as np
import pytest
import torch

from data_schemas.errors import UserError
from pipelines.objects.base import ArrayFrames
from pipelines.objects.config import TapirConfig
from pipelines.objects.occlusion import hide_stragglers
from pipelines.objects.tapir import Resizing, Tapir, chunks
from pipelines.objects.tapir_causal import CausalTapir


class SquareTracker(torch.nn.Module):
    """In TAPIR's place: every point sits on the bright square of the pictures that TAPIR would see."""

    num_pips_iter = 1

    def __init__(self) -> None:
        super().__init__()
        self.lengths: list[int] = []

    def get_feature_grids(self, frames: torch.Tensor, is_training: bool) -> torch.Tensor:
        return frames

    def get_query_features(
        self, frames: torch.Tensor, is_training: bool, tyx: torch.Tensor, grids: torch.Tensor
    ) -> torch.Tensor:
        for t, y, x in tyx[0].tolist():
            np.testing.assert_allclose(_centre(frames[0, int(t)]), [x, y], atol=0.6)
        return tyx

    def estimate_trajectories(self, size, is_training, grids, features, in_video, query_chunk_size):
        self.lengths.append(grids.shape[1])
        centres = torch.tensor(np.stack([_centre(frame) for frame in grids[0]]))
        tracks = centres[None, None].repeat(1, features.shape[1], 1, 1)
        logits = torch.full(tracks.shape[:3], -5.0)
        return {"tracks": [tracks] * 2, "occlusion": [logits] * 2, "expected_dist": [logits] * 2}


def _centre(picture: torch.Tensor) -> np.ndarray:
    """Raster coordinates of the bright square's centre."""
    light = np.clip(picture.mean(dim=-1).numpy() + 0.5, 0, None)
    ys, xs = np.mgrid[: light.shape[0], : light.shape[1]] + 0.5
    return np.array([(xs * light).sum(), (ys * light).sum()], np.float32) / light.sum()


def moving_square(width: int, height: int, length: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Frames and the square's centres, pixels."""
    frames = np.zeros((length, height, width, 3), np.uint8)
    side = 2 * round(0.03 * max(width, height)) + 1
    centres = np.stack(
        [np.linspace(0.2, 0.7, length) * width, np.linspace(0.6, 0.3, length) * height], 1
    ).round()
    for frame, (x, y) in zip(frames, centres.astype(int).tolist(), strict=True):
        cv2.rectangle(
            frame, (x - side // 2, y - side // 2), (x + side // 2, y + side // 2), (255, 255, 255), -1
        )
    return frames, centres


@pytest.mark.parametrize(("width", "height"), [(224, 224), (320, 240), (640, 360), (360, 640), (1280, 720)])
def test_a_planted_square_comes_back_through_the_resizing(width: int, height: int) -> None:
    frames, centres = moving_square(width, height)
    tracker = Tapir(TapirConfig(chunk=16, overlap=4))
    tracker.use(SquareTracker())
    queries = np.array([[2, *centres[2]], [5, *centres[5]]])
    tracks = tracker.track(ArrayFrames(frames), queries)
    assert np.abs(tracks.points - centres[:, None]).max() < 0.5
    assert tracks.visible.all()


def test_memory_is_bounded_by_the_chunk() -> None:
    frames, centres = moving_square(64, 48, length=70)
    tracker = Tapir(TapirConfig(chunk=20, overlap=6))
    network = SquareTracker()
    tracker.use(network)
    tracks = tracker.track(ArrayFrames(frames), np.array([[30, *centres[30]]]))
    assert max(network.lengths) <= 20
    assert np.abs(tracks.points[:, 0] - centres).max() < 0.5


@pytest.mark.parametrize(
    ("length", "size", "overlap"), [(1, 16, 4), (16, 16, 8), (17, 16, 8), (200, 20, 6), (50, 16, 0)]
)
def test_chunks_keep_every_frame_once_with_context(length: int, size: int, overlap: int) -> None:
    kept: Counter[int] = Counter()
    for read, keep in chunks(length, size, overlap):
        kept.update(keep)
        assert len(read) <= size
        assert keep.start - read.start >= (overlap // 2 if read.start else 0)
        assert read.stop - keep.stop >= (overlap // 2 if read.stop < length else 0)
    assert kept == Counter(range(length))


def test_an_overlap_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="overlap"):
        list(chunks(100, 16, 16))


def test_stragglers_during_full_occlusion_are_hidden_and_the_object_re_appears() -> None:
    visibility = np.full((6, 8), 0.9)
    visibility[2:4] = 0.1
    visibility[3, 5] = 0.95  # one of eight "seen" on the hand
    visibility[4, :4] = 0.2  # half of it re-appears
    found = hide_stragglers(visibility, 0.25)
    assert not (found[2:4] > 0.5).any()
    assert (found[4] > 0.5).sum() == 4
    np.testing.assert_array_equal(found[[0, 1, 4, 5]], visibility[[0, 1, 4, 5]].astype(np.float32))


def test_a_missing_package_or_checkpoint_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("HARP_CACHE", str(tmp_path))
    monkeypatch.delenv("HARP_WEIGHTS_DIR", raising=False)
    with pytest.raises(UserError, match=r"pip install .*tapnet|harp weights pull bootstapir.*Apache-2\.0"):
        Tapir().load()


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    rng = np.random.default_rng(0)
    base = cv2.resize(
        rng.integers(0, 255, (12, 12, 3), dtype=np.uint8), (96, 72), interpolation=cv2.INTER_CUBIC
    )
    return np.stack([np.roll(base, 3 * t, axis=1) for t in range(3)])


QUERIES = np.array([[1, 30.0, 20.0], [1, 50.0, 40.0], [2, 60.0, 50.0]])


@pytest.mark.slow
def test_real_tapir_at_full_size_with_random_weights(clip: np.ndarray) -> None:
    model = pytest.importorskip("tapnet.torch.tapir_model", reason="tapnet is not installed (git only)")
    torch.manual_seed(0)
    network = model.TAPIR(pyramid_level=1).eval()
    assert 50e6 < sum(p.numel() for p in network.parameters()) < 60e6
    tracker = Tapir(TapirConfig(min_visible=0))
    tracker.use(network)
    video = ArrayFrames(clip)
    tracks = tracker.track(video, QUERIES)
    assert tracks.points.shape == (3, 3, 2)
    assert np.isfinite(tracks.points).all()
    np.testing.assert_allclose(tracks.points[[1, 1, 2], [0, 1, 2]], QUERIES[:, 1:])
    alone = tracker.track(video, QUERIES[1:2])
    np.testing.assert_allclose(alone.points[:, 0], tracks.points[:, 1], atol=0.05)
    np.testing.assert_allclose(alone.visibility[:, 0], tracks.visibility[:, 1], atol=1e-3)

    pictures = np.stack([cv2.resize(frame, (256, 256), interpolation=cv2.INTER_LINEAR) for frame in clip])
    tensor = torch.from_numpy(pictures)[None].float() / 255 * 2 - 1
    scale = np.array([256 / 96, 256 / 72])
    tyx = np.column_stack([QUERIES[:, 0], ((QUERIES[:, 1:] + 0.5) * scale)[:, ::-1]])
    with torch.inference_mode():
        published = network(tensor, torch.from_numpy(tyx[None]).float())
        grids = network.get_feature_grids(tensor, False)
        ours = network.estimate_trajectories(
            (256, 256),
            False,
            grids,
            tracker._query_features(video, QUERIES, Resizing(96, 72, 256)),
            None,
            query_chunk_size=64,
        )
    first, expected = ours["tracks"][0][0].numpy(), published["unrefined_tracks"][0][0].numpy()
    for n, start in enumerate(QUERIES[:, 0].astype(int)):
        others = [t for t in range(3) if t != start]
        np.testing.assert_allclose(first[n, others], expected[n, others], atol=1e-2)


@pytest.mark.slow
def test_causal_tapir_equals_the_published_loop_in_both_directions(clip: np.ndarray) -> None:
    model = pytest.importorskip("tapnet.torch.tapir_model", reason="tapnet is not installed (git only)")
    torch.manual_seed(0)
    network = model.TAPIR(pyramid_level=1, use_casual_conv=True).eval()
    tracker = CausalTapir(TapirConfig(min_visible=0))
    tracker.use(network)
    queries = QUERIES[:2]
    tracks = tracker.track(ArrayFrames(clip), queries)
    resizing = Resizing(96, 72, 256)
    tensor = tracker._pictures(ArrayFrames(clip), range(3), resizing)
    tyx = np.column_stack([[0, 0], resizing.to_model(queries[:, 1:])[:, ::-1]])
    for order in ([1, 2], [0]):
        with torch.inference_mode():
            query_frame = tensor[:, 1:2]
            features = network.get_query_features(query_frame, False, torch.from_numpy(tyx[None]).float())
            state = network.construct_initial_causal_state(2, len(features.resolutions) - 1)
            for t in order:
                grids = network.get_feature_grids(tensor[:, t : t + 1], False)
                found = network.estimate_trajectories(
                    (256, 256),
                    False,
                    grids,
                    features,
                    None,
                    64,
                    causal_context=state,
                    get_causal_context=True,
                )
                state = found["causal_context"]
                if t != 1:
                    expected = resizing.to_frame(found["tracks"][-1][0, :, 0].numpy())
                    np.testing.assert_allclose(tracks.points[t], expected, atol=1e-2)
