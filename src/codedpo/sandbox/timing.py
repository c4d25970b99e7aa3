"""How two solutions' CPU times compare, and when one may be called faster.

Measuring: CPU time inside the child, samples of at least 1 ms, interleaved (``Sandbox.time``). Deciding: the
median of the ratios of samples that were taken close together, and its interval. The minimum of each side, the
usual choice, was tried: on a loaded virtual machine noise also subtracts (a processor that runs faster for a
moment), and the ratio of two minima erred more often (``bench.timing``). Never compare samples of different
machines or runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import comb, sqrt

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
    """Median of the paired ratios."""
    low: float
    high: float
    """95% interval of the ratio; below six samples the extremes, 94% at five."""
    repeats: int

    @property
    def is_faster(self) -> bool:
        """Whether b is at least 1.1 times as fast as a, with the interval's confidence."""
        return self.low >= FASTER_BY


def compare(samples_a: Sequence[float], samples_b: Sequence[float]) -> Comparison:
    """Compare interleaved samples of two solutions.

    The interval is the sign-test interval of the median of the paired ratios ``a[k] / b[k]``: it assumes no
    distribution, only that a round's disturbance meets both alike (Conover, Practical Nonparametric
    Statistics, 3.2).

    Args:
        samples_a: CPU times, any unit, in measuring order.
        samples_b: as many of the other solution, taken in the same rounds.

    Raises:
        ValueError: there is no sample, or not as many of one as of the other.
    """
    if not samples_a or len(samples_a) != len(samples_b):
        raise ValueError(f"cannot pair {len(samples_a)} samples with {len(samples_b)}")
    paired = sorted(a / b for a, b in zip(samples_a, samples_b, strict=True))
    cut = _order_statistic(len(paired))
    return Comparison(_middle(paired), paired[cut], paired[-1 - cut], len(paired))


def _middle(rising: Sequence[float]) -> float:
    """Return the median; of an even number the geometric mean of the two, so that a/b and b/a agree."""
    half = len(rising) // 2
    return rising[half] if len(rising) % 2 else sqrt(rising[half - 1] * rising[half])


def _order_statistic(count: int) -> int:
    """Return how many of ``count`` sorted values may be cut at each end, so that 95% confidence is left."""
    tail, cut = comb(count, 0) / 2**count, 0
    while tail + comb(count, cut + 1) / 2**count <= _TAIL:
        cut += 1
        tail += comb(count, cut) / 2**count
    return cut


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
