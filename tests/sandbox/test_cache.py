import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest

from codedpo.core.errors import BackendError
from codedpo.core.records import Outcome
from codedpo.sandbox.base import Check, Job, Limits
from codedpo.sandbox.cache import CachedSandbox, cells_in
from codedpo.sandbox.local import LocalSandbox

SOLUTIONS = (
    "def f(x):\n    return 2 * x",
    "def f(x):\n    return x",
    "import os\ndef f(x):\n    os._exit(0)",
    "def f(",
)
CHECKS = tuple(Check(f"assert f({n}) == {2 * n}", f"f({n})", str(2 * n)) for n in range(4))
JOB = Job("a", SOLUTIONS, CHECKS)


def outcomes(sandbox: CachedSandbox, *jobs: Job) -> list[tuple[str, list[list[str]]]]:
    return [(m.job_id, [[cell.outcome.value for cell in row] for row in m.cells]) for m in sandbox.run(jobs)]


def test_a_second_run_runs_nothing_and_says_the_same(tmp_path: Path) -> None:
    cache = CachedSandbox(LocalSandbox(workers=1), tmp_path / "new" / "cache.sqlite")
    try:
        first = list(cache.run([JOB]))
        assert (cache.hits, cache.misses) == (0, 16)
        cache.hits = cache.misses = 0
        assert [matrix.cells for matrix in cache.run([JOB])] == [first[0].cells]
        assert (cache.hits, cache.misses) == (16, 0)
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
        cache.hits = cache.misses = 0
        found = outcomes(cache, Job("first", SOLUTIONS[:1], CHECKS[:1]), JOB, replace(JOB, job_id="again"))
        assert found[1] == ("a", whole)
        assert found[2] == ("again", whole)
        assert cache.hits >= 4
    finally:
        cache.close()


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
        cache.hits = 0
        outcomes(cache, changed)
        assert cache.hits == 0
    finally:
        cache.close()


def test_level_and_interpreter_are_part_of_the_key(tmp_path: Path) -> None:
    for options in ({}, {"layers": ("landlock", "seccomp")}, {"preload": ("math",)}, {"fork_per_test": True}):
        cache = CachedSandbox(LocalSandbox(workers=1, **options), tmp_path / "cache.sqlite")
        outcomes(cache, JOB)
        assert cache.hits == 0
        cache.close()


def test_what_was_not_run_is_not_kept(tmp_path: Path) -> None:
    loop = Job("loop", ("def f(x):\n    while True:\n        pass",), CHECKS, Limits(cpu_seconds=0.05))
    cache = CachedSandbox(LocalSandbox(workers=1), tmp_path / "cache.sqlite")
    try:
        assert outcomes(cache, loop)[0][1] == [[Outcome.TIMEOUT] * 2 + [Outcome.NOT_RUN] * 2]
        assert cells_in(tmp_path / "cache.sqlite") == 2
    finally:
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
