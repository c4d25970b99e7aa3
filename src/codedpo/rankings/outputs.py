"""Agreement of returned values: what a solution does, whatever the tests expect of it."""

import numpy as np

from codedpo.core.behaviour import groups, value_shares
from codedpo.core.matrix import NO_VALUE, PassMatrix
from codedpo.rankings import self_validation
from codedpo.rankings.scores import Scores, scaled
from codedpo.rankings.self_validation import Order


def minimum_bayes_risk(matrix: PassMatrix) -> Scores:
    """Score a solution by how many solutions return exactly the same values on every call.

    Source: Shi et al., Natural Language to Code Translation with Execution, arXiv 2204.11454 (MBR-exec), with
    equality of all values as the loss. Uses no expectation of any test, so wrong tests cannot mislead it and
    right ones cannot help. Solutions that return nothing score 0. Cost: S x C.
    """
    labels, sizes = groups(matrix.values)
    known = (matrix.values != NO_VALUE).any(axis=1)
    return Scores(scaled(np.where(known, sizes[labels] if len(labels) else 0, 0).astype(np.float64)))


def agreement(matrix: PassMatrix) -> Scores:
    """Score a solution by the mean, over calls, of the share of solutions that return its value.

    The soft form of MBR-exec: one deviating call costs that call, not the whole group. Cost: S x C.
    """
    return Scores(scaled(_agreement(matrix)))


def agreement_times_self_validation(
    matrix: PassMatrix, *, damping: float = 0.85, iterations: int = 10, order: Order = "simultaneous"
) -> Scores:
    """Multiply ``agreement`` by the paper's score.

    Good where a third of the tests are valid (the tests of a small model): a trivial test lifts everybody alike and
    the values still tell them apart. Loses to the paper's score alone where nearly all tests are valid. Cost: that
    of both.
    """
    scores = self_validation.rank(matrix, damping=damping, iterations=iterations, order=order)
    return Scores(scaled(scores.solutions * _agreement(matrix)), scores.tests)


def _agreement(matrix: PassMatrix) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    shares = value_shares(matrix.values)
    return shares.mean(axis=1) if shares.shape[1] else np.ones(len(shares))
