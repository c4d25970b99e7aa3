"""Which two solutions of a task make an efficiency pair: both believed right, one measurably faster."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


class Comparison(Protocol):
    """How two timed solutions compare; ``sandbox.timing.compare`` returns one."""

    @property
    def ratio(self) -> float:
        """CPU time of the first over that of the second."""
        ...

    @property
    def low(self) -> float:
        """Lower 95% bound of ``ratio``."""
        ...

    @property
    def high(self) -> float:
        """Upper 95% bound of ``ratio``."""
        ...


Compare = Callable[[Sequence[float], Sequence[float]], Comparison]
"""``compare(samples_of_a, samples_of_b)`` of interleaved samples: the ratio of a's time to b's, with its interval."""


@dataclass(frozen=True, slots=True)
class SpeedChoice:
    """Positions of the fast and the slow solution, and how sure their order is."""

    chosen: int
    rejected: int
    ratio: float
    """Slow over fast CPU time."""
    low: float
    """Lower 95% bound of ``ratio``."""
    high: float
    """Upper 95% bound of ``ratio``."""


def fast_against_slow(
    samples_ns: Sequence[Sequence[float]], compare: Compare, least_ratio: float = 1.1
) -> SpeedChoice | str:
    """Pair the fastest with the slowest solution where the interval of their ratio lies above ``least_ratio``.

    Args:
        samples_ns: CPU times of each solution, interleaved between solutions; empty where one did not finish.
            Only those measured most often are compared: the fastest and slowest of a first round.
        compare: gives the ratio of two solutions' times and its interval.
        least_ratio: 1.1 asks for a program that is at least 1.1 times as fast.

    Returns:
        The choice, or one of ``too_few_timed``, ``speed_not_apart``.
    """
    most = max(map(len, samples_ns), default=0)
    timed = [position for position, samples in enumerate(samples_ns) if most and len(samples) == most]
    if len(timed) < 2:
        return "too_few_timed"
    least = [min(samples_ns[position]) for position in timed]
    fast, slow = timed[int(np.argmin(least))], timed[int(np.argmax(least))]
    comparison = compare(samples_ns[slow], samples_ns[fast])
    if comparison.low <= least_ratio:
        return "speed_not_apart"
    return SpeedChoice(fast, slow, comparison.ratio, comparison.low, comparison.high)
