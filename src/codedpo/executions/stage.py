"""Run every solution of a task against every test of the task, and keep each verdict as a row."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from codedpo.context import Part, StageContext
from codedpo.core.records import Execution, Outcome, Reject, Solution, Task, Test
from codedpo.sandbox.base import Cell, Job, Limits, Matrix, job_of
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


def check(services: Services) -> None:
    """See, before any work, that programs can be isolated on this machine.

    Raises:
        BackendError: the isolation level is below the one that is asked for.
    """
    services.sandbox.probe()


def run(context: StageContext) -> None:
    """Fill the pass matrix of every task. Tasks without solutions or without tests are rejected."""
    solutions: dict[str, list[Solution]] = defaultdict(list)
    tests: dict[str, list[Test]] = defaultdict(list)
    for solution in context.read(Solution):
        solutions[solution.task_id].append(solution)
    for test in context.read(Test):
        tests[test.task_id].append(test)
    for part in context.parts(context.read(Task)):
        _run_part(context, part, solutions, tests)


def _run_part(
    context: StageContext,
    part: Part[Task],
    solutions: dict[str, list[Solution]],
    tests: dict[str, list[Test]],
) -> None:
    limits = Limits.from_config(context.config.sandbox)
    rejects: list[Reject] = []
    jobs: list[Job] = []
    code_indices: list[dict[str, int]] = []
    for task in part.items:
        for reason, found in (("no_solutions", solutions[task.task_id]), ("no_tests", tests[task.task_id])):
            if not found:
                rejects.append(Reject(task.task_id, reason, "none of the model's replies gave one"))
                break
        else:
            codes = dict.fromkeys(solution.code for solution in solutions[task.task_id])
            code_indices.append({code: index for index, code in enumerate(codes)})
            jobs.append(job_of(task.task_id, list(codes), tests[task.task_id], limits))
    rows: list[Execution] = []
    for matrix, code_index in zip(context.execute(jobs), code_indices, strict=True):
        rows.extend(rows_of(matrix, solutions[matrix.job_id], code_index, tests[matrix.job_id]))
        part.count("programs_run", len(code_index))
    for outcome in Outcome:
        count = sum(row.outcome == outcome for row in rows)
        if count:
            part.count(outcome.value, count)
    part.write({Execution: rows}, rejects)
