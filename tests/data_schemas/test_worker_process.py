"""What spawned processes begin with."""

import os
import select
import signal
import subprocess
import sys
import textwrap

from data_schemas.worker_process import THREADS, one_thread_for_spawned

PARENT = textwrap.dedent("""
    import os, sys, time
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context
    from data_schemas.worker_process import begin_worker_process

    if __name__ == "__main__":
        pool = ProcessPoolExecutor(1, get_context("spawn"), begin_worker_process)
        print(pool.submit(os.getpid).result(), pool.submit(os.getenv, "OMP_NUM_THREADS").result(), flush=True)
        pool.submit(time.sleep, 600)
        time.sleep(600)
    """)


def test_a_worker_has_one_thread_and_ends_when_its_parent_is_killed(tmp_path):
    (tmp_path / "parent.py").write_text(PARENT)
    parent = subprocess.Popen([sys.executable, tmp_path / "parent.py"], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker, threads = parent.stdout.readline().split()
    assert threads == "1"
    worker_ends = os.pidfd_open(int(worker))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert select.select([worker_ends], [], [], 60)[0], "the worker goes on without a parent"
    os.close(worker_ends)


def test_the_environment_is_as_before_afterwards(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    with one_thread_for_spawned():
        assert {os.environ[name] for name in THREADS} == {"1"}
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert "NUMBA_NUM_THREADS" not in os.environ
