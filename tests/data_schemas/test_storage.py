"""What the entry points are given as a place, and how files of a store are told apart."""

from pathlib import Path

import pytest

from data_schemas.errors import UserError
from data_schemas.storage import fingerprints, location


@pytest.mark.parametrize(
    "url", ["file:///data/my%20videos", "file://localhost/data/my videos", Path("file:///data/my videos")]
)
def test_a_file_url_is_a_path(url: Path | str) -> None:
    assert location(url) == Path("/data/my videos")
    assert type(location(url)) is type(Path())


def test_what_is_no_file_url() -> None:
    assert location("data/file:x") == Path("data/file:x")
    assert location("file:x") == Path("file:x")
    with pytest.raises(UserError, match="another machine, 'host'"):
        location("file://host/data")


def test_a_replaced_file_is_seen_whatever_the_store_calls_its_mark(tmp_path: Path) -> None:
    class Store:
        """Its paths as listed, with one mark."""

        def __init__(self, name: str, value: object) -> None:
            self.mark = {name: value}

        def ls(self, path: str, detail: bool) -> list[dict]:
            return [{"name": f"{path}/x", "size": 3, "type": "file", **self.mark}]

    def state(name: str, value: object, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
        folder = location("memory://data")
        monkeypatch.setattr(type(folder), "fs", Store(name, value))
        return fingerprints(folder)

    with pytest.MonkeyPatch.context() as patch:
        assert state("ETag", '"a"', patch) == {"x": '3:"a"'}
        for name in ("ETag", "etag", "mtime"):
            assert state(name, 1.5, patch) != state(name, 2.5, patch)
