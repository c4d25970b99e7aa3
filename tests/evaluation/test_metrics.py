import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codedpo.evaluation import metrics


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int, int]:
    samples = draw(st.integers(1, 9))
    return samples, draw(st.integers(0, samples)), draw(st.integers(1, samples))


@given(counts())
def test_pass_at_k_equals_the_share_of_draws_that_hold_a_pass(case: tuple[int, int, int]) -> None:
    samples, passed, k = case
    draws = list(itertools.combinations(range(samples), k))
    share = Fraction(sum(any(index < passed for index in draw) for draw in draws), len(draws))
    assert metrics.pass_at_k(samples, passed, k) == pytest.approx(float(share))


@given(counts())
def test_pass_at_k_equals_the_product_form_of_the_official_harness(case: tuple[int, int, int]) -> None:
    samples, passed, k = case
    failed = samples - passed
    product = 1.0 if failed < k else 1.0 - np.prod(1.0 - k / np.arange(failed + 1, samples + 1))
    assert metrics.pass_at_k(samples, passed, k) == pytest.approx(product)


def test_pass_at_k_of_many_samples_does_not_overflow() -> None:
    assert 0 < metrics.pass_at_k(5000, 1, 100) == pytest.approx(0.02)


@pytest.mark.parametrize("case", [(5, 6, 1), (5, -1, 1), (5, 2, 6), (5, 2, 0)])
def test_pass_at_k_refuses_what_is_not_defined(case: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="not defined"):
        metrics.pass_at_k(*case)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.data())
def test_eff_at_k_is_the_mean_best_score_of_all_draws(scores: list[float], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(scores)))
    best = [max(draw) for draw in itertools.combinations(scores, k)]
    assert metrics.eff_at_k(scores, k) == pytest.approx(sum(best) / len(best))


@given(counts())
def test_eff_at_k_of_right_and_wrong_alone_is_pass_at_k(case: tuple[int, int, int]) -> None:
    samples, passed, k = case
    scores = [1.0] * passed + [0.0] * (samples - passed)
    assert metrics.eff_at_k(scores, k) == pytest.approx(metrics.pass_at_k(samples, passed, k))


def test_eff_at_k_of_too_few_samples_is_not_defined() -> None:
    with pytest.raises(ValueError, match="not defined"):
        metrics.eff_at_k([0.5], 2)


def test_wilson_interval_of_a_published_example() -> None:
    # Newcombe 1998, Statistics in Medicine 17:857, table I: 81 of 263 and 0 of 20.
    assert metrics.wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert metrics.wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_bounds_solve_the_score_equation(case: tuple[int, int]) -> None:
    passed, count = case
    share = passed / count
    low, high = metrics.wilson_interval(passed, count)
    assert 0 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1
    for bound in (low, high):
        distance = abs(share - bound)
        assert distance == pytest.approx(
            metrics.NORMAL_975 * math.sqrt(bound * (1 - bound) / count), abs=1e-7
        )


def test_bootstrap_interval_agrees_with_the_normal_interval_on_a_large_sample() -> None:
    values = np.random.default_rng(1).random(2000)
    low, high = metrics.bootstrap_interval(list(values), np.random.default_rng(2))
    half = 1.96 * values.std() / math.sqrt(values.size)
    assert low == pytest.approx(values.mean() - half, abs=half / 10)
    assert high == pytest.approx(values.mean() + half, abs=half / 10)


def test_bootstrap_interval_is_seeded() -> None:
    values = [0.0, 1.0, 1.0, 0.5]
    first, second = (metrics.bootstrap_interval(values, np.random.default_rng(7)) for _ in range(2))
    assert first == second


def test_bootstrap_needs_a_value() -> None:
    with pytest.raises(ValueError, match="at least one"):
        metrics.bootstrap_interval([], np.random.default_rng(0))


def test_pass_rate_uses_wilson_where_each_problem_is_solved_or_not_and_bootstrap_otherwise() -> None:
    one = metrics.pass_rate([1, 0, 1, 1], [1] * 4, 1, np.random.default_rng(0))
    assert (one.low, one.high) == metrics.wilson_interval(3, 4)
    assert (one.value, one.count) == (0.75, 4)
    several = metrics.pass_rate([0, 2, 4, 1], [4] * 4, 2, np.random.default_rng(0))
    assert several.value == pytest.approx((0 + 5 / 6 + 1 + 1 / 2) / 4)
    assert several.low <= several.value <= several.high
    whole = metrics.pass_rate([2, 0, 2, 2], [2] * 4, 1, np.random.default_rng(0))
    assert (whole.low, whole.high) == metrics.wilson_interval(3, 4)


def test_all_problems_solved_in_all_samples_leave_the_rate_open() -> None:
    found = metrics.pass_rate([2] * 10, [2] * 10, 1, np.random.default_rng(0))
    assert (found.value, found.low, found.high) == pytest.approx((1, 0.7225, 1), abs=1e-4)


@given(st.integers(1, 300))
def test_the_interval_of_equal_values_is_that_of_shares_at_their_ends(count: int) -> None:
    def interval(value: float, least: float) -> tuple[float, float]:
        return metrics.mean_interval([value] * count, np.random.default_rng(0), least)

    assert interval(1, 0) == pytest.approx(metrics.wilson_interval(count, count))
    assert interval(0, 0) == pytest.approx(metrics.wilson_interval(0, count))
    assert interval(0, -1) == pytest.approx(metrics.paired_interval(0, 0, count))
    assert interval(1, -1) == pytest.approx(metrics.paired_interval(count, 0, count))
    low, high = interval(0.25, 0)
    assert 0 <= low < 0.25 < high <= 1


def test_equal_fractions_leave_rate_and_difference_open() -> None:
    random = np.random.default_rng(0)
    rate = metrics.pass_rate([1] * 20, [2] * 20, 1, random)
    assert (rate.low, rate.high) == pytest.approx((0.5 - 0.1611 / 2, 0.5 + 0.1611 / 2), abs=5e-5)
    same = metrics.paired_difference([0.5, 1 / 3] * 10, [0.5, 1 / 3] * 10, random)
    assert (same.low, same.high) == pytest.approx((-0.1611, 0.1611), abs=5e-5)
    # 1 - 2/3 and 2/3 - 1/3 are the same gain, written with another last digit.
    gain = metrics.paired_difference([1 / 3, 2 / 3] * 10, [2 / 3, 1.0] * 10, random)
    assert gain.low < 0.2 < gain.value < 0.4 < gain.high


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_paired_difference_of_exchanged_models_is_the_negative(pairs: list[tuple[bool, bool]]) -> None:
    before, after = ([float(pair[side]) for pair in pairs] for side in (0, 1))
    forward = metrics.paired_difference(before, after, np.random.default_rng(3))
    backward = metrics.paired_difference(after, before, np.random.default_rng(3))
    assert (forward.value, forward.low, forward.high) == pytest.approx(
        (-backward.value, -backward.high, -backward.low)
    )
    assert forward.value == pytest.approx(np.mean(after) - np.mean(before))


def test_paired_interval_of_a_published_example() -> None:
    # Airway hyper-responsiveness of 21 children (Bentur et al. 2009), the score interval of Fagerland et al. 2014,
    # Statistics in Medicine 33:2850.
    assert metrics.paired_interval(1, 7, 21) == pytest.approx((-0.517, -0.026), abs=5e-4)


CHANGES = st.integers(1, 300).flatmap(
    lambda count: st.integers(0, count).flatmap(
        lambda gained: st.tuples(st.just(gained), st.integers(0, count - gained), st.just(count))
    )
)


@given(CHANGES)
def test_paired_interval_holds_the_difference_and_excludes_0_where_mcnemars_score_does(
    case: tuple[int, int, int],
) -> None:
    gained, lost, count = case
    low, high = metrics.paired_interval(gained, lost, count)
    assert -1 <= low < high <= 1
    assert low - 1e-9 <= (gained - lost) / count <= high + 1e-9
    statistic = abs(gained - lost) / math.sqrt(gained + lost) if gained + lost else 0.0
    if abs(statistic - metrics.NORMAL_975) > 1e-6:
        assert (low > 0 or high < 0) == (statistic > metrics.NORMAL_975)


def test_no_changed_problem_still_leaves_a_difference_open() -> None:
    same = [1.0, 0.0] * 82
    found = metrics.paired_difference(same, same, np.random.default_rng(0))
    assert found.value == 0
    assert -0.03 < found.low < -0.02
    assert 0.02 < found.high < 0.03


def test_paired_difference_needs_the_same_problems() -> None:
    with pytest.raises(ValueError):
        metrics.paired_difference([1.0], [1.0, 0.0], np.random.default_rng(0))


@given(st.integers(0, 10), st.integers(0, 10))
def test_mcnemar_equals_counting_every_sequence_of_gains_and_losses(gained: int, lost: int) -> None:
    changed = gained + lost
    extreme = abs(gained - lost)
    sequences = (abs(2 * bin(bits).count("1") - changed) for bits in range(2 ** min(changed, 14)))
    if changed <= 14:
        expected = sum(distance >= extreme for distance in sequences) / 2**changed
        assert metrics.mcnemar_p(gained, lost) == pytest.approx(min(1.0, expected))
    assert metrics.mcnemar_p(gained, lost) == metrics.mcnemar_p(lost, gained)
