import multiprocessing
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from codedpo.core.errors import BackendError
from codedpo.sandbox import cache as cache_module
from codedpo.sandbox.base import Check, Job, Limits
from codedpo.sandbox.cache import CachedSandbox
from codedpo.sandbox.local import LocalSandbox

SOLUTIONS = (
    "def f(x):\n    return 2 * x",
    "def f(x):\n    return x",
    "import os\ndef f(x):\n    os._exit(0)",
    "def f(",
)
CHECKS = tuple(Check(f"assert f({n}) == {2 * n}", f"f({n})", str(2 * n)) for n in range(4))
JOB = Job("a", SOLUTIONS, CHECKS)


def cells_in(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        return int(database.execute("SELECT COUNT(*) FROM cells").fetchone()[0])


def outcomes(sandbox: CachedSandbox, *jobs: Job) -> list[tuple[str, list[list[str]]]]:
    return [(m.job_id, [[cell.outcome.value for cell in row] for row in m.cells]) for m in sandbox.run(jobs)]


def test_a_second_run_runs_nothing_and_says_the_same(tmp_path: Path) -> None:
    cache = CachedSandbox(LocalSandbox(workers=1), tmp_path / "new" / "cache.sqlite")
    try:
        first = list(cache.run([JOB]))
        assert tuple(cache.counters.values()) == (0, 16)
        cache.counters.update(cells_from_cache=0, cells_executed=0)
        assert [matrix.cells for matrix in cache.run([JOB])] == [first[0].cells]
        assert tuple(cache.counters.values()) == (16, 0)
        assert cells_in(tmp_path / "new" / "cache.sqlite") == 16
    finally:
        cache.close()


def test_only_what_is_new_is_run(tmp_path: Path) -> None:
    cache = CachedSandbox(LocalSandbox(workers=1), tmp_path / "cache.sqlite")
    try:
        part = replace(JOB, solutions=SOLUTIONS[:2], checks=CHECKS[1:3])
        with LocalSandbox(workers=1) as plain:
            (matrix,) = plain.run([JOB])
            whole = [[cell.outcome.value for cell in row] for row in matrix.cells]
        outcomes(cache, part)
        cache.counters.update(cells_from_cache=0, cells_executed=0)
        found = outcomes(cache, Job("first", SOLUTIONS[:1], CHECKS[:1]), JOB, replace(JOB, job_id="again"))
        assert found[1] == ("a", whole)
        assert found[2] == ("again", whole)
        assert cache.counters["cells_from_cache"] >= 4
    finally:
        cache.close()


def test_one_worker_is_enough_however_many_cells_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream that is left before its end takes the worker along."""
    monkeypatch.setattr(cache_module, "_CELLS_AT_ONCE", 16)
    with LocalSandbox(workers=1) as inner:
        inner.probe()
        helpers = set(psutil.Process().children())
        with closing(CachedSandbox(inner, tmp_path / "cache.sqlite")) as cache:
            list(cache.run(replace(JOB, job_id=str(number), reference=f"# {number}") for number in range(5)))
            assert cache.counters["cells_executed"] == 5 * 16
            assert helpers
            assert helpers == set(psutil.Process().children())


@pytest.mark.parametrize(
    "changed",
    [
        replace(JOB, limits=Limits(cpu_seconds=2)),
        replace(JOB, reference=SOLUTIONS[0]),
        replace(JOB, solutions=tuple(code + "\n" for code in SOLUTIONS)),
        replace(JOB, checks=tuple(replace(check, tolerance=1e-6) for check in CHECKS)),
    ],
)
def test_whatever_can_change_a_verdict_is_part_of_the_key(tmp_path: Path, changed: Job) -> None:
    cache = CachedSandbox(LocalSandbox(workers=1), tmp_path / "cache.sqlite")
    try:
        outcomes(cache, JOB)
        cache.counters["cells_from_cache"] = 0
        outcomes(cache, changed)
        assert cache.counters["cells_from_cache"] == 0
    finally:
        cache.close()


def test_level_and_interpreter_are_part_of_the_key(tmp_path: Path) -> None:
    for options in ({}, {"layers": ("landlock", "seccomp")}, {"preload": ("math",)}, {"child_per": "test"}):
        cache = CachedSandbox(LocalSandbox(workers=1, **options), tmp_path / "cache.sqlite")
        outcomes(cache, JOB)
        assert cache.counters["cells_from_cache"] == 0
        cache.close()


LOOP = "def f(x):\n    while x > 0:\n        pass\n    return 2 * x"
"""Right on the first test only."""


def test_a_solution_that_loops_is_not_run_again(tmp_path: Path) -> None:
    loop = Job("loop", (LOOP, SOLUTIONS[0]), CHECKS, Limits(cpu_seconds=0.05))
    cache = CachedSandbox(LocalSandbox(workers=1), tmp_path / "cache.sqlite")
    try:
        first = list(cache.run([loop]))
        assert [cell.outcome for cell in first[0].cells[0]] == ["passed", "timeout", "timeout", "not_run"]
        assert [matrix.cells for matrix in cache.run([loop])] == [first[0].cells]
        assert cache.counters == {"cells_from_cache": 8, "cells_executed": 8}
    finally:
        cache.close()


@pytest.mark.parametrize("parts", [[(3,), (1,)], [(0, 3)], [(1, 2, 3)], [(2, 3), (0, 1)]])
def test_time_outs_count_as_if_all_had_run_together(tmp_path: Path, parts: list[tuple[int, ...]]) -> None:
    loop = Job("loop", (LOOP,), CHECKS, Limits(cpu_seconds=0.05))
    cache = CachedSandbox(LocalSandbox(workers=1), tmp_path / "cache.sqlite")
    try:
        for part in parts:
            outcomes(cache, replace(loop, checks=tuple(CHECKS[number] for number in part)))
        assert outcomes(cache, loop)[0][1] == [["passed", "timeout", "timeout", "not_run"]]
    finally:
        cache.close()


def test_a_stream_that_is_known_flows(tmp_path: Path) -> None:
    """Known jobs come out while more go in: nothing waits for the end of the stream."""
    jobs = [replace(JOB, job_id=str(number), checks=CHECKS * 50) for number in range(200)]
    asked: list[str] = []

    def stream():
        for job in jobs:
            asked.append(job.job_id)
            yield job

    cache = CachedSandbox(LocalSandbox(workers=1), tmp_path / "cache.sqlite")
    try:
        outcomes(cache, jobs[0])
        results = cache.run(stream())
        assert next(results).job_id == "0"
        assert len(asked) < len(jobs)
        assert [matrix.job_id for matrix in results] == [job.job_id for job in jobs[1:]]
    finally:
        cache.close()


def test_a_damaged_file_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    cache = CachedSandbox(LocalSandbox(workers=1), path)
    outcomes(cache, JOB)
    with sqlite3.connect(path) as database:
        database.execute("UPDATE cells SET outcome = 'nonsense'")
    database.close()
    with pytest.raises(BackendError, match=r"cache\.sqlite cannot be read .*remove it"):
        outcomes(cache, JOB)
    cache.close()


def test_the_file_stays_bounded(tmp_path: Path) -> None:
    cache = CachedSandbox(LocalSandbox(workers=1), tmp_path / "cache.sqlite", most_cells=20)
    try:
        for number in range(10):
            outcomes(cache, replace(JOB, solutions=(f"def f(x):\n    return {number}",)))
        assert 1 <= cells_in(tmp_path / "cache.sqlite") <= 40
    finally:
        cache.close()


def _fill(path: Path) -> None:
    cache = CachedSandbox(LocalSandbox(workers=1), path)
    for number in range(20):
        outcomes(cache, replace(JOB, solutions=(f"def f(x):\n    return {number} * x",)))
    cache.close()


def test_several_processes_share_a_file(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_fill, args=(tmp_path / "cache.sqlite",)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert cells_in(tmp_path / "cache.sqlite") == 80


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    path.write_text("not a database" * 100)
    with pytest.raises(BackendError, match=r"cache\.sqlite cannot be used"):
        CachedSandbox(LocalSandbox(workers=1), path)
