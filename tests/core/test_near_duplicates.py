import gzip
import json
import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codedpo.core.near_duplicates import near_duplicates

WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]


def shingles(text: str, size: int) -> set[tuple[str, ...]]:
    tokens = re.findall(r"\w+|[^\w\s]", text.lower())
    return {tuple(tokens[start : start + size]) for start in range(max(1, len(tokens) - size + 1))}


def jaccard(left: set[tuple[str, ...]], right: set[tuple[str, ...]]) -> float:
    return len(left & right) / len(left | right)


def all_pairs(texts: list[str], threshold: float, size: int = 5) -> list[int | None]:
    """The definition: every text against every kept one."""
    kept: list[int] = []
    result: list[int | None] = []
    for position, text in enumerate(texts):
        found = [(jaccard(shingles(text, size), shingles(texts[other], size)), -other) for other in kept]
        best, negative = max(found, default=(-1.0, 0))
        result.append(-negative if best >= threshold else None)
        if best < threshold:
            kept.append(position)
    return result


def test_white_space_and_case_do_not_count() -> None:
    assert near_duplicates(["def f(x):\n    return x", "DEF f( x ):   return x"], 0.99) == [None, 0]


def test_points_at_the_earlier_text_that_was_kept() -> None:
    base = " ".join(WORDS)
    assert near_duplicates([base, "something else entirely here now", base, base], 0.7) == [None, None, 0, 0]


def test_no_texts_and_empty_texts() -> None:
    assert near_duplicates([], 0.5) == []
    assert near_duplicates(["", "one two", ""], 0.5) == [None, None, 0]


@settings(max_examples=200)
@given(
    st.lists(st.lists(st.sampled_from(WORDS[:4]), max_size=14).map(" ".join), max_size=14),
    st.sampled_from([0.01, 0.2, 0.5, 0.6, 2 / 3, 0.7, 0.9, 1.0]),
    st.integers(1, 5),
)
def test_no_pair_is_missed_at_any_threshold(texts: list[str], threshold: float, size: int) -> None:
    assert near_duplicates(texts, threshold, size) == all_pairs(texts, threshold, size)


@settings(max_examples=50)
@given(
    st.lists(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join), max_size=12),
    st.sampled_from([0.5, 0.7, 0.9]),
)
def test_equal_texts_are_always_found_and_originals_never_dropped(texts: list[str], threshold: float) -> None:
    result = near_duplicates(texts, threshold)
    assert all(other is None or result[other] is None for other in result)
    assert all(other is None or other < position for position, other in enumerate(result))
    kept = [text for text, other in zip(texts, result, strict=True) if other is None]
    assert len(set(kept)) == len(kept)


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.9])
def test_agrees_with_the_definition_on_edited_real_code(data_folder: Path, threshold: float) -> None:
    with gzip.open(data_folder / "mbpp" / "mbpp.jsonl.gz", "rt") as file:
        codes = [json.loads(line)["code"] for line in file][:150]
    random.seed(0)
    edited = []
    for code in codes[:60]:
        lines = code.split("\n")
        lines.insert(random.randrange(len(lines)), "    value = 1")
        edited.append("\n".join(lines))
    texts = codes + edited
    assert near_duplicates(texts, threshold) == all_pairs(texts, threshold)
