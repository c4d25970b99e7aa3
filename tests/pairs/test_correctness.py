import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codedpo.core.matrix import PassMatrix
from codedpo.pairs.correctness import Choice, Rule, correctness_choices
from codedpo.pairs.scored import Scored


def task_of(scores, loaded=None, passed=None, codes=None, probabilities=None):
    count = len(scores)
    matrix = PassMatrix.of_passes(
        np.eye(count, dtype=bool) if passed is None else np.array(passed, dtype=bool)
    )
    matrix.loaded[:] = True if loaded is None else loaded
    return Scored(
        matrix,
        np.array(scores),
        np.array([1 + sum(other > score for other in scores) for score in scores]),
        tuple(codes or (f"code {number}" for number in range(count))),
        "prompt",
        None if probabilities is None else np.array(probabilities),
    )


def test_first_of_the_best_against_first_of_the_worst():
    assert correctness_choices(task_of([0.2, 1.0, 1.0, 0.2]), Rule()) == [Choice(1, 0)]


@pytest.mark.parametrize(
    ("scores", "loaded", "rule", "reason"),
    [
        ([1.0, 1.0, 1.0, 1.0], None, Rule(), "all_equal"),
        ([0.0, 0.0, 0.0, 0.0], None, Rule(), "all_equal"),
        ([1.0, 0.0, 0.0, 0.0], [0, 1, 1, 1], Rule(), "all_equal"),
        ([1.0, 0.5, 0.0, 0.0], [1, 0, 0, 0], Rule(), "too_few_load"),
        ([1.0, 0.9, 0.9, 0.9], None, Rule(least_margin=0.4), "below_margin"),
        ([0.7, 0.1, 0.1, 0.1], None, Rule(least_chosen_score=0.8), "low_score"),
        ([0.7, 0.0, 0.1, 0.1], None, Rule(least_rejected_score=0.01), "low_score"),
    ],
)
def test_a_task_without_pair_says_why(scores, loaded, rule, reason):
    assert correctness_choices(task_of(scores, loaded), rule) == reason


def test_code_that_does_not_load_is_on_neither_side():
    task = task_of([0.0, 0.3, 1.0, 0.6], [False, True, True, True])
    assert correctness_choices(task, Rule()) == [Choice(2, 1)]


def test_hardest_is_the_largest_other_group():
    passed = [[1, 1], [0, 1], [0, 1], [0, 0]]
    task = task_of([1.0, 0.5, 0.5, 0.1], passed=passed)
    assert correctness_choices(task, Rule(rejected="hardest")) == [Choice(0, 1)]
    assert correctness_choices(task, Rule(rejected="worst")) == [Choice(0, 3)]


def test_several_pairs_never_repeat_a_program():
    task = task_of([1.0, 1.0, 0.9, 0.2, 0.1], codes=["a", "a", "b", "c", "d"])
    assert correctness_choices(task, Rule(most_pairs=3)) == [Choice(0, 4), Choice(2, 3)]
    assert correctness_choices(task, Rule(most_pairs=1)) == [Choice(0, 4)]


def test_the_worst_that_is_another_program_is_rejected():
    task = task_of([1.0, 0.9, 0.5, 0.2, 0.0], codes=["a", "b", "c", "b", "a"])
    assert correctness_choices(task, Rule()) == [Choice(0, 3)]
    assert correctness_choices(task, Rule(most_pairs=2)) == [Choice(0, 3), Choice(1, 2)]


@pytest.mark.parametrize("codes", [["a", "a", "a"], ["a", "b", "c"]])
def test_a_task_that_leaves_nothing_to_reject_is_all_equal(codes):
    alike = task_of([1.0, 0.5, 0.0], passed=[[1, 0]] * 3, codes=codes)
    assert correctness_choices(alike, Rule(rejected="hardest")) == "all_equal"
    if len(set(codes)) == 1:
        assert correctness_choices(alike, Rule()) == "all_equal"


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.3, 0.7, 1.0]), st.sampled_from("abc")), min_size=2, max_size=9
    ),
    st.sampled_from(["worst", "hardest"]),
    st.integers(1, 4),
)
def test_both_sides_are_never_one_program_and_a_task_never_leaves_nothing(solutions, rejected, most_pairs):
    scores, codes = zip(*solutions, strict=True)
    choices = correctness_choices(task_of(scores, codes=codes), Rule(rejected, most_pairs))
    assert choices
    if not isinstance(choices, str):
        assert all(codes[one.chosen] != codes[one.rejected] for one in choices)


def test_probability_of_a_pair_needs_both_sides():
    task = task_of([1.0, 0.5], probabilities=[0.8, 0.25])
    (choice,) = correctness_choices(task, Rule())
    assert choice.probability == pytest.approx(0.6)
    assert correctness_choices(task, Rule(least_probability=0.7)) == "low_probability"


@given(st.lists(st.sampled_from([0.0, 0.3, 0.7, 1.0]), min_size=2, max_size=9), st.integers(1, 4))
def test_nothing_beats_the_chosen_nor_loses_to_the_rejected(values, most_pairs):
    choices = correctness_choices(task_of(values), Rule(most_pairs=most_pairs))
    if isinstance(choices, str):
        assert len(set(values)) == 1
    else:
        assert (values[choices[0].chosen], values[choices[0].rejected]) == (max(values), min(values))
        assert all(values[one.chosen] > values[one.rejected] for one in choices)
        assert len(choices) <= most_pairs
