import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays

from codedpo.core.matrix import PassMatrix
from codedpo.rankings.b4 import rank
from codedpo.rankings.scores import ranks

passes = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=7))


def log_beta(a, b):
    """Beta function of whole numbers, in exact integers."""
    return math.log(math.factorial(a - 1) * math.factorial(b - 1)) - math.log(math.factorial(a + b - 1))


def by_counting(passed, wrong_prior, agreement_prior):
    """B4 from its paper's generative model, cell by cell: log posterior of each solution's group, None if no pass."""
    posterior = {}
    for pattern in {tuple(row) for row in passed}:
        if not any(pattern):
            posterior[pattern] = None
            continue
        inside = [tuple(row) == pattern for row in passed]
        cells = Counter()
        for row, belongs in zip(passed, inside, strict=True):
            for cell, test_right in zip(row, pattern, strict=True):
                if not belongs:
                    cells[bool(test_right), bool(cell)] += 1
        posterior[pattern] = (
            log_beta(sum(map(int, pattern)) + agreement_prior, len(pattern) - sum(map(int, pattern)) + 1)
            + log_beta(sum(inside) + agreement_prior, len(inside) - sum(inside) + 1)
            + log_beta(cells[True, True] + 1, cells[True, False] + 1)
            + log_beta(cells[False, True] + 1, cells[False, False] + wrong_prior)
        )
    return [posterior[tuple(row)] for row in passed]


@given(passes)
def test_equals_a_second_implementation(passed):
    expected = by_counting(passed, 100, 50)
    scores = rank(PassMatrix.of_passes(passed), wrong_prior=100, agreement_prior=50).solutions
    known = [value for value in expected if value is not None]
    for score, value in zip(scores, expected, strict=True):
        if value is None:
            assert score == 0
        else:
            assert 1 / score - 1 == pytest.approx(max(known) - value, abs=1e-6)


def test_priors_decide_whether_one_more_test_counts():
    matrix = PassMatrix.of_passes(np.array([[0, 0, 1], [1, 0, 1]], dtype=bool))
    assert list(ranks(rank(matrix, agreement_prior=1, wrong_prior=1).solutions)) == [1, 1]
    assert list(ranks(rank(matrix).solutions)) == [2, 1]


def test_no_pass_gives_no_order():
    assert list(rank(PassMatrix.of_passes(np.zeros((3, 4), dtype=bool))).solutions) == [0, 0, 0]
