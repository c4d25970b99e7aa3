"""Run every solution of a task against every test of the task, and keep each verdict as a row."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, tee

from codedpo.context import Part, StageContext
from codedpo.core.records import Execution, Outcome, Reject, Solution, Task, Test
from codedpo.core.tables import to_rows
from codedpo.sandbox.base import Limits, Matrix, job_of
from codedpo.services import Services


@dataclass(frozen=True, slots=True)
class Candidates:
    """What the model wrote for a task."""

    task_id: str
    solutions: Sequence[Solution]
    tests: Sequence[Test]
    codes: dict[str, int]
    """The different programs, numbered."""


def candidates(context: StageContext, task_ids: Sequence[str]) -> Iterator[Candidates]:
    """Read solutions and tests of the tasks of unfinished parts, a part at a time."""
    solutions, tests = context.by_task(Solution), context.by_task(Test)
    unfinished = context.unfinished(task_ids)
    while some := list(islice(unfinished, context.config.shard_size)):
        solutions_of: dict[str, list[Solution]] = defaultdict(list)
        tests_of: dict[str, list[Test]] = defaultdict(list)
        for solution in to_rows(solutions.of(some), Solution):
            solutions_of[solution.task_id].append(solution)
        for test in to_rows(tests.of(some), Test):
            tests_of[test.task_id].append(test)
        for task_id in some:
            own = solutions_of[task_id]
            codes = dict.fromkeys(solution.code for solution in own)
            numbers = {code: number for number, code in enumerate(codes)}
            yield Candidates(task_id, own, tests_of[task_id], numbers)


def rows_of(matrix: Matrix, task: Candidates) -> Iterator[Execution]:
    """Yield one row a cell; solutions with equal code share the cells of one run."""
    for solution in task.solutions:
        for test, cell in zip(task.tests, matrix.cells[task.codes[solution.code]], strict=True):
            yield Execution(
                task_id=task.task_id,
                solution_id=solution.solution_id,
                test_id=test.test_id,
                outcome=cell.outcome.value,
                error_type=cell.error_type,
                value_digest=cell.value_digest,
                cpu_ns=cell.cpu_ns,
                peak_kib=cell.peak_kib,
                oracle=cell.oracle.value,
                isolation_level=matrix.isolation_level,
            )


def check(services: Services) -> str:
    """See, before any work, that programs can be isolated on this machine, and say how well.

    Raises:
        BackendError: the isolation level is below the one that is asked for.
    """
    return f"isolation level {services.sandbox.probe().level}"


def run(context: StageContext) -> None:
    """Fill the pass matrix of every task. Tasks without solutions or without tests are rejected."""
    task_ids = context.columns(Task, "task_id").column(0).to_pylist()
    limits = Limits.from_config(context.config.sandbox)
    # One stream through all parts: the workers go on with the next part while the last programs of this one run.
    # Of it only those tasks are held which the sandbox has read ahead.
    tasks, asked = tee(candidates(context, task_ids))
    matrices = context.execute(
        job_of(task.task_id, list(task.codes), task.tests, limits)
        for task in asked
        if task.solutions and task.tests
    )
    for part in context.parts(task_ids):
        _run_part(part, islice(tasks, len(part.items)), matrices)
    for _ in matrices:
        raise AssertionError("the sandbox gave more results than there were jobs")


def _run_part(part: Part[str], tasks: Iterable[Candidates], matrices: Iterator[Matrix]) -> None:
    rejects: list[Reject] = []
    rows: list[Execution] = []
    for task in tasks:
        if task.solutions and task.tests:
            rows.extend(rows_of(next(matrices), task))
            part.count("programs_run", len(task.codes))
        else:
            reason = "no_tests" if task.solutions else "no_solutions"
            rejects.append(Reject(task.task_id, reason, "none of the model's replies gave one"))
    for outcome in Outcome:
        count = sum(row.outcome == outcome for row in rows)
        if count:
            part.count(outcome.value, count)
    part.write({Execution: rows}, rejects)
