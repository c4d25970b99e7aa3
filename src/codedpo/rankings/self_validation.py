"""The paper's score: solutions and tests vouch for each other, iteration by iteration.

Source: Zhang et al., CodeDPO, arXiv 2410.05605: every solution and every test starts with 1, then
``score_t(c) = (1 - d) score_{t-1}(c) + d * sum of score_{t-1}(test) over the tests that c passes``, and the same
for tests with the roles swapped; d = 0.85, 10 iterations.

The paper calls this a PageRank, but nothing is divided by degrees: it is a lazy power iteration whose limit is
HITS (``hits.py``), so that d and the number of iterations hardly change the order once there are about five.
Scores grow by some power of the largest singular value (10^8.6 for 15 x 15 ones); one common factor for
solutions and tests is taken out at every step, which changes neither order nor ratios.

Good where most tests are valid. Its weakness: a trivial test collects every vote, and a large group of wrong
solutions that agree outvotes a small right one. Cost: iterations x S x T multiplications.
"""

from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from codedpo.core.errors import ConfigError
from codedpo.core.matrix import PassMatrix
from codedpo.rankings.scores import Scores, scaled

Order = Literal["simultaneous", "tests_first", "solutions_first"]
"""Which side moves first within an iteration; the other side then sees the new scores."""


def iterate(
    passed: NDArray[np.bool_], damping: float, order: Order = "simultaneous"
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Yield the raw scores of solutions [S] and tests [T] after 0, 1, 2, ... iterations, without end.

    Raw scores overflow after some hundred iterations; ``rank`` rescales them.

    Raises:
        ConfigError: ``damping`` outside (0, 1], or an unknown order.
    """
    _check(damping, order)
    links = passed.astype(np.float64)
    solutions, tests = np.ones(links.shape[0]), np.ones(links.shape[1])
    while True:
        yield solutions, tests
        solutions, tests = _step(links, solutions, tests, damping, order)


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
    _check(damping, order)
    if iterations < 1:
        raise ConfigError(f"rankings: iterations is {iterations}, but the score needs at least one")
    links = matrix.passed.astype(np.float64)
    solutions, tests = np.ones(links.shape[0]), np.ones(links.shape[1])
    steps = [scaled(solutions)]
    for _ in range(iterations):
        solutions, tests = _step(links, solutions, tests, damping, order)
        common = max(solutions.max(initial=0.0), tests.max(initial=0.0)) or 1.0
        solutions, tests = solutions / common, tests / common
        if trace:
            steps.append(scaled(solutions))
    return Scores(scaled(solutions), scaled(tests), np.stack(steps) if trace else None)


def _step(
    links: NDArray[np.float64],
    solutions: NDArray[np.float64],
    tests: NDArray[np.float64],
    damping: float,
    order: Order,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    keep = 1.0 - damping
    if order == "tests_first":
        tests = keep * tests + damping * (solutions @ links)
        return keep * solutions + damping * (links @ tests), tests
    if order == "solutions_first":
        solutions = keep * solutions + damping * (links @ tests)
        return solutions, keep * tests + damping * (solutions @ links)
    return keep * solutions + damping * (links @ tests), keep * tests + damping * (solutions @ links)


def _check(damping: float, order: str) -> None:
    if not 0.0 < damping <= 1.0:
        raise ConfigError(f"rankings: damping is {damping}, but it must lie in (0, 1]; the paper has 0.85")
    if order not in get_args(Order):
        raise ConfigError(f"rankings: order is {order!r}, but it must be one of {', '.join(get_args(Order))}")
