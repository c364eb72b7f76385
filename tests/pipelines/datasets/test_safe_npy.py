"""Pickled arrays are read; whatever else a pickle may name is refused before it runs."""

import builtins
import os
import pickle
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_schemas.errors import BadInput
from pipelines.datasets.safe_npy import load_npy
from tests.pipelines.datasets.made_rh20t import save


class Exploit:
    """Pickles into a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def test_what_numpy_reads_is_read(tmp_path: Path) -> None:
    value = {
        "color": [1640674100000, 1640674100100],
        "036": [
            {"timestamp": np.int64(3), "tcp": np.arange(7.0), "name": "a", "none": None, "pair": (1, 2.5)}
        ],
        5: {"flag": True, "strings": np.array(["a", "b"]), "objects": np.array([{}, []], dtype=object)},
    }
    save(tmp_path / "a.npy", value)
    expected = np.load(tmp_path / "a.npy", allow_pickle=True).item()
    np.testing.assert_equal(load_npy(tmp_path / "a.npy"), expected)


def test_numpy_1_files_are_read(tmp_path: Path) -> None:
    save(tmp_path / "new.npy", {})
    header = (tmp_path / "new.npy").read_bytes().split(b"\n")[0] + b"\n"
    pickled = pickle.dumps(np.array({"a": np.arange(3)}, dtype=object), protocol=3)
    old = pickled.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")  # its name then
    assert old != pickled
    (tmp_path / "old.npy").write_bytes(header + old)
    np.testing.assert_equal(load_npy(tmp_path / "old.npy"), {"a": np.arange(3)})


@pytest.mark.parametrize("array", [np.arange(6).reshape(2, 3), np.asfortranarray(np.eye(3)), np.array(2.5)])
def test_plain_arrays_are_read(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(load_npy(tmp_path / "a.npy"), array)


@pytest.mark.parametrize(
    "exploit",
    [
        Exploit(os.mkdir, "ran"),
        Exploit(builtins.eval, "__import__('os').mkdir('ran')"),
        Exploit(getattr, "text", "upper"),
        Exploit(np.load, "x.npy"),
        Exploit(np.fromfile, "x.npy"),
        OrderedDict(a=1),
    ],
    ids=["mkdir", "eval", "getattr", "numpy.load", "numpy.fromfile", "OrderedDict"],
)
def test_anything_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exploit: Any) -> None:
    monkeypatch.chdir(tmp_path)
    box = np.empty((), dtype=object)
    box[()] = {"color": [1, exploit]}
    np.save("a.npy", box, allow_pickle=True)
    with pytest.raises(BadInput) as caught:
        load_npy(Path("a.npy"))
    assert caught.value.reason == "unsafe_pickle"
    assert not Path("ran").exists()


def test_damage_has_one_name(tmp_path: Path) -> None:
    save(tmp_path / "a.npy", {"color": list(range(1000))})
    data = (tmp_path / "a.npy").read_bytes()
    for keep in (0, 3, 50, 200, len(data) - 5):
        (tmp_path / "b.npy").write_bytes(data[:keep])
        with pytest.raises(BadInput, match="unreadable_array"):
            load_npy(tmp_path / "b.npy")
    rng = np.random.default_rng(0)
    for _ in range(200):
        noisy = np.frombuffer(data, np.uint8).copy()
        noisy[rng.integers(0, len(noisy), 3)] ^= rng.integers(1, 255, 3).astype(np.uint8)
        (tmp_path / "c.npy").write_bytes(noisy.tobytes())
        with suppress(BadInput):  # and nothing but BadInput
            load_npy(tmp_path / "c.npy")
    with pytest.raises(BadInput, match="missing_file"):
        load_npy(tmp_path / "absent.npy")
