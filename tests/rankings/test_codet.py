from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from codedpo.core.matrix import PassMatrix
from codedpo.rankings.codet import rank

passes = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=8))


def by_sets(passed):
    """CodeT from its paper's words: consensus sets of solutions and the tests that all of them pass."""
    consensus = defaultdict(set)
    for solution, row in enumerate(passed):
        consensus[frozenset(test for test, ok in enumerate(row) if ok)].add(solution)
    score = {}
    for tests, solutions in consensus.items():
        for solution in solutions:
            score[solution] = len(solutions) ** 0.5 * len(tests)
    return [score[solution] for solution in range(len(passed))]


@given(passes)
def test_equals_a_second_implementation(passed):
    expected = np.array(by_sets(passed))
    scores = rank(PassMatrix.of_passes(passed)).solutions
    assert scores * expected.max() == pytest.approx(expected)


@given(passes, st.randoms(use_true_random=False))
def test_does_not_depend_on_order(passed, random):
    rows = list(range(len(passed)))
    random.shuffle(rows)
    assert rank(PassMatrix.of_passes(passed[rows])).solutions == pytest.approx(
        rank(PassMatrix.of_passes(passed)).solutions[rows]
    )


def test_a_large_group_beats_a_lone_solution_that_passes_slightly_more():
    passed = np.array([[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 1]], dtype=bool)
    assert rank(PassMatrix.of_passes(passed)).solutions.argmax() == 0
