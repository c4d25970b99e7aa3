"""What a worker is asked to do and what its replies mean; where workers die of it, by which solution's doing."""

from dataclasses import replace
from typing import Any

from codedpo.core.errors import BackendError
from codedpo.core.records import Oracle, Outcome
from codedpo.sandbox.base import HELPER_DIED, Cell, Job, Limits, TimingJob
from codedpo.sandbox.judge import CellRow
from codedpo.sandbox.pool import Ask

_OUTCOMES = {outcome.value: outcome for outcome in Outcome}


def run(batch: list[Job], child_per: str, ask: Ask) -> list[tuple[tuple[Cell, ...], ...]]:
    """Run jobs of equal limits together; return ``cells[solution][test]`` of each."""
    reply = ask(_run_request(batch, child_per))
    if reply is None:
        # One of the solutions took a helper down with it: find out which, and keep the others' results.
        return [
            tuple(
                _run_alone(replace(job, solutions=(solution,)), child_per, ask) for solution in job.solutions
            )
            for job in batch
        ]
    return [tuple(map(_cells, rows, peaks)) for rows, peaks in reply]


def _run_alone(job: Job, child_per: str, ask: Ask) -> tuple[Cell, ...]:
    """Run a job of one solution, and say so where workers die of it."""
    reply = ask(_run_request([job], child_per))
    if reply is None:
        return (Cell(Outcome.CRASHED, HELPER_DIED),) * len(job.checks)
    (((row,), (peak_kib,)),) = reply
    return _cells(row, peak_kib)


def time(job: TimingJob, ask: Ask) -> tuple[tuple[float, ...], ...]:
    """Measure one job; return ``samples_ns[solution][repeat]``, none of a solution of which workers die.

    Raises:
        BackendError: workers die of the solutions together and of none alone.
    """
    reply = ask(_timing_request(job))
    if reply is not None:
        return tuple(map(tuple, reply))
    alone = [replace(job, solutions=(solution,), repeats=1) for solution in job.solutions]
    spares = [ask(_timing_request(one)) is not None for one in alone]
    if all(spares):
        raise BackendError(
            f"The sandbox's helper died while it timed the {len(job.solutions)} solutions of {job.job_id}, though "
            "of none alone; see its message above, or lower candidates.solutions."
        )
    kept = tuple(solution for solution, spared in zip(job.solutions, spares, strict=True) if spared)
    samples = iter(time(replace(job, solutions=kept), ask) if kept else ())
    return tuple(next(samples) if spared else () for spared in spares)


def _run_request(batch: list[Job], child_per: str) -> Any:
    tasks = [
        (
            list(job.solutions),
            [(check.code, check.call, check.expected, check.stdin, check.tolerance) for check in job.checks],
            job.reference,
        )
        for job in batch
    ]
    limits = batch[0].limits
    return "run", (tasks, (*_bounds(limits), limits.timeouts_per_solution), child_per)


def _timing_request(job: TimingJob) -> Any:
    sample_ns = int(job.sample_ms * 1e6)
    return "time", (list(job.solutions), list(job.calls), sample_ns, job.repeats, *_bounds(job.limits))


def _bounds(limits: Limits) -> tuple[float, float, int, int, int]:
    return limits.cpu_seconds, limits.wall_factor, limits.memory_mib, limits.threads, limits.output_kib


def _cells(row: list[CellRow], peak_kib: int) -> tuple[Cell, ...]:
    return tuple(
        Cell(
            _OUTCOMES[outcome], error, digest, cpu_ns, peak_kib, Oracle.SPLIT if split else Oracle.IN_PROCESS
        )
        for outcome, error, digest, cpu_ns, split in row
    )
