"""Processes below others: which are alive, which work, and how to end them all."""

import subprocess
from collections.abc import Sequence
from contextlib import suppress

import psutil


def alive(processes: Sequence[psutil.Process]) -> dict[psutil.Process, str]:
    """Those that have not ended, and how their commands begin."""
    found = {}
    for process in processes:
        try:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found[process] = " ".join(process.cmdline()[:2])
        except psutil.NoSuchProcess:
            continue
    return found


def kill_tree(pid: int) -> None:
    """SIGKILL a process and all below it."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def descendants(process: subprocess.Popen) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def workers(process: subprocess.Popen) -> list[psutil.Process]:
    """Ray workers that hold a stage, below a driver or a cluster."""
    return [
        child for child, command in alive(descendants(process)).items() if command.startswith("ray::Worker")
    ]
