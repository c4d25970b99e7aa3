"""What a ranking strategy returns, and what is read off it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TIE = 1e-9
"""Scores of one task closer than this are equal: the order of additions must not decide a pair."""


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Scores of one task: higher is better, the best solution has 1 unless all score 0."""

    solutions: NDArray[np.float64]
    """[S]"""
    tests: NDArray[np.float64] | None = None
    """[T], largest 1; None where the strategy does not judge tests."""
    trace: NDArray[np.float64] | None = None
    """[iterations + 1, S], each row scaled to largest 1; None where the strategy does not iterate."""
    probabilities: NDArray[np.float64] | None = None
    """[S]: calibrated probability that the solution is right; None where the strategy does not estimate it."""


def scaled(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide by the largest score, so that a task's scores can be compared with another's; zeros stay zeros."""
    top = float(scores.max(initial=0.0))
    result: NDArray[np.float64] = scores / top if top > 0 else np.zeros_like(scores, dtype=np.float64)
    return result


def ranks(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rank solutions from 1 (best); scores within ``TIE`` of their neighbour share the best rank of their group."""
    order = np.argsort(-scores, kind="stable")
    result = np.empty(len(scores), dtype=np.int64)
    rank = 1
    for position, solution in enumerate(order):
        if position and scores[order[position - 1]] - scores[solution] > TIE:
            rank = position + 1
        result[solution] = rank
    return result


def order_changes(before: NDArray[np.float64], after: NDArray[np.float64]) -> int:
    """Count the pairs of solutions whose order (better, equal, worse) differs between two score vectors."""

    def signs(scores: NDArray[np.float64]) -> NDArray[np.float64]:
        difference = scores[:, None] - scores[None, :]
        return np.sign(np.where(np.abs(difference) <= TIE, 0.0, difference))

    return int((np.triu(signs(before) != signs(after), 1)).sum())
