import dataclasses

import numpy as np

from codedpo.core.matrix import PassMatrix
from codedpo.pairs.credible import comparable_solutions, credible_tests

MATRIX = PassMatrix.of_passes(np.array([[1, 1, 0], [1, 1, 1], [1, 1, 0], [0, 0, 0]], dtype=bool))


def test_credible_tests_are_those_of_the_best_solution():
    assert list(credible_tests(MATRIX, 0)) == [True, True, False]
    assert list(comparable_solutions(MATRIX, 0)) == [True, True, True, False]
    assert list(comparable_solutions(MATRIX, 1)) == [False, True, False, False]


def test_another_returned_value_is_not_comparable():
    matrix = dataclasses.replace(
        MATRIX, call_of_test=np.array([0, -1, -1]), values=np.array([[7], [7], [8], [7]])
    )
    assert list(comparable_solutions(matrix, 0)) == [True, True, False, False]


def test_without_credible_tests_nothing_is_comparable():
    assert not comparable_solutions(MATRIX, 3).any()
