"""The executors by name."""

from typing import Literal

from pipelines.engine.executor import Executor, LocalExecutor

__all__ = ["Executor", "LocalExecutor", "make_executor"]


def make_executor(name: Literal["local", "ray"]) -> Executor:
    """`local`: in this process; `ray`: on Ray actors."""
    if name == "local":
        return LocalExecutor()
    # Here, as loading Ray takes half a second, and most that is said of a lake needs none.
    from pipelines.engine.ray_executor import RayExecutor

    return RayExecutor()
