from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codedpo.llm.token_checks import TokenizedPair, pair_problem, preamble_of, tokenize_pair

END = 0


def characters(messages: Sequence[dict[str, str]], add_generation_prompt: bool) -> list[int]:
    """Tokenize by character: a role header, the content, an end token."""
    tokens = []
    for message in messages:
        tokens += [ord(message["role"][0].upper()), *map(ord, message["content"]), END]
    return [*tokens, ord("A")] if add_generation_prompt else tokens


def merging(messages: Sequence[dict[str, str]], add_generation_prompt: bool) -> list[int]:
    """Tokenize so that the last prompt token merges with the first token of an answer."""
    tokens = characters(messages, add_generation_prompt)
    return tokens if add_generation_prompt else [*tokens[:3], -1, *tokens[5:]]


def test_the_prompt_is_shared_and_the_answers_follow_it() -> None:
    pair = tokenize_pair(characters, "ab", "c", "de")
    assert pair.prompt == (ord("U"), ord("a"), ord("b"), END, ord("A"))
    assert pair.chosen == (ord("c"), END)
    assert pair.rejected == (ord("d"), ord("e"), END)
    assert pair.length == 8
    assert pair_problem(pair, 8, {END}) is None


@pytest.mark.parametrize(
    ("chosen", "rejected", "max_length", "reason"),
    [
        ("same", "same", 100, "equal_tokens"),
        ("x", "y", 5, "prompt_fills_window"),
        ("prefix one", "prefix two", 12, "equal_after_truncation"),
        ("prefix one", "prefix two", 13, "too_long"),
        ("one\0", "two", 100, "end_token_repeated"),
        ("one", "two\0", 100, "end_token_repeated"),
    ],
)
def test_reasons(chosen: str, rejected: str, max_length: int, reason: str) -> None:
    problem = pair_problem(tokenize_pair(characters, "ab", chosen, rejected), max_length, {END})
    assert problem is not None
    assert problem.reason == reason
    assert problem.detail


def test_an_answer_without_tokens_is_refused() -> None:
    problem = pair_problem(TokenizedPair((1, 2), (), (3,), 0), 10)
    assert problem is not None
    assert problem.reason == "empty_answer"


def test_a_prompt_that_merges_with_the_answer_is_refused() -> None:
    problem = pair_problem(tokenize_pair(merging, "ab", "cc", "dd"), 100)
    assert problem is not None
    assert problem.reason == "token_boundary"


@given(st.text("ab", max_size=6), st.text("ab", max_size=6), st.integers(1, 20))
def test_an_accepted_pair_differs_inside_the_window(chosen: str, rejected: str, max_length: int) -> None:
    pair = tokenize_pair(characters, "q", chosen, rejected)
    if pair_problem(pair, max_length, {END}) is None:
        assert pair.length <= max_length
        assert pair.chosen[: max_length - len(pair.prompt)] != pair.rejected[: max_length - len(pair.prompt)]


def with_system_prompt(messages: Sequence[dict[str, str]], add_generation_prompt: bool) -> list[int]:
    return [*map(ord, "S be good"), END, *characters(messages, add_generation_prompt)]


def test_a_prompt_that_was_rendered_before_is_refused() -> None:
    preamble = preamble_of(with_system_prompt)
    assert preamble == (*map(ord, "S be good"), END, ord("U"))
    clean = tokenize_pair(with_system_prompt, "ab", "c", "d")
    assert pair_problem(clean, 100, {END}, preamble) is None
    twice = tokenize_pair(with_system_prompt, "S be good\0Uab", "c", "d")
    problem = pair_problem(twice, 100, {END}, preamble)
    assert problem is not None
    assert problem.reason == "system_prompt_repeated"
