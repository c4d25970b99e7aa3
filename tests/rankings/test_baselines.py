import numpy as np

from codedpo.core.matrix import PassMatrix
from codedpo.rankings.baselines import all_tests_filter, number_passed, random

MATRIX = PassMatrix.of_passes(np.array([[1, 1, 1], [1, 0, 1], [0, 0, 0]], dtype=bool), "t000001")


def test_number_passed():
    assert list(number_passed(MATRIX).solutions) == [1, 2 / 3, 0]


def test_all_tests_filter():
    assert list(all_tests_filter(MATRIX).solutions) == [1, 0, 0]


def test_no_test_lets_nothing_through_the_filter():
    assert list(all_tests_filter(PassMatrix.of_passes(np.zeros((2, 0), dtype=bool))).solutions) == [0, 0]


def test_random_depends_on_seed_and_task_alone():
    other = PassMatrix.of_passes(~MATRIX.passed, "t000001")
    assert list(random(MATRIX).solutions) == list(random(other).solutions)
    assert list(random(MATRIX).solutions) != list(random(MATRIX, seed=1).solutions)
    assert list(random(MATRIX).solutions) != list(
        random(PassMatrix.of_passes(MATRIX.passed, "t000002")).solutions
    )
