"""Figures with their uncertainty: pass@k, intervals over problems, paired differences. Pure functions.

The problem is the unit of resampling: samples of one problem depend on each other, problems do not.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

RESAMPLES = 10_000
NORMAL_975 = 1.959963984540054
"""97.5% quantile of the standard normal distribution."""
ROUNDING = 1e-9
"""Values of problems that differ by no more are equal."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over ``count`` problems with its 95% interval."""

    value: float
    low: float
    high: float
    count: int


def pass_at_k(samples: int, passed: int, k: int) -> float:
    """Return the unbiased estimate of the probability that at least one of ``k`` samples passes.

    ``1 - C(samples - passed, k) / C(samples, k)``, in exact integers (Chen et al. 2021,
    arXiv 2107.03374, eq. 1).

    Raises:
        ValueError: ``k`` is not between 1 and ``samples``, or ``passed`` not between 0 and ``samples``.
    """
    if not 1 <= k <= samples or not 0 <= passed <= samples:
        raise ValueError(f"pass@{k} of {passed} passed among {samples} samples is not defined")
    all_draws = math.comb(samples, k)
    return (all_draws - math.comb(samples - passed, k)) / all_draws


def eff_at_k(scores: Sequence[float], k: int) -> float:
    """Return the unbiased estimate of the expected best efficiency score among ``k`` samples of a problem.

    ``sum_{r=k}^{n} C(r-1, k-1) / C(n, k) * e_(r)`` over the rising scores e_(1) ... e_(n), in exact integers (Qiu et
    al., arXiv 2406.06647, Theorem 1; with scores 0 and 1 it is ``pass_at_k``).

    Raises:
        ValueError: ``k`` is not between 1 and the number of scores.
    """
    count = len(scores)
    if not 1 <= k <= count:
        raise ValueError(f"eff@{k} of {count} samples is not defined")
    weights = (math.comb(rank, k - 1) / math.comb(count, k) for rank in range(k - 1, count))
    return sum(weight * score for weight, score in zip(weights, sorted(scores)[k - 1 :], strict=True))


def wilson_interval(passed: int, count: int) -> tuple[float, float]:
    """Return the 95% Wilson score interval of a share (Wilson 1927): never outside [0, 1], never of width 0.

    Raises:
        ValueError: ``count`` is 0 or ``passed`` is not between 0 and ``count``.
    """
    if count < 1 or not 0 <= passed <= count:
        raise ValueError(f"the share of {passed} in {count} is not defined")
    share, square = passed / count, NORMAL_975**2
    centre = (share + square / (2 * count)) / (1 + square / count)
    half = NORMAL_975 * math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    half /= 1 + square / count
    return max(0.0, centre - half), min(1.0, centre + half)


def bootstrap_interval(
    values: Sequence[float], random: np.random.Generator, statistic: Callable[..., Any] = np.mean
) -> tuple[float, float]:
    """Return the 95% percentile bootstrap interval of the mean, or median, of ``values`` (one per problem).

    It has no width where all values are equal. ``mean_interval`` has, for values that have bounds; for others, such as
    ratios of times, none can be given.

    Raises:
        ValueError: there are no values.
    """
    array = np.asarray(values, dtype=np.float64)
    if not array.size:
        raise ValueError("an interval needs at least one value")
    found = np.empty(RESAMPLES)
    block = max(1, 1_000_000 // array.size)
    for start in range(0, RESAMPLES, block):
        rows = min(block, RESAMPLES - start)
        drawn = array[random.integers(array.size, size=(rows, array.size))]
        found[start : start + rows] = statistic(drawn, axis=1)
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)


def mean_interval(
    values: Sequence[float], random: np.random.Generator, least: float = 0.0
) -> tuple[float, float]:
    """Return the 95% interval of the mean of ``values`` (one per problem), which lie between ``least`` and 1.

    It is the bootstrap's unless all values are equal, where that has no width. The share of problems with another value
    is then at most Wilson's upper bound of 0 in ``len(values)`` (a zero numerator, as in Hanley and Lippman-Hand 1983,
    JAMA 249:1743), and at worst these all have ``least``, or all 1. Where all values are 0, or all 1, this is Wilson's
    interval, and for paired differences Tango's.

    Raises:
        ValueError: there are no values.
    """
    if not values or max(values) - min(values) > ROUNDING:
        return bootstrap_interval(values, random)
    value, (_, others) = values[0], wilson_interval(0, len(values))
    # An efficiency score can lie just above 1.
    return value - others * (value - least), value + others * max(0.0, 1 - value)


def pass_rate(passed: Sequence[int], samples: Sequence[int], k: int, random: np.random.Generator) -> Estimate:
    """Return mean pass@k over problems with its interval.

    Args:
        passed: For each problem, how many of its samples passed.
        samples: For each problem, how many samples it has; at least ``k``.
        k: How many samples count as one try.
        random: Stream for the bootstrap; unused where each problem has pass@k 0 or 1, as with one sample a problem:
            the interval is Wilson's there.
    """
    values = [pass_at_k(count, right, k) for count, right in zip(samples, passed, strict=True)]
    if {*values} <= {0.0, 1.0}:
        low, high = wilson_interval(values.count(1.0), len(values))
    else:
        low, high = mean_interval(values, random)
    return Estimate(float(np.mean(values)), low, high, len(values))


def paired_difference(
    before: Sequence[float], after: Sequence[float], random: np.random.Generator
) -> Estimate:
    """Return the mean of ``after - before`` over the same problems with its interval.

    Where every value is 0 or 1 (one sample a problem) it is the score interval of paired shares, otherwise that of
    ``mean_interval``; both have a width even where no problem changed.

    Raises:
        ValueError: the two do not have the same problems.
    """
    differences = [late - early for early, late in zip(before, after, strict=True)]
    if {*before, *after} <= {0.0, 1.0}:
        low, high = paired_interval(differences.count(1.0), differences.count(-1.0), len(differences))
    else:
        low, high = mean_interval(differences, random, least=-1.0)
    return Estimate(float(np.mean(differences)), low, high, len(differences))


def paired_interval(gained: int, lost: int, count: int) -> tuple[float, float]:
    """Return the 95% score interval of ``(gained - lost) / count`` (Tango 1998, Statistics in Medicine 17:891).

    The differences that a score test would not refuse, given how many of ``count`` problems changed either way.

    Raises:
        ValueError: there is no problem, or more changed than there are.
    """
    if count < 1 or min(gained, lost) < 0 or gained + lost > count:
        raise ValueError(f"{gained} gained and {lost} lost of {count} problems are not possible")

    def score(difference: float) -> float:
        spread = difference * (1 - difference)
        middle = (2 * count - gained + lost) * difference - gained - lost
        lost_share = (math.sqrt(max(0.0, middle**2 + 8 * count * lost * spread)) - middle) / (4 * count)
        variance = count * (2 * lost_share + spread)
        return (gained - lost - count * difference) / math.sqrt(variance) if variance > 0 else 0.0

    found = (gained - lost) / count

    def bound(end: float) -> float:
        inside, outside = found, end
        for _ in range(60):
            half = (inside + outside) / 2
            inside, outside = (half, outside) if abs(score(half)) < NORMAL_975 else (inside, half)
        return (inside + outside) / 2

    return bound(-1.0), bound(1.0)


def mcnemar_p(gained: int, lost: int) -> float:
    """Return the exact two-sided p-value that gains and losses are equally likely (McNemar 1947).

    Under the null hypothesis the number of gains among the changed problems is binomial with probability 1/2.
    """
    changed = gained + lost
    tail = sum(math.comb(changed, count) for count in range(min(gained, lost) + 1))
    return min(1.0, tail / 2 ** (changed - 1)) if changed else 1.0
