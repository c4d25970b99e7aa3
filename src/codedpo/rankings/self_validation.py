"""The paper's score: solutions and tests vouch for each other, iteration by iteration.

Source: Zhang et al., CodeDPO, arXiv 2410.05605: every solution and every test starts with 1, then
``score_t(c) = (1 - d) score_{t-1}(c) + d * sum of score_{t-1}(test) over the tests that c passes``, and the same
for tests with the roles swapped; d = 0.85, 10 iterations.

The paper calls this a PageRank, but nothing is divided by degrees: it is a lazy power iteration whose limit is
HITS (``hits``), so that d and the number of iterations hardly change the order once there are about five.
Scores grow by some power of the largest singular value (10^8.6 for 15 x 15 ones); one common factor for
solutions and tests is taken out in time, which changes neither order nor ratios.

Good where most tests are valid. Its weakness: a trivial test collects every vote, and a large group of wrong
solutions that agree outvotes a small right one. Cost: iterations x (S + T)^2 multiplications.
"""

import math
from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from codedpo.core.errors import ConfigError
from codedpo.core.matrix import PassMatrix
from codedpo.rankings.scores import Scores, scaled

Order = Literal["simultaneous", "tests_first", "solutions_first"]
"""Which side moves first within an iteration; the other side then sees the new scores."""


_ORDERS = get_args(Order)
_SAFE_DIGITS = 200
"""Decimal digits that scores may grow by before the common factor is taken out; doubles hold 308."""


def iterate(
    passed: NDArray[np.bool_], damping: float, order: Order = "simultaneous"
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Yield the raw scores of solutions [S] and tests [T] after 0, 1, 2, ... iterations, without end.

    Raw scores overflow after some hundred iterations; ``rank`` rescales them.

    Raises:
        ConfigError: ``damping`` outside (0, 1], or an unknown order.
    """
    updates = _updates(passed, damping, order)
    scores = np.ones(sum(passed.shape))
    while True:
        yield scores[: len(passed)], scores[len(passed) :]
        for update in updates:
            scores = update @ scores


def rank(
    matrix: PassMatrix,
    *,
    damping: float = 0.85,
    iterations: int = 10,
    order: Order = "simultaneous",
    trace: bool = False,
) -> Scores:
    """Score solutions and tests by ``iterations`` steps of mutual validation.

    Args:
        matrix: the task.
        damping: weight of the other side's votes, the paper's d, in (0, 1].
        iterations: number of steps; one simultaneous step orders solutions by their number of passed tests.
        order: which side moves first within a step.
        trace: also return the scaled scores after every step, for the convergence figure.

    Raises:
        ConfigError: an option outside its range.
    """
    return rank_passes(matrix.passed, damping, iterations, order, trace)


def rank_passes(
    passed: NDArray[np.bool_],
    damping: float = 0.85,
    iterations: int = 10,
    order: Order = "simultaneous",
    trace: bool = False,
) -> Scores:
    """Score a bare pass matrix [S, T]; see ``rank``."""
    if iterations < 1:
        raise ConfigError(f"rankings: iterations is {iterations}, but the score needs at least one.")
    updates = _updates(passed, damping, order)
    solutions = len(passed)
    scores = np.ones(sum(passed.shape))
    steps = [scores[:solutions]]
    growth = 2.0 + passed.size  # no score grows faster in one iteration
    between = max(1, int(_SAFE_DIGITS / math.log10(growth)))
    for iteration in range(1, iterations + 1):
        for update in updates:
            scores = update @ scores
        if iteration % between == 0:
            scores = scaled(scores)
        if trace:
            steps.append(scaled(scores[:solutions]))
    return Scores(scaled(scores[:solutions]), scaled(scores[solutions:]), np.stack(steps) if trace else None)


def _updates(passed: NDArray[np.bool_], damping: float, order: Order) -> tuple[NDArray[np.float64], ...]:
    """Return the matrices [S + T, S + T] that make one iteration when applied, in turn, to all scores."""
    _check(damping, order)
    solutions, total = len(passed), sum(passed.shape)
    votes = np.zeros((total, total))
    votes[:solutions, solutions:] = passed
    votes[solutions:, :solutions] = passed.T
    votes *= damping
    votes.flat[:: total + 1] = 1.0 - damping
    if order == "simultaneous":
        return (votes,)
    only_solutions, only_tests = np.eye(total), np.eye(total)
    only_solutions[:solutions], only_tests[solutions:] = votes[:solutions], votes[solutions:]
    return (only_tests, only_solutions) if order == "tests_first" else (only_solutions, only_tests)


def _check(damping: float, order: str) -> None:
    if not 0.0 < damping <= 1.0:
        raise ConfigError(f"rankings: damping is {damping}, but it must lie in (0, 1]; the paper has 0.85")
    if order not in _ORDERS:
        raise ConfigError(f"rankings: order is {order!r}, but it must be one of {', '.join(_ORDERS)}")
