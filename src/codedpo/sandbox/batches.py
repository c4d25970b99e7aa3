"""Jobs travel in batches, since tame solutions of all jobs of a batch share a child."""

from collections.abc import Iterable, Iterator

from codedpo.sandbox.base import Job

SOLUTIONS_OF_A_BATCH = 64
"""More make no fork cheaper, but results come later and memory that a solution keeps adds up."""
BATCHES_AHEAD = 16
"""So many batches a worker are read ahead of the one whose results are due: while one waits for programs that run out
of time, the other workers have something to do."""


def in_batches(jobs: Iterable[Job], workers: int, *, grouped: bool) -> Iterator[list[Job]]:
    """Cut a stream of jobs where limits change or enough solutions are together; early batches are smaller.

    Successive jobs of one id and the same checks never share a batch: whoever cuts the solutions of a task into several
    jobs wants them to run at once.

    Args:
        jobs: read one at a time.
        workers: how many batches are run at once.
        grouped: whether solutions may share a child; if not, every job is a batch.
    """
    batch: list[Job] = []
    made = size = 0
    for job in jobs:
        most = SOLUTIONS_OF_A_BATCH * min(1.0, (1 + made) / (4 * workers)) if grouped else 1
        full = size + len(job.solutions) > most
        is_part = batch and job.job_id == batch[-1].job_id and job.checks == batch[-1].checks
        if batch and (full or is_part or job.limits != batch[0].limits):
            yield batch
            batch, size, made = [], 0, made + 1
        batch.append(job)
        size += len(job.solutions)
    if batch:
        yield batch
