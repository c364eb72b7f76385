"""The executors by name."""

from typing import Literal

from pipelines.engine.executor import Executor, LocalExecutor
from pipelines.engine.ray_executor import RayExecutor

__all__ = ["Executor", "LocalExecutor", "RayExecutor", "make_executor"]


def make_executor(name: Literal["local", "ray"]) -> Executor:
    """`local`: in this process; `ray`: on Ray actors."""
    return {"local": LocalExecutor, "ray": RayExecutor}[name]()
