"""Which two solutions of a task make a correctness pair."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Choice:
    """Positions of the preferred and the dispreferred solution within a task."""

    chosen: int
    rejected: int


def best_against_worst(
    scores: NDArray[np.float64],
    ranks: NDArray[np.int64],
    loaded: NDArray[np.bool_],
    least_margin: float = 0.0,
) -> Choice | str:
    """Pair the highest-ranked with the lowest-ranked solution that loads, or say why there is no pair.

    Among equal ranks the first solution is taken: solutions are independent samples, so the first of a group is
    a random draw of it, and the same one in every run. Code that does not load is left out on both sides:
    telling it from code that runs is no lesson.

    Args:
        scores: [S], scaled so that the best solution has 1.
        ranks: [S], 1 is best, ties share a rank.
        loaded: [S].
        least_margin: least difference of the two scores.

    Returns:
        The choice, or ``too_few_load`` (fewer than two solutions load), ``all_equal`` (no order between those
        that load), or ``below_margin``.
    """
    usable = np.flatnonzero(loaded)
    if len(usable) < 2:
        return "too_few_load"
    best, worst = int(usable[ranks[usable].argmin()]), int(usable[ranks[usable].argmax()])
    if ranks[best] == ranks[worst]:
        return "all_equal"
    if scores[best] - scores[worst] < least_margin:
        return "below_margin"
    return Choice(chosen=best, rejected=worst)
