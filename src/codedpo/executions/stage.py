"""Run every solution of a task against every test of the task, and keep each verdict as a row."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from codedpo.context import Part, StageContext
from codedpo.core.records import Execution, Outcome, Reject, Solution, Task, Test
from codedpo.sandbox.base import Cell, Limits, Matrix, job_of
from codedpo.services import Services


def rows_of(
    matrix: Matrix, solutions: Sequence[Solution], code_index: dict[str, int], tests: Sequence[Test]
) -> Iterator[Execution]:
    """Yield one row a cell; solutions with equal code share the cells of one run."""
    for solution in solutions:
        cells: Sequence[Cell] = matrix.cells[code_index[solution.code]]
        for test, cell in zip(tests, cells, strict=True):
            yield Execution(
                task_id=matrix.job_id,
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
    solutions: dict[str, list[Solution]] = defaultdict(list)
    tests: dict[str, list[Test]] = defaultdict(list)
    for solution in context.read(Solution):
        solutions[solution.task_id].append(solution)
    for test in context.read(Test):
        tests[test.task_id].append(test)
    tasks, limits = context.read(Task), Limits.from_config(context.config.sandbox)
    # One stream through all parts: the workers go on with the next part while the last programs of this one run.
    matrices = context.execute(
        job_of(task.task_id, list(_codes(solutions[task.task_id])), tests[task.task_id], limits)
        for task in context.unfinished(tasks)
        if solutions[task.task_id] and tests[task.task_id]
    )
    for part in context.parts(tasks):
        _run_part(part, matrices, solutions, tests)
    for _ in matrices:
        raise AssertionError("the sandbox gave more results than there were jobs")


def _codes(solutions: Sequence[Solution]) -> dict[str, int]:
    """Number the different programs of solutions."""
    codes = dict.fromkeys(solution.code for solution in solutions)
    return {code: index for index, code in enumerate(codes)}


def _run_part(
    part: Part[Task],
    matrices: Iterator[Matrix],
    solutions: dict[str, list[Solution]],
    tests: dict[str, list[Test]],
) -> None:
    rejects: list[Reject] = []
    rows: list[Execution] = []
    for task in part.items:
        own, own_tests = solutions[task.task_id], tests[task.task_id]
        if own and own_tests:
            matrix, codes = next(matrices), _codes(own)
            rows.extend(rows_of(matrix, own, codes, own_tests))
            part.count("programs_run", len(codes))
        else:
            reason = "no_tests" if own else "no_solutions"
            rejects.append(Reject(task.task_id, reason, "none of the model's replies gave one"))
    for outcome in Outcome:
        count = sum(row.outcome == outcome for row in rows)
        if count:
            part.count(outcome.value, count)
    part.write({Execution: rows}, rejects)
