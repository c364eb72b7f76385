"""What is broken is found when the video is indexed, named, and said with numbers."""

import errno
import subprocess
import sys
import wave
from pathlib import Path

import av
import fsspec
import numpy as np
import pytest

import data_schemas.storage
from data_schemas.errors import BadInput
from data_schemas.storage import location
from pipelines.video import index_video, open_video
from tests.pipelines.video.conftest import MakeVideo

FASTSTART = {"movflags": "faststart"}


def refusal(path: Path) -> BadInput:
    with pytest.raises(BadInput) as caught:
        index_video(path)
    return caught.value


def cut(path: Path, keep: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    return path


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.97])
def test_cut_with_the_table_in_front(make_video: MakeVideo, keep: float) -> None:
    bad = refusal(cut(make_video("a.mp4", mux=FASTSTART), keep))
    assert bad.reason == "truncated_video"
    assert "of the 60" in bad.detail
    assert 0 <= int(bad.detail.split(": ")[1].split()[0]) < 60


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_cut_with_the_table_at_the_end(make_video: MakeVideo, keep: float) -> None:
    bad = refusal(cut(make_video("a.mp4"), keep))
    assert bad.reason == "truncated_video"
    assert "mdat" in bad.detail or "moov" in bad.detail


@pytest.mark.parametrize("keep", [0.6, 0.96])
def test_cut_where_the_table_lists_fewer_frames_than_are_counted(make_video: MakeVideo, keep: float) -> None:
    pts = [i + 5 * (i > 30) for i in range(60)]
    bad = refusal(cut(make_video("a.avi", codec="mpeg4", pts=pts), keep))
    assert bad.reason == "truncated_video"


def test_cut_where_the_container_counts_no_frames(make_video: MakeVideo) -> None:
    bad = refusal(cut(make_video("a.mkv"), 0.5))
    assert bad.reason == "truncated_video"
    assert 58 <= int(bad.detail.split("of about ")[1].split(",")[0]) <= 62


@pytest.mark.parametrize("codec", ["libx264", "libsvtav1"])
def test_a_hole_in_the_data(make_video: MakeVideo, codec: str) -> None:
    path = make_video("a.mp4", codec=codec, options={"g": "10"}, mux=FASTSTART)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    path.write_bytes(data)
    bad = refusal(path)
    assert bad.reason == "corrupt_frames"
    assert "has 60 frames" in bad.detail


def test_flipped_bytes(make_video: MakeVideo) -> None:
    path = make_video("a.mp4", options={"crf": "10"}, mux=FASTSTART)
    data = np.frombuffer(path.read_bytes(), np.uint8).copy()
    places = np.random.default_rng(0).integers(len(data) // 2, len(data) - 100, 20)
    data[places] ^= 0x5A
    path.write_bytes(data.tobytes())
    assert refusal(path).reason == "corrupt_frames"


def test_not_a_video(tmp_path: Path) -> None:
    text, empty = tmp_path / "text.mp4", tmp_path / "empty.mp4"
    text.write_text("Not Found " * 50)
    empty.touch()
    assert refusal(text).reason == "unreadable_video"
    assert refusal(empty).reason == "unreadable_video"
    assert refusal(tmp_path / "absent.mp4").reason == "missing_file"
    assert refusal(tmp_path).reason == "missing_file"


@pytest.mark.parametrize("name", ["list.m3u8", "list.mp4"])
@pytest.mark.parametrize("kind", ["hls", "concat"])
def test_a_list_of_other_files_is_no_video(
    make_video: MakeVideo, tmp_path: Path, name: str, kind: str
) -> None:
    make_video("secret.ts")
    folder = tmp_path / "root"
    folder.mkdir()
    texts = {
        "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\n../secret.ts\n#EXT-X-ENDLIST\n",
        "concat": "ffconcat version 1.0\nfile ../secret.ts\n",
    }
    (folder / name).write_text(texts[kind])
    bad = refusal(folder / name)
    assert bad.reason == "unreadable_video"
    assert "expected a file that holds its pictures itself" in bad.detail


def test_sound_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(8000))
    assert refusal(path).reason == "no_video_stream"


def test_no_frames(tmp_path: Path) -> None:
    path = tmp_path / "z.mp4"
    with av.open(str(path), "w", options={"movflags": "empty_moov"}) as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        container.start_encoding()
    assert refusal(path).reason == "zero_frames"


def test_one_frame_is_a_video(make_video: MakeVideo) -> None:
    with open_video(make_video("a.mp4", count=1)) as reader:
        assert len(reader) == 1
        assert reader.fps == 30
        assert reader.at([0.0, 5.0]).shape[0] == 2


def test_one_frame_whose_container_names_no_rate(make_video: MakeVideo) -> None:
    assert 0 < index_video(make_video("a.ts", count=1)).fps < np.inf


def test_frames_without_time_stamps(make_video: MakeVideo) -> None:
    path = make_video("a.h264", options={"bf": "3"})
    bad = refusal(path)
    assert bad.reason == "bad_timestamps"
    assert "ffmpeg -i in out.mp4" in bad.detail, "with -c copy they stay as they are"


def test_nothing_is_said_on_the_terminal(make_video: MakeVideo) -> None:
    path = cut(make_video("a.mp4", mux=FASTSTART), 0.5)
    code = f"from pipelines.video import index_video\ntry: index_video({str(path)!r})\nexcept Exception as e: pass"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == done.stderr == ""


@pytest.mark.parametrize("number", [errno.EBUSY, errno.ENOSPC, errno.EIO])
def test_a_store_or_a_disk_that_refuses_says_nothing_of_the_video(
    make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Only a `BadInput` would leave the clip out for good."""
    fsspec.filesystem("memory").pipe("/refusing/a.mp4", make_video("a.mp4", count=3).read_bytes())
    path = location("memory://refusing/a.mp4")

    def refuse(*_: object) -> None:
        raise OSError(number, "refused")

    with monkeypatch.context() as patch:
        patch.setattr(data_schemas.storage.shutil, "copyfileobj", refuse)
        with pytest.raises(OSError, match="refused"):
            index_video(path)
    assert len(index_video(path)) == 3
