from dataclasses import replace

import pytest

from codedpo.core.records import Pair, PairKind
from codedpo.pairs.preflight import preflight

PAIR = Pair(
    pair_id="t000001/correctness/0",
    task_id="t000001",
    kind=PairKind.CORRECTNESS.value,
    prompt="Double a number.",
    chosen="```python\ndef f(x):\n    return 2 * x\n```",
    rejected="```python\ndef f(x):\n    return x ** 2 if x else None\n```",
    chosen_solution_id="t000001/s00",
    rejected_solution_id="t000001/s01",
    chosen_score=1.0,
    rejected_score=0.1,
    chosen_cpu_ns=0.0,
    rejected_cpu_ns=0.0,
    speed_ratio=0.0,
    speed_ratio_low=0.0,
    split="train",
)


def count_of(result, name):
    (count,) = [finding.count for finding in result.findings if finding.name == name]
    return count


def by_letters(messages, add_generation_prompt):
    """A chat template with one token a character: 1 opens a turn, 2 ends it."""
    tokens = []
    for message in messages:
        tokens += [1, *message["content"].encode(), 2]
    return [*tokens, 1] if add_generation_prompt else tokens


def test_a_good_pair_has_no_finding():
    result = preflight([PAIR], by_letters, end_tokens={2})
    assert not result.is_blocking
    assert all(finding.count == 0 for finding in result.findings)
    assert result.kinds == {"correctness": 1}
    assert result.chosen_longer == 0.0
    assert any("1 correctness" in line for line in result.lines())


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("identical", [replace(PAIR, rejected=PAIR.chosen.replace("2 * x", "2 * x  \n"))]),
        ("duplicate", [PAIR, PAIR]),
        ("contradiction", [PAIR, replace(PAIR, chosen=PAIR.rejected, rejected=PAIR.chosen)]),
    ],
)
def test_what_must_go(name, others):
    result = preflight(others)
    assert count_of(result, name) == 1
    assert result.is_blocking
    assert any(name in line and "must go" in line for line in result.lines())


def test_another_kind_may_prefer_the_other_way_round():
    other = replace(PAIR, chosen=PAIR.rejected, rejected=PAIR.chosen, kind=PairKind.EFFICIENCY.value)
    assert not preflight([PAIR, other]).is_blocking


def test_nearly_identical_is_only_flagged():
    long = PAIR.chosen.replace("return", "# double it, as the task says\n    return" * 1) + "x" * 200
    result = preflight([replace(PAIR, chosen=long, rejected=long[:-1] + "y")])
    assert count_of(result, "nearly_identical") == 1
    assert not result.is_blocking


@pytest.mark.parametrize(
    ("max_length", "name"), [(10, "prompt_fills_window"), (40, "equal_after_truncation"), (62, "too_long")]
)
def test_the_window(max_length, name):
    assert count_of(preflight([PAIR], by_letters, max_length), name) == 1


def test_an_end_token_inside_an_answer():
    result = preflight([replace(PAIR, chosen=PAIR.chosen + "\x02")], by_letters, end_tokens={2})
    assert count_of(result, "end_token_repeated") == 1


def test_length_bias():
    assert preflight([PAIR, replace(PAIR, chosen=PAIR.rejected, rejected=PAIR.chosen)]).chosen_longer == 0.5


def test_no_pairs():
    result = preflight([])
    assert (result.pairs, result.chosen_longer, result.is_blocking) == (0, 0.5, False)
