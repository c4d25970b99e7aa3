import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codedpo.pairs.correctness import Choice, best_against_worst

LOADED = np.ones(4, dtype=bool)


def ranks_of(scores):
    return np.array([1 + sum(other > score for other in scores) for score in scores])


def test_first_of_the_best_against_first_of_the_worst():
    choice = best_against_worst(np.array([0.2, 1.0, 1.0, 0.2]), np.array([3, 1, 1, 3]), LOADED)
    assert choice == Choice(1, 0)


@pytest.mark.parametrize(
    ("scores", "loaded", "margin", "reason"),
    [
        ([1.0, 1.0, 1.0, 1.0], [1, 1, 1, 1], 0.0, "all_equal"),
        ([0.0, 0.0, 0.0, 0.0], [1, 1, 1, 1], 0.0, "all_equal"),
        ([1.0, 0.0, 0.0, 0.0], [0, 1, 1, 1], 0.0, "all_equal"),
        ([1.0, 0.5, 0.0, 0.0], [1, 0, 0, 0], 0.0, "too_few_load"),
        ([1.0, 0.9, 0.9, 0.9], [1, 1, 1, 1], 0.4, "below_margin"),
    ],
)
def test_a_task_without_pair_says_why(scores, loaded, margin, reason):
    loaded = np.array(loaded, dtype=bool)
    assert best_against_worst(np.array(scores), ranks_of(scores), loaded, margin) == reason


def test_code_that_does_not_load_is_on_neither_side():
    scores = [0.0, 0.3, 1.0, 0.6]
    loaded = np.array([False, True, True, True])
    assert best_against_worst(np.array(scores), ranks_of(scores), loaded) == Choice(2, 1)


@given(st.lists(st.sampled_from([0.0, 0.3, 0.7, 1.0]), min_size=2, max_size=9))
def test_nothing_beats_the_chosen_nor_loses_to_the_rejected(values):
    scores = np.array(values)
    choice = best_against_worst(scores, ranks_of(values), np.ones(len(scores), dtype=bool))
    if isinstance(choice, str):
        assert len(set(values)) == 1
    else:
        assert (scores[choice.chosen], scores[choice.rejected]) == (scores.max(), scores.min())
