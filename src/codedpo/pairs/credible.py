"""Whose speed may be compared: the credible tests of a task, and the solutions that pass all of them.

Source: CodeDPO, arXiv 2410.05605: the credible test set is the tests passed by the best-scored solution; among
the solutions that pass all of them run time is measured.
"""

import numpy as np
from numpy.typing import NDArray

from codedpo.core.matrix import NO_CALL, PassMatrix


def credible_tests(matrix: PassMatrix, best: int) -> NDArray[np.bool_]:
    """Return [T]: the tests that the best-scored solution, at position ``best``, passes."""
    credible: NDArray[np.bool_] = matrix.passed[best].copy()
    return credible


def comparable_solutions(matrix: PassMatrix, best: int) -> NDArray[np.bool_]:
    """Return [S]: the solutions that pass every credible test; none where no test is credible.

    On calls whose value is known they must also return the best one's value: a credible test that asserts less
    than equality would let another value through.
    """
    credible = credible_tests(matrix, best)
    if not credible.any():
        return np.zeros(len(matrix.solution_ids), dtype=bool)
    comparable: NDArray[np.bool_] = np.asarray(matrix.passed[:, credible].all(axis=1))
    calls = np.unique(matrix.call_of_test[credible])
    calls = calls[calls != NO_CALL]
    comparable &= (matrix.values[:, calls] == matrix.values[best, calls]).all(axis=1)
    return comparable
