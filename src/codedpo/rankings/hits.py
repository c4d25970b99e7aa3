"""The limit of self-validation: hubs and authorities."""

import numpy as np
from numpy.typing import NDArray

from codedpo.core.matrix import PassMatrix
from codedpo.rankings.scores import Scores, scaled


def rank(matrix: PassMatrix) -> Scores:
    """Score by the leading singular vectors of the pass matrix.

    Formula: with A = U diag(s) V^T, solutions get ``sum_k u_k (sum(u_k) + sum(v_k))`` over the largest singular
    value and those equal to it: what the simultaneous self-validation from all ones tends to, for every damping.

    Source: Kleinberg, Authoritative sources in a hyperlinked environment, 1999. Good as a check that iterations
    were enough; the scores of a smaller block that shares no test with the largest one vanish in it, so with
    disconnected groups finite iterations keep an order that the limit loses. Cost: one singular value decomposition.
    """
    links = matrix.passed.astype(np.float64)
    if not links.any():
        return Scores(np.zeros(links.shape[0]), np.zeros(links.shape[1]))
    left, singular, right = np.linalg.svd(links, full_matrices=False)
    top = singular >= singular[0] * (1 - 1e-9)
    left, right = left[:, top], right[top].T
    weight = left.sum(axis=0) + right.sum(axis=0)
    return Scores(_positive(left @ weight), _positive(right @ weight))


def _positive(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Clear the rounding of zeros, which are exact in the limit."""
    result = scaled(scores)
    return np.where(result < 1e-9, 0.0, result)
