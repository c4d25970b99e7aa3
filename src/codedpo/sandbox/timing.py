"""How two solutions' CPU times compare, and when one may be called faster.

Measuring: CPU time inside the child, samples of at least 1 ms, interleaved (``Sandbox.time``). Deciding: the
minimum of the samples, since noise only adds; an interval from the pairs of samples that were taken close
together. Never compare samples of different machines or runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import comb

from codedpo.core.errors import BackendError
from codedpo.sandbox.base import Sandbox, TimingJob

FIRST_REPEATS, MOST_REPEATS = 5, 15
CLOSE_LOW, CLOSE_HIGH = 0.9, 1.25
"""A ratio between these, or an interval that leaves ``FASTER_BY`` open, is measured again with ``MOST_REPEATS``."""
FASTER_BY = 1.1
"""The ratio that 'at least 10% faster' means."""
_TAIL = 0.025


@dataclass(frozen=True, slots=True)
class Comparison:
    """The ratio of the CPU time of a to that of b."""

    ratio: float
    """Minimum of a over minimum of b."""
    low: float
    high: float
    """95% interval of the ratio; below six samples the extremes, 94% at five."""
    repeats: int

    @property
    def is_faster(self) -> bool:
        """Whether b takes at least 10% less time than a, with the interval's confidence."""
        return self.low >= FASTER_BY


def compare(samples_a: Sequence[float], samples_b: Sequence[float]) -> Comparison:
    """Compare interleaved samples of two solutions.

    The interval is the sign-test interval of the median of the paired ratios ``a[k] / b[k]``: it assumes no
    distribution, only that a round's disturbance meets both alike (Conover, Practical Nonparametric
    Statistics, 3.2). It is widened to hold the ratio of the minima.

    Args:
        samples_a: CPU times, any unit, in measuring order.
        samples_b: as many of the other solution, taken in the same rounds.

    Raises:
        ValueError: there is no sample, or not as many of one as of the other.
    """
    if not samples_a or len(samples_a) != len(samples_b):
        raise ValueError(f"cannot pair {len(samples_a)} samples with {len(samples_b)}")
    ratio = min(samples_a) / min(samples_b)
    paired = sorted(a / b for a, b in zip(samples_a, samples_b, strict=True))
    cut = _order_statistic(len(paired))
    return Comparison(ratio, min(ratio, paired[cut]), max(ratio, paired[-1 - cut]), len(paired))


def _order_statistic(count: int) -> int:
    """Return how many of ``count`` sorted values may be cut at each end, so that 95% confidence is left."""
    tail, cut = 0.0, 0
    while cut < (count - 1) // 2:
        tail += comb(count, cut) / 2**count
        if tail > _TAIL:
            return max(0, cut - 1) if cut else 0
        cut += 1
    return max(0, cut - 1)


def measure(sandbox: Sandbox, job: TimingJob) -> Comparison | None:
    """Time the first against the second solution of a job: five repeats, fifteen where the ratio is close.

    Returns:
        The comparison, or None where one of them did not finish.

    Raises:
        BackendError: the job does not hold two solutions.
    """
    if len(job.solutions) != 2:
        raise BackendError(f"The timing job {job.job_id} holds {len(job.solutions)} solutions; give it two.")
    comparison: Comparison | None = None
    for repeats in (FIRST_REPEATS, MOST_REPEATS):
        (result,) = sandbox.time([replace(job, repeats=repeats)])
        a, b = result.samples_ns
        if not a or not b:
            return None
        comparison = compare(a, b)
        undecided = comparison.low < FASTER_BY < comparison.high
        if not (undecided or CLOSE_LOW <= comparison.ratio <= CLOSE_HIGH):
            break
    return comparison
