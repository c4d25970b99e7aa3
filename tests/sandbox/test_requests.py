"""Who is to blame where a worker dies of a request: real replies, but for requests that hold what kills."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from codedpo.core.errors import BackendError
from codedpo.core.records import Outcome
from codedpo.sandbox import requests
from codedpo.sandbox.base import HELPER_DIED, Cell, Check, Job, TimingJob
from codedpo.sandbox.local import ALL_LAYERS
from codedpo.sandbox.pool import Ask, WorkerPool
from codedpo.sandbox.worker import start

DOUBLE = "def f(x):\n    return 2 * x\n"
WRONG = "def f(x):\n    return x\n"
DEADLY = "def f(x):\n    return 'deadly'\n"


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool(1, lambda: start(ALL_LAYERS, ("math",), None, 0))
    yield pool
    pool.close()


def dying(pool: WorkerPool, kills: Callable[[str], bool]) -> Ask:
    return lambda request: None if kills(repr(request)) else pool.ask(request)


def kinds(row: tuple[Cell, ...]) -> list[tuple[Outcome, str]]:
    return [(cell.outcome, cell.error_type) for cell in row]


@pytest.mark.parametrize("child_per", ["group", "solution", "test"])
def test_only_the_solution_of_which_workers_die_is_lost(pool: WorkerPool, child_per: str) -> None:
    checks = (Check("", "f(2)", "4"), Check("", "f(0)", "0"))
    batch = [Job("a", (DOUBLE, DEADLY, WRONG), checks), Job("b", (WRONG,), checks)]
    first, second = requests.run(batch, child_per, dying(pool, lambda request: "deadly" in request))
    passed, failed, lost = (Outcome.PASSED, ""), (Outcome.FAILED, ""), (Outcome.CRASHED, HELPER_DIED)
    assert [kinds(row) for row in first] == [[passed] * 2, [lost] * 2, [failed, passed]]
    assert [kinds(row) for row in second] == [[failed, passed]]


@pytest.mark.parametrize("solutions", [(DOUBLE, DEADLY, WRONG), (DEADLY,), (DOUBLE, WRONG)])
def test_a_solution_of_which_workers_die_has_no_times(pool: WorkerPool, solutions: tuple[str, ...]) -> None:
    job = TimingJob("a", solutions, ("f(1)",), repeats=3)
    samples = requests.time(job, dying(pool, lambda request: "deadly" in request))
    assert [len(repeats) for repeats in samples] == [0 if code == DEADLY else 3 for code in solutions]


def test_workers_that_die_of_no_solution_alone_are_an_error(pool: WorkerPool) -> None:
    def together(request: Any) -> bool:
        return "2 * x" in request and "return x" in request

    job = TimingJob("job", (DOUBLE, WRONG), ("f(1)",))
    with pytest.raises(BackendError, match="timed the 2 solutions of job, though of none alone"):
        requests.time(job, dying(pool, together))
