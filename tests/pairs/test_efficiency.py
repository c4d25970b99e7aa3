from dataclasses import dataclass

import pytest

from codedpo.pairs.efficiency import fast_against_slow


@dataclass(frozen=True)
class Plain:
    ratio: float
    low: float
    high: float


def smallest_paired_ratio(first, second):
    ratios = sorted(a / b for a, b in zip(first, second, strict=True))
    return Plain(ratios[len(ratios) // 2], ratios[0], ratios[-1])


def test_fastest_against_slowest():
    choice = fast_against_slow([[20.0, 21], [], [10.0, 10], [15.0, 14]], smallest_paired_ratio)
    assert (choice.chosen, choice.rejected) == (2, 0)
    assert choice.ratio == pytest.approx(2.1)
    assert (choice.low, choice.high) == (pytest.approx(2.0), pytest.approx(2.1))


@pytest.mark.parametrize(
    ("samples", "least", "reason"),
    [
        ([[10.0, 10], [10.5, 12]], 1.1, "speed_not_apart"),
        ([[10.0, 10], [20.0, 20]], 2.0, "speed_not_apart"),
        ([[10.0, 10], []], 1.1, "too_few_timed"),
        ([], 1.1, "too_few_timed"),
    ],
)
def test_no_claim_below_the_least_ratio(samples, least, reason):
    assert fast_against_slow(samples, smallest_paired_ratio, least) == reason
