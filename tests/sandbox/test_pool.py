"""Streams of jobs over several workers, and that nothing is left of workers that died, were killed or given up."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from codedpo.core.records import Outcome
from codedpo.sandbox.base import Check, Job, Limits, Matrix
from codedpo.sandbox.local import ALL_LAYERS, LocalSandbox
from codedpo.sandbox.pool import WorkerPool
from codedpo.sandbox.worker import Worker, start

DOUBLE = "def f(x):\n    return 2 * x\n"
CHECK = Check("assert f(2) == 4", "f(2)", "4")


def outcomes(matrix: Matrix) -> list[list[str]]:
    return [[cell.outcome.value for cell in row] for row in matrix.cells]


def test_workers_keep_the_order_of_a_lazy_stream() -> None:
    taken = []

    def jobs() -> Iterator[Job]:
        for number in range(1200):
            taken.append(number)
            yield Job(str(number), (DOUBLE, "def f(x):\n    return x"), (CHECK,))

    with LocalSandbox(workers=2) as sandbox:
        stream = sandbox.run(jobs())
        assert next(stream).job_id == "0"
        assert len(taken) < 1200
        assert [matrix.job_id for matrix in stream] == [str(number) for number in range(1, 1200)]


def test_a_stream_that_is_left_early_does_no_harm() -> None:
    with LocalSandbox(workers=2) as sandbox:
        stream = sandbox.run(Job(str(number), (DOUBLE,), (CHECK,)) for number in range(100))
        next(stream)
        del stream
        (matrix,) = sandbox.run([Job("after", (DOUBLE,), (CHECK,))])
        assert outcomes(matrix) == [["passed"]]


def test_an_error_in_the_job_source_reaches_the_caller(level_3: LocalSandbox) -> None:
    def jobs() -> Iterator[Job]:
        yield Job("first", (DOUBLE,), (CHECK,))
        raise OSError("source")

    with pytest.raises(OSError, match="source"):
        list(level_3.run(jobs()))


def _processes_of(pid: int) -> set[int]:
    return {process.pid for process in psutil.Process(pid).children(recursive=True)}


def _gone(pids: set[int]) -> bool:
    def alive(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    deadline = time.monotonic() + 30
    while any(map(alive, pids)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_close_leaves_no_process_and_no_descriptor() -> None:
    before, others = set(os.listdir("/proc/self/fd")), _processes_of(os.getpid())  # noqa: PTH208
    with LocalSandbox(workers=2) as sandbox:
        list(sandbox.run(Job(str(n), (DOUBLE,), (CHECK,)) for n in range(20)))
        started = _processes_of(os.getpid()) - others
        assert len(started) >= 2
    assert _gone(started)
    assert set(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208


_CALLER = """
import sys
from codedpo.sandbox.base import Check, Job, Limits
from codedpo.sandbox.local import LocalSandbox
sandbox = LocalSandbox(workers=2, child_per="solution")
sandbox.probe()
print("ready", flush=True)
loop = "def f(x):\\n    while True:\\n        pass"
list(sandbox.run(Job(str(n), (loop,), (Check("", "f(1)", "1"),), Limits(cpu_seconds=60)) for n in range(4)))
"""


@pytest.mark.parametrize("victim", ["caller", "oracle", "zygote"])
def test_whoever_is_killed_nothing_is_left(victim: str) -> None:
    caller = subprocess.Popen([sys.executable, "-c", _CALLER], stdout=subprocess.PIPE, text=True)
    assert caller.stdout
    assert caller.stdout.readline() == "ready\n"
    deadline = time.monotonic() + 30
    while len(_processes_of(caller.pid)) < 6 and time.monotonic() < deadline:
        time.sleep(0.05)
    everyone = _processes_of(caller.pid)
    if victim == "caller":
        caller.kill()
    else:
        for pid in everyone:
            if f"sandbox.{victim}".encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
        before = _gone(everyone)
        caller.kill()
        assert before
    caller.wait()
    caller.stdout.close()
    assert _gone(everyone)


def test_a_killed_worker_costs_no_verdict() -> None:
    others = _processes_of(os.getpid())
    slow = "def f(x):\n    sum(range(3 * 10**6))\n    return 2 * x"
    with LocalSandbox(workers=1) as sandbox:
        sandbox.probe()
        stream = sandbox.run(Job(str(n), (slow,), (CHECK,)) for n in range(10))
        found = [next(stream)]
        for pid in _processes_of(os.getpid()) - others:
            if b"sandbox.oracle" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
        found += stream
    assert [outcomes(matrix) for matrix in found] == [[["passed"]]] * 10


def test_who_stops_listening_stops_the_work() -> None:
    """Loops of several minutes end when the results are given up, and the sandbox can be used again."""
    loop = "def f(x):\n    while True:\n        pass"
    checks = tuple(Check("", f"f({n})", "1") for n in range(4))
    slow = [Job(str(n), (loop,), checks, Limits(cpu_seconds=60)) for n in range(40)]
    quick = Job("quick", ("def f(x):\n    return x",), checks)
    others = set(psutil.Process().children())
    with LocalSandbox(workers=1) as sandbox:
        results = sandbox.run([quick, *slow])
        assert next(results).job_id == "quick"
        results.close()
        assert set(psutil.Process().children()) == others
        assert [matrix.job_id for matrix in sandbox.run([quick] * 3)] == ["quick"] * 3
        assert len(set(psutil.Process().children()) - others) == 1


def test_a_sandbox_that_was_closed_starts_new_workers() -> None:
    jobs = [Job(str(n), ("def f(x):\n    return x",), (Check("", "f(1)", "1"),)) for n in range(3)]
    with LocalSandbox(workers=3, child_per="solution") as sandbox:
        for _ in range(2):
            assert len(list(sandbox.run(jobs * 8))) == 24
            sandbox.close()
        assert [matrix.cells[0][0].outcome for matrix in sandbox.run(jobs)] == [Outcome.PASSED] * 3


def start_any() -> Worker:
    return start(ALL_LAYERS, ("math",), None, 0)


def test_a_worker_that_starts_while_others_are_ended_is_asked_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    starting, ended = threading.Event(), threading.Event()
    asked: list[Any] = []

    def start_slowly() -> Worker:
        starting.set()
        ended.wait()
        worker = start_any()
        monkeypatch.setattr(worker, "ask", asked.append)
        return worker

    def items() -> Iterator[str]:
        yield "one"
        starting.wait()
        raise OSError("source")

    pool = WorkerPool(1, start_slowly)
    close, before = pool.close, set(psutil.Process().children())

    def close_and_tell() -> None:
        close()
        ended.set()

    monkeypatch.setattr(pool, "close", close_and_tell)
    with pytest.raises(OSError, match="source"):
        list(pool.in_order(lambda item, ask: ask(item), items(), 1))
    assert asked == []
    assert set(psutil.Process().children()) == before


def test_idle_workers_that_died_are_not_taken_for_victims_of_a_request() -> None:
    request: Any = ("time", ([], [], 1, 1, 1.0, 1.0, 64, 1, 64))
    started: list[Worker] = []
    both = threading.Barrier(2)

    def start_both() -> Worker:
        worker = start_any()
        started.append(worker)
        if len(started) <= 2:
            both.wait(60)
        return worker

    before = set(psutil.Process().children())
    pool = WorkerPool(2, start_both)
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(pool.ask, [request] * 2)) == [[], []]
    for worker in started:
        worker.kill()
    assert pool.ask(request) == []
    pool.close()
    assert set(psutil.Process().children()) == before


def test_a_worker_that_answers_while_it_is_ended_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    request: Any = ("time", ([], [], 1, 1, 1.0, 1.0, 64, 1, 64))
    started: list[Worker] = []

    def start_and_end() -> Worker:
        worker = start_any()
        ask = worker.ask

        def ask_and_end(request: Any) -> Any:
            reply = ask(request)
            if len(started) == 1:
                pool.close()
            return reply

        started.append(worker)
        monkeypatch.setattr(worker, "ask", ask_and_end)
        return worker

    pool = WorkerPool(1, start_and_end)
    before = set(psutil.Process().children())
    assert pool.ask(request) == []
    assert set(psutil.Process().children()) == before
    assert pool.ask(request) == pool.ask(request) == []
    assert len(started) == 2
    pool.close()
    assert set(psutil.Process().children()) == before
