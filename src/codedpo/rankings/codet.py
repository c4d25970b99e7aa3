"""CodeT: large groups of solutions that pass many tests."""

import numpy as np

from codedpo.core.behaviour import groups
from codedpo.core.matrix import PassMatrix
from codedpo.rankings.scores import Scores, scaled


def rank(matrix: PassMatrix) -> Scores:
    """Score a solution by ``sqrt(solutions that pass exactly the same tests) * tests passed``.

    Source: Chen et al., CodeT: Code Generation with Generated Tests, arXiv 2207.10397, section 2.2 (the square
    root dampens the number of solutions). Good where right solutions are many: it needs exact agreement, so one
    wrong cell splits a group. Cost: S x T.
    """
    labels, sizes = groups(matrix.passed)
    return Scores(scaled(np.sqrt(sizes[labels]) * matrix.passed.sum(axis=1)))
