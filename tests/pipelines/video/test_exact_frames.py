"""Every frame is the frame asked for, on every kind of file; checked by the number burnt into the pixels."""

import pickle
from fractions import Fraction
from pathlib import Path

import av
import cv2
import fsspec
import numpy as np
import pytest

from data_schemas.errors import BadInput, UserError
from data_schemas.storage import on_disk
from pipelines.video import container, index_video, open_video
from pipelines.video.pyav_reader import PyAVReader
from tests.pipelines.video.conftest import HEIGHT, WIDTH, MakeVideo, draw, number_in

B_FRAMES = {"g": "12", "bf": "3", "x264-params": "b-pyramid=normal:scenecut=0"}
IRREGULAR = np.cumsum(np.random.default_rng(3).integers(40, 400, 60)) - 40

KINDS = {
    "h264 with B-frames": {"name": "b.mp4", "options": B_FRAMES},
    "h264 with open groups": {
        "name": "o.mp4",
        "options": {"g": "10", "bf": "3", "x264-params": "open-gop=1:scenecut=0"},
    },
    "h264, one group": {"name": "one.mp4", "options": {"g": "250"}},
    "h264, groups shorter than the reordering": {
        "name": "s.mp4",
        "options": {"g": "2", "bf": "2", "x264-params": "b-adapt=0:keyint=3:min-keyint=1:scenecut=0"},
    },
    "h264, only key frames": {"name": "k.mp4", "options": {"g": "1"}},
    "QuickTime": {"name": "q.mov", "options": B_FRAMES},
    "Matroska": {"name": "m.mkv", "options": B_FRAMES},
    "transport stream": {"name": "t.ts", "options": B_FRAMES},
    "fragmented": {"name": "f.mp4", "options": B_FRAMES, "mux": {"movflags": "frag_keyframe+empty_moov"}},
    "variable frame rate": {
        "name": "v.mp4",
        "options": B_FRAMES,
        "pts": IRREGULAR,
        "time_base": Fraction(1, 1000),
    },
    "AVI with dropped frames": {
        "name": "d.avi",
        "codec": "mpeg4",
        "pts": [i + 5 * (i > 30) for i in range(60)],
    },
    "AVI counted in milliseconds": {
        "name": "j.avi",
        "codec": "mpeg4",
        "pts": IRREGULAR,
        "time_base": Fraction(1, 1000),
    },
    "program stream": {"name": "p.mpg", "codec": "mpeg2video", "options": {"bf": "2"}},
    "late start": {"name": "l.mkv", "options": B_FRAMES, "pts": np.arange(60) + 500},
    "AV1": {"name": "a.mp4", "codec": "libsvtav1", "options": {"g": "8", "preset": "12"}},
    "AV1, variable frame rate": {
        "name": "av.mp4",
        "codec": "libsvtav1",
        "options": {"g": "16", "preset": "12"},
        "pts": IRREGULAR,
        "time_base": Fraction(1, 1000),
    },
    "HEVC with B-frames": {
        "name": "h.mp4",
        "codec": "libx265",
        "options": {"x265-params": "keyint=12:bframes=3:log-level=none:pools=1"},
    },
}


@pytest.fixture(params=KINDS, ids=lambda kind: kind.replace(" ", "_"))
def video(request: pytest.FixtureRequest, make_video: MakeVideo) -> Path:
    return make_video(**KINDS[request.param])


def decode_all(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_any_order_gives_the_numbers_asked_for(video: Path) -> None:
    wanted = np.random.default_rng(0).integers(0, 60, 50)
    sequential = decode_all(video)
    with open_video(video) as reader:
        assert len(reader) == 60
        assert (reader.height, reader.width) == (HEIGHT, WIDTH)
        frames = reader.frames(wanted)
        assert [number_in(frame) for frame in frames] == wanted.tolist()
        assert all(np.array_equal(frame, sequential[i]) for frame, i in zip(frames, wanted, strict=True))
        # Single requests, backwards: every one seeks anew.
        assert [number_in(reader.frames([i])[0]) for i in range(59, -1, -1)] == list(range(59, -1, -1))


def test_iteration_from_anywhere(video: Path) -> None:
    with open_video(video) as reader:
        for start in (0, 1, 11, 12, 13, 37, 59):
            assert [number_in(f) for f in reader.iter_frames(start)] == list(range(start, 60))
        assert [number_in(f) for f in reader.iter_frames(5, 9)] == [5, 6, 7, 8]
        assert list(reader.iter_frames(8, 8)) == []


def test_timestamps_and_frames_by_time(make_video: MakeVideo) -> None:
    path = make_video("v.mp4", options=B_FRAMES, pts=IRREGULAR, time_base=Fraction(1, 1000))
    times = (IRREGULAR - IRREGULAR[0]) / 1000
    with open_video(path) as reader:
        np.testing.assert_allclose(reader.timestamps, times, atol=1e-9)
        assert reader.fps == pytest.approx(1 / np.median(np.diff(times)))
        asked = np.concatenate([np.random.default_rng(1).uniform(0, times[-1] + 1, 40), times, [-1.0]])
        shown = [max((i for i in range(60) if times[i] <= t + 1e-6), default=0) for t in asked]
        assert [number_in(frame) for frame in reader.at(asked)] == shown
        with pytest.raises(ValueError, match="finite"):
            reader.at([float("nan")])


def test_frame_i_is_shown_at_i_over_fps(make_video: MakeVideo) -> None:
    path = make_video("n.mp4", time_base=Fraction(1001, 30000))
    with open_video(path) as reader:
        assert [number_in(f) for f in reader.at([i / reader.fps for i in range(60)])] == list(range(60))


def test_frames_before_the_edit_list_are_not_shown(make_video: MakeVideo) -> None:
    path = make_video("e.mp4", options=B_FRAMES, pts=np.arange(60) - 5)
    assert b"elst" in path.read_bytes()
    with open_video(path) as reader:
        shown = [number_in(frame) for frame in reader.iter_frames()]
        assert shown == list(range(5, 60))
        wanted = [54, 0, 7, 30, 30, 6]
        assert [number_in(frame) for frame in reader.frames(wanted)] == [i + 5 for i in wanted]
        assert reader.timestamps[0] == 0


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_is_applied_as_other_players_do(make_video: MakeVideo, degrees: int) -> None:
    path = make_video("r.mp4", count=3, rotation=degrees)
    _, player = cv2.VideoCapture(str(path)).read()
    with open_video(path) as reader:
        frame = reader.frames([0])[0]
        assert frame.shape == (reader.height, reader.width, 3) == player.shape
        assert np.abs(frame.astype(int) - player[..., ::-1]).mean() < 3
        assert number_in(np.rot90(frame, -degrees // 90)) == 0


@pytest.mark.parametrize(
    "linear",
    [(a, 0, 0, d) for a in (1, -1) for d in (1, -1)] + [(0, b, c, 0) for b in (1, -1) for c in (1, -1)],
)
def test_every_point_is_shown_where_the_display_matrix_takes_it(
    make_video: MakeVideo, linear: tuple[int, int, int, int]
) -> None:
    a, b, c, d = linear
    matrix = [v << 16 for v in (a, b, 0, c, d, 0, 0, 0)] + [1 << 30]
    with open_video(make_video("stored.mp4", count=1)) as reader:
        stored = reader.frames([0])[0]
    height, width = stored.shape[:2]
    corners = [(a * x + c * y, b * x + d * y) for x in (0, width - 1) for y in (0, height - 1)]
    left, top = min(x for x, _ in corners), min(y for _, y in corners)
    with open_video(make_video("turned.mp4", count=1, display_matrix=matrix)) as reader:
        shown = reader.frames([0])[0]
        assert (reader.width, reader.height) == ((width, height) if a else (height, width))
    for y in range(height):
        for x in range(width):
            assert (shown[b * x + d * y - top, a * x + c * y - left] == stored[y, x]).all()


def test_colours_survive(make_video: MakeVideo) -> None:
    path = make_video("c.mp4", count=4, options={"crf": "1"})
    with open_video(path) as reader:
        for i, frame in enumerate(reader.frames(range(4))):
            assert np.abs(frame.astype(int) - draw(i)).mean() < 8  # chroma is stored at half resolution


def test_each_group_is_decoded_once(make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video("b.mp4", options=B_FRAMES)
    index = index_video(path)
    assert index.keyframes.tolist() == [0, 12, 24, 36, 48]
    decoded = []
    original = PyAVReader._decode

    def counting(self: PyAVReader, target: int | None):
        for frame in original(self, target):
            decoded.append(frame.pts)
            yield frame

    monkeypatch.setattr(PyAVReader, "_decode", counting)
    with open_video(path, index) as reader:
        reader.frames([59, 3, 58, 2, 50, 11, 0, 3])
    assert len(decoded) == len(set(decoded)) == 24


def test_a_stored_index_serves_in_another_process(make_video: MakeVideo) -> None:
    path = make_video("b.mp4", options=B_FRAMES)
    index = pickle.loads(pickle.dumps(index_video(path)))
    with open_video(path, index) as reader:
        assert [number_in(frame) for frame in reader.frames([40, 3])] == [40, 3]


def test_a_remote_video_is_copied_once_for_all_that_is_read_of_it(
    make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsspec.filesystem("memory").pipe("/remote/b.mp4", make_video("b.mp4", options=B_FRAMES).read_bytes())
    copied = []
    monkeypatch.setattr(container, "on_disk", lambda path: copied.append(path) or on_disk(path))
    with open_video("memory://remote/b.mp4") as reader:
        # Two containers are open on the copy, each at a place of its own.
        for i, frame in enumerate(reader.iter_frames()):
            assert number_in(frame) == i
            if i % 20 == 0:
                assert [number_in(frame) for frame in reader.frames([59 - i, 3])] == [59 - i, 3]
    assert i == 59
    assert len(copied) == 1


def test_a_file_that_is_not_the_indexed_one_is_refused(make_video: MakeVideo) -> None:
    index = index_video(make_video("a.mp4", count=60))
    shorter = make_video("b.mp4", count=40)
    with open_video(shorter, index) as reader, pytest.raises(BadInput, match="video_changed"):
        reader.frames([50])
    cut = make_video("c.mp4", count=60, options=B_FRAMES, mux={"movflags": "faststart"})
    index = index_video(cut)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    with open_video(cut, index) as reader:
        assert number_in(reader.frames([3])[0]) == 3
        with pytest.raises(BadInput, match="video_changed"):
            reader.frames([59])


def test_indices_outside_the_video_are_refused(make_video: MakeVideo) -> None:
    with open_video(make_video("a.mp4", count=10)) as reader:
        for wrong in ([10], [-1]):
            with pytest.raises(IndexError, match="10 frames"):
                reader.frames(wrong)
        assert reader.frames([]).shape == (0, HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("backend", ["decord", "opencv", "torchcodec", "nonsense"])
def test_a_backend_that_is_not_there_is_named(make_video: MakeVideo, backend: str) -> None:
    with pytest.raises(UserError, match=rf"'{backend}'.*pyav"):
        open_video(make_video("a.mp4", count=2), backend=backend)


def test_real_clips(samples: Path) -> None:
    videos = [
        samples / "human2sim2robot" / "robot_vids_plate_push.mov",
        samples / "human2sim2robot" / "human_demos_vid_wc_pour.mp4",
        next(samples.glob("lerobot_v21_g1/videos/**/episode_000029.mp4")),
    ]
    for path in videos:
        sequential = decode_all(path)
        with open_video(path) as reader:
            assert len(reader) == len(sequential)
            wanted = np.random.default_rng(0).integers(0, len(reader), 12)
            for frame, i in zip(reader.frames(wanted), wanted, strict=True):
                assert np.array_equal(frame, sequential[i])
