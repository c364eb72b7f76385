"""The folder of a training run: what it was asked for, what came out.

`config.json` says what the run is; a second call with the same request continues or reuses it, another request is
refused as soon as there is a checkpoint, or a result, to lose. `version_folder` says where the version of stage 1 lay,
which may change: a version is known by its id. `result.json` exists once the run is finished.
"""

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from data_schemas.errors import UserError
from data_schemas.storage import location
from data_schemas.whole_files import replacing
from harp.data.version import PublishedVersion
from harp.training.checkpoint import CHECKPOINTS
from harp.training.config import Stage1Config

STAGE_MARKS = {1: "losses", 2: "test_transitions", 3: "test_steps"}
"""Key that the configuration of this stage alone has."""


class RunFolder:
    """Claims a folder for one configuration, and one version where the configuration names no data itself.

    Raises:
        UserError: the folder holds a run of another configuration or version, or cannot be written.
    """

    def __init__(self, out: Path, config: BaseModel, version: PublishedVersion | None = None) -> None:
        self.out = out
        request = json.loads(config.model_dump_json())
        if version:
            request = {"version": version.version_id, **request}
        path = out / "config.json"
        if path.is_file():
            before = json.loads(path.read_text())
            if _stage(before) != _stage(request):
                raise UserError(f"{out} holds a run of another stage; choose another folder.")
            difference = _first_difference(before, request)
            if difference:
                key, before, now = difference
                raise UserError(
                    f"{out} holds a run with {key}={before}, now {key}={now} is asked for; "
                    "ask for the former again, choose another folder, or remove this one."
                )
        try:
            out.mkdir(parents=True, exist_ok=True)
            _write(path, request)
        except OSError as error:
            raise _unusable(out, error) from None
        if version:
            (out / "version_folder").write_text(f"{version.folder}\n")

    @classmethod
    @contextmanager
    def claimed(
        cls, out: Path, config: BaseModel, version: PublishedVersion | None = None
    ) -> Generator[Self]:
        """For the only process that trains here, until it ends: two would write over each other's checkpoints.

        A call that ended before its first checkpoint leaves the folder free: it may have ended because its request
        could not work, and the advice it ended with is then another request.

        Raises:
            UserError: another process trains here, or what the class raises.
        """
        try:
            out.mkdir(parents=True, exist_ok=True)
            lock = FileLock(out / "training.lock").acquire(timeout=0)
        except Timeout:
            raise UserError(
                f"Another process is training in {out}: wait for it, or choose another folder."
            ) from None
        except OSError as error:
            raise _unusable(out, error) from None
        with lock:
            if begun_request(out) is None:
                (out / "config.json").unlink(missing_ok=True)
            yield cls(out, config, version)

    @property
    def result(self) -> dict[str, Any] | None:
        """Content of `result.json`, or None while the run is unfinished."""
        path = self.out / "result.json"
        return json.loads(path.read_text()) if path.is_file() else None

    def finish(self, result: dict[str, Any]) -> None:
        """Mark the run as finished."""
        _write(self.out / "result.json", result)


def begun_request(out: Path) -> dict[str, Any] | None:
    """What the training in a folder was asked for; None while it has neither a checkpoint nor a result."""
    path = out / "config.json"
    begun = (out / "result.json").is_file() or any((out / CHECKPOINTS).glob("step-*"))
    return json.loads(path.read_text()) if begun and path.is_file() else None


def read_run(run: Path) -> tuple[Stage1Config, Path]:
    """Configuration of a run of stage 1 and the folder of its version.

    Raises:
        UserError: there is no such run in the folder, or one that this HARP cannot read.
    """
    path = run / "config.json"
    if not path.is_file():
        raise UserError(
            f"{run} holds no training run: it has no config.json. Give the folder that `harp train` wrote, its --out."
        )
    request = json.loads(path.read_text())
    if "version" not in request:
        raise UserError(f"{run} holds a run of a later stage; give the folder of a run of stage 1.")
    del request["version"]
    try:
        config = Stage1Config.model_validate(request)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise UserError(
            f"{path} was written by another version of HARP, key '{where}': {problem['msg']}; train again."
        ) from None
    return config, location((run / "version_folder").read_text().strip())


def check_stage(run: Path, stage: int) -> None:
    """Let pass what holds a run of this stage, finished or not.

    Raises:
        UserError: the folder holds a run of another stage, or none.
    """
    path = run / "config.json"
    if not path.is_file() or _stage(json.loads(path.read_text())) != stage:
        raise UserError(
            f"{run} holds no run of stage {stage}: give the folder that `harp train stage{stage}` wrote, its --out."
        )


def _stage(request: dict[str, Any]) -> int | None:
    return next((stage for stage, mark in STAGE_MARKS.items() if mark in request), None)


def _unusable(out: Path, error: OSError) -> UserError:
    return UserError(f"{out} cannot be the folder of a run ({error.strerror}); choose another.")


def _write(path: Path, content: dict[str, Any]) -> None:
    with replacing(path) as draft:
        draft.write_text(json.dumps(content, indent=2) + "\n")


def _first_difference(before: Any, now: Any, key: str = "") -> tuple[str, Any, Any] | None:
    if isinstance(before, dict) and isinstance(now, dict):
        for name in before.keys() | now.keys():
            found = _first_difference(before.get(name), now.get(name), f"{key}.{name}".lstrip("."))
            if found:
                return found
        return None
    return (key, before, now) if before != now else None
