from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from codedpo.core.errors import ConfigError
from codedpo.core.matrix import PassMatrix
from codedpo.rankings.baselines import number_passed
from codedpo.rankings.scores import ranks
from codedpo.rankings.self_validation import iterate, rank

# code-1 passes two tests, one of them shared with one other solution (the graph of the article's figure)
FIGURE = np.array([[True, True], [False, True]])

passes = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=9))
orders = st.sampled_from(["simultaneous", "tests_first", "solutions_first"])
dampings = st.sampled_from([0.1, 0.5, 0.85, 1.0])


@pytest.mark.parametrize(
    ("damping", "order", "golden"),
    [(0.5, "tests_first", [1, 1.75, 2.6875]), (0.85, "simultaneous", [1, 1.85, 2.70])],
)
def test_golden_sequences_of_the_article_figure(damping, order, golden):
    raw = [solutions[0] for solutions, _ in islice(iterate(FIGURE, damping, order), 3)]
    assert raw == pytest.approx(golden, abs=0.005)


@given(passes, dampings, orders, st.randoms(use_true_random=False))
def test_scores_do_not_depend_on_the_order_of_solutions_and_tests(passed, damping, order, random):
    rows, columns = list(range(passed.shape[0])), list(range(passed.shape[1]))
    random.shuffle(rows)
    random.shuffle(columns)
    scores = rank(PassMatrix.of_passes(passed), damping=damping, order=order)
    shuffled = rank(PassMatrix.of_passes(passed[np.ix_(rows, columns)]), damping=damping, order=order)
    assert shuffled.solutions == pytest.approx(scores.solutions[rows], abs=1e-9)
    assert shuffled.tests == pytest.approx(scores.tests[columns], abs=1e-9)


@given(passes, dampings, orders)
def test_rescaling_changes_neither_order_nor_ratios_of_the_raw_score(passed, damping, order):
    raw_solutions, raw_tests = next(islice(iterate(passed, damping, order), 10, None))
    scores = rank(PassMatrix.of_passes(passed), damping=damping, order=order, iterations=10)
    assert scores.solutions * raw_solutions.max() == pytest.approx(raw_solutions, rel=1e-9, abs=1e-12)
    assert scores.tests * raw_tests.max() == pytest.approx(raw_tests, rel=1e-9, abs=1e-12)


@given(passes, st.integers(2, 5))
def test_every_test_given_twice_keeps_ties_and_the_range(passed, times):
    scores = rank(PassMatrix.of_passes(np.repeat(passed, times, axis=1)), iterations=300)
    assert np.isfinite(scores.solutions).all()
    assert 0 <= scores.solutions.min() <= scores.solutions.max() <= 1


@given(passes)
def test_solutions_with_equal_passes_share_a_rank(passed):
    doubled = np.vstack([passed, passed])
    order = ranks(rank(PassMatrix.of_passes(doubled)).solutions)
    assert list(order[: len(passed)]) == list(order[len(passed) :])


@given(passes)
def test_one_simultaneous_iteration_orders_by_number_of_passed_tests(passed):
    matrix = PassMatrix.of_passes(passed)
    assert list(ranks(rank(matrix, iterations=1).solutions)) == list(
        ranks(0.15 + 0.85 * number_passed(matrix).solutions)
    )


def test_trace_has_every_iteration_and_ends_in_the_score():
    scores = rank(PassMatrix.of_passes(FIGURE), iterations=4, trace=True)
    assert scores.trace is not None
    assert scores.trace.shape == (5, 2)
    assert list(scores.trace[0]) == [1, 1]
    assert list(scores.trace[-1]) == list(scores.solutions)


def test_order_of_update_changes_the_score():
    matrix = PassMatrix.of_passes(np.array([[1, 1, 0], [0, 1, 1], [0, 0, 1]], dtype=bool))
    results = {
        order: tuple(np.round(rank(matrix, iterations=2, order=order).solutions, 6))
        for order in ("simultaneous", "tests_first", "solutions_first")
    }
    assert len(set(results.values())) == 3


@pytest.mark.parametrize(
    "options", [{"damping": 0.0}, {"damping": 1.5}, {"order": "sideways"}, {"iterations": 0}]
)
def test_options_outside_their_range_are_named(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        rank(PassMatrix.of_passes(FIGURE), **options)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_empty_matrices_score_without_warnings(shape):
    scores = rank(PassMatrix.of_passes(np.zeros(shape, dtype=bool)))
    assert scores.solutions.shape == (shape[0],)
