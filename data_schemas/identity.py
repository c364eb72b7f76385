"""Names that follow from content: ids of demonstrations and pairs, keys of stages.

A path may move and a run may repeat; the content does not change. Every id here is a BLAKE2b hash of what
the thing is made of, so that the same input gets the same id on every machine.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

ID_BYTES = 8
"""64-bit ids: at 10^6 items the chance of one collision is 3e-8."""


def content_id(*parts: str) -> str:
    """16 hex digits that depend on every part and on the borders between them."""
    return content_ids(*parts)()


def content_ids(*shared: str) -> Callable[..., str]:
    """`content_id` of many things that have their first parts in common: those are hashed once."""
    begun = hashlib.blake2b(_framed(shared), digest_size=ID_BYTES)

    def with_parts(*parts: str) -> str:
        digest = begun.copy()
        digest.update(_framed(parts))
        return digest.hexdigest()

    return with_parts


_SIZES = [size.to_bytes(8, "little") for size in range(256)]
"""Looked up, because a data set has millions of parts."""


def _framed(parts: Iterable[str]) -> bytearray:
    """Every part behind its size."""
    framed = bytearray()  # grows in place: the files of a lake are thousands of parts
    for part in map(str.encode, parts):
        size = len(part)
        framed += (_SIZES[size] if size < len(_SIZES) else size.to_bytes(8, "little")) + part
    return framed


_pair_id = content_ids("pair")


def demonstration_id(dataset: str, source_sha256: str, camera: str) -> str:
    """Id of one video of one embodiment by one camera."""
    return content_id("demonstration", dataset, source_sha256, camera)


def pair_id(human_id: str, robot_id: str) -> str:
    """Id of a human and a robot demonstration of the same task."""
    return _pair_id(human_id, robot_id)


def stage_key(
    name: str, version: int, config: Mapping[str, Any], models: Iterable[str], upstream: Iterable[str]
) -> str:
    """Key under which a stage stores its rows: whatever changes a row changes the key.

    Args:
        name: of the stage.
        version: raised by hand when the code of the stage gives other rows.
        config: JSON-compatible configuration.
        models: `model@revision` of every model the stage runs.
        upstream: keys of the stages whose rows it reads.
    """
    canonical = json.dumps(config, sort_keys=True, separators=(",", ":"))
    return content_id("stage", name, str(version), canonical, *sorted(models), "upstream", *sorted(upstream))


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
