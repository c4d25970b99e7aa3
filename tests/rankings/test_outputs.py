import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from codedpo.core.matrix import PassMatrix
from codedpo.rankings import self_validation
from codedpo.rankings.outputs import agreement, agreement_times_self_validation, minimum_bayes_risk

values = arrays(np.int64, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.integers(-1, 3))


def matrix_of(returned, seed=0):
    passed = np.random.default_rng(seed).random(returned.shape) < 0.5
    matrix = PassMatrix.of_passes(passed & (returned >= 0))
    return dataclasses.replace(matrix, values=returned, call_of_test=np.arange(returned.shape[1]))


def agreement_by_counting(returned):
    return [
        sum(
            Fraction(sum(other[call] == value for other in returned.tolist()), len(returned))
            for call, value in enumerate(row)
            if value >= 0
        )
        / len(row)
        for row in returned.tolist()
    ]


@given(values)
def test_agreement_equals_counting(returned):
    expected = np.array([float(one) for one in agreement_by_counting(returned)])
    assert agreement(matrix_of(returned)).solutions * expected.max() == pytest.approx(expected)


@given(values)
def test_minimum_bayes_risk_equals_counting(returned):
    rows = [tuple(row) for row in returned.tolist()]
    expected = np.array([float(rows.count(row)) if max(row) >= 0 else 0.0 for row in rows])
    assert minimum_bayes_risk(matrix_of(returned)).solutions * expected.max() == pytest.approx(expected)


@given(values)
def test_product_is_the_product(returned):
    matrix = matrix_of(returned)
    product = agreement(matrix).solutions * self_validation.rank(matrix).solutions
    scores = agreement_times_self_validation(matrix).solutions
    assert scores * product.max() == pytest.approx(product)


def test_large_codes_count_like_small_ones():
    small = np.array([[0, 1], [0, 2], [3, 1]])
    assert list(agreement(matrix_of(small)).solutions) == list(agreement(matrix_of(small * 10**12)).solutions)


def test_without_values_the_product_falls_back_to_the_papers_score():
    matrix = PassMatrix.of_passes(np.array([[1, 1], [0, 1]], dtype=bool))
    assert list(agreement_times_self_validation(matrix).solutions) == list(
        self_validation.rank(matrix).solutions
    )
