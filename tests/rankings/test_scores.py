import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from codedpo.rankings.scores import order_changes, ranks, scaled

vectors = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=8).map(np.array)


def test_equal_scores_share_the_best_rank():
    assert list(ranks(np.array([0.5, 1.0, 0.5 + 1e-12, 0.1]))) == [2, 1, 2, 4]


@given(vectors)
def test_rank_is_one_more_than_the_number_of_better_solutions(scores):
    assert list(ranks(scores)) == [1 + int((scores > score).sum()) for score in scores]


def test_scaling_leaves_zeros():
    assert list(scaled(np.array([0.0, 0.0]))) == [0, 0]
    assert list(scaled(np.array([1.0, 4.0]))) == [0.25, 1]


@given(vectors)
def test_a_reversed_order_changes_every_pair_that_was_not_tied(scores):
    ties = sum(a == b for i, a in enumerate(scores) for b in scores[i + 1 :])
    pairs = len(scores) * (len(scores) - 1) // 2
    assert order_changes(scores, scores) == 0
    assert order_changes(scores, -scores) == pairs - ties
