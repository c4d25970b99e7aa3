import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codedpo.core.matrix import PassMatrix
from codedpo.rankings import self_validation
from codedpo.rankings.consensus import evidence, rank


@st.composite
def matrices(draw):
    """Solutions that pass a test exactly if they return what it expects; tests may share a call."""
    solutions, calls, tests = draw(st.integers(1, 6)), draw(st.integers(1, 4)), draw(st.integers(1, 6))
    numbers = st.integers(-1, 2)
    values = np.array([[draw(numbers) for _ in range(calls)] for _ in range(solutions)])
    call_of_test = np.array([draw(st.integers(0, calls - 1)) for _ in range(tests)])
    expected = np.array([draw(st.integers(0, 2)) for _ in range(tests)])
    matrix = PassMatrix.of_passes(values[:, call_of_test] == expected)
    return dataclasses.replace(matrix, call_of_test=call_of_test, values=values)


def by_formula(matrix):
    """The formula of the docstring, one solution at a time."""
    rows, count = matrix.values.tolist(), len(matrix.values)
    separating = [test for test in range(matrix.passed.shape[1]) if not matrix.passed[:, test].all()]
    passed = matrix.passed[:, separating]
    validation = self_validation.rank(PassMatrix.of_passes(passed)).solutions
    best = max((row.mean() for row in passed), default=0.0) if separating else 0.0
    for row, passes, score in zip(rows, matrix.passed.tolist(), validation, strict=True):
        shares = [
            sum(other[call] == value for other in rows) / count if value >= 0 else 0.0
            for call, value in enumerate(row)
        ]
        agreement = math.fsum(shares) / len(shares) + 0.01
        group = (
            sum(a == row and b == passes for a, b in zip(rows, matrix.passed.tolist(), strict=True)) / count
        )
        odds = math.exp(2.21) * agreement**0.69 * group**1.08
        yield (score + 0.001) * (agreement**3 * group**0.25) ** (1 - best), odds / (1 + odds)


@given(matrices())
def test_equals_the_formula(matrix):
    scores, probabilities = map(np.array, zip(*by_formula(matrix), strict=True))
    ours = rank(matrix)
    assert ours.solutions == pytest.approx(scores / scores.max())
    assert ours.probabilities == pytest.approx(probabilities)


@given(matrices(), st.randoms(use_true_random=False))
def test_does_not_depend_on_the_order_of_solutions_and_tests(matrix, random):
    rows, columns = list(range(matrix.passed.shape[0])), list(range(matrix.passed.shape[1]))
    random.shuffle(rows)
    random.shuffle(columns)
    shuffled = dataclasses.replace(
        matrix,
        passed=matrix.passed[np.ix_(rows, columns)],
        call_of_test=matrix.call_of_test[columns],
        values=matrix.values[rows],
    )
    scores, moved = rank(matrix), rank(shuffled)
    assert moved.solutions == pytest.approx(scores.solutions[rows])
    assert moved.tests == pytest.approx(scores.tests[columns])
    assert moved.probabilities == pytest.approx(scores.probabilities[rows])


@given(matrices(), st.integers(1, 4))
def test_tests_that_everybody_passes_change_nothing(matrix, count):
    everybody = np.ones((len(matrix.solution_ids), count), dtype=bool)
    more = dataclasses.replace(
        matrix,
        passed=np.hstack([matrix.passed, everybody]),
        call_of_test=np.concatenate([matrix.call_of_test, np.full(count, -1)]),
        test_ids=(*matrix.test_ids, *(f"x{number}" for number in range(count))),
    )
    assert rank(more).solutions == pytest.approx(rank(matrix).solutions)
    assert list(rank(more).tests[-count:]) == [0] * count


def test_follows_the_tests_where_one_solution_passes_all_of_them():
    values = np.array([[1, 1], [2, 2], [2, 2], [2, 2]])
    matrix = dataclasses.replace(
        PassMatrix.of_passes(values == 1), call_of_test=np.array([0, 1]), values=values
    )
    assert rank(matrix).solutions.argmax() == 0


def test_powers_change_the_scores():
    values = np.array([[1, 1, 0], [1, 2, 0], [1, 2, 0], [2, 2, 3]])
    matrix = dataclasses.replace(PassMatrix.of_passes(values == 2), call_of_test=np.arange(3), values=values)
    scores = [
        tuple(rank(matrix, **options).solutions)
        for options in ({}, {"agreement_power": 1.0}, {"group_power": 1.0})
    ]
    assert len(set(scores)) == 3


@given(matrices())
def test_odds_change_the_probabilities_alone(matrix):
    plain = rank(matrix)
    other = rank(matrix, agreement_odds=2.0, group_odds=0.5, log_odds=1.0)
    assert other.solutions == pytest.approx(plain.solutions)
    logs = np.array([2.0, 0.5]) @ evidence(matrix) + 1.0
    assert other.probabilities == pytest.approx(1 / (1 + np.exp(-logs)))


@pytest.mark.parametrize("shape", [(0, 0), (0, 2), (2, 0)])
def test_empty_matrices(shape):
    assert rank(PassMatrix.of_passes(np.zeros(shape, dtype=bool))).solutions.shape == (shape[0],)
