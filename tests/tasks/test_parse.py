import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codedpo.core.records import Seed
from codedpo.tasks.parse import NoTask, ParsedTask, parse_concepts, parse_task

SEED = Seed(
    "s000001", "g", "def g(): ...", "boltons==25.0.0", "boltons/iterutils.py", "bsd-3-clause", 1, 9, "0" * 64
)
WORDS = "Given a list of integers, return the sum of those that are even, 0 for an empty list."


@pytest.mark.parametrize(
    "text",
    [
        f"Task: {WORDS}\nSignature: def even_sum(values: list[int]) -> int:",
        f"**Task:** {WORDS}\n\n**Signature:** `def even_sum(values: list[int]) -> int:`",
        f"### Task\nTask: {WORDS}\n\nSignature:\n```python\ndef even_sum(values: List[int]) -> int:\n    pass\n```",
        f"Exercise: {WORDS}\nSignature: def even_sum(values: list[int]) -> int",
        f"{WORDS}\n\n```python\nfrom typing import *\ndef even_sum(\n    values: List[int],\n) -> int:\n    ...\n```",
        f"<think>def x(): hm</think>Task: {WORDS}\nSignature: def even_sum(values: list[int]) -> int: # the sum",
    ],
)
def test_a_task_in_several_wordings(text: str) -> None:
    parsed = parse_task(text, SEED)
    assert isinstance(parsed, ParsedTask), parsed
    assert parsed.signature == "def even_sum(values: list[int]) -> int:"
    assert parsed.entry_point == "even_sum"
    assert parsed.prompt == WORDS


@pytest.mark.parametrize(
    ("hint", "plain"),
    [
        ("a: Optional[Dict[str, List[int]]] = None", "a: dict[str, list[int]] | None=None"),
        ("a: Union[int, str], b=3", "a: int | str, b=3"),
        ("a: np.ndarray, b: Callable[[int], int]", "a, b"),
        ("a: Any, *, b: bool", "a, *, b: bool"),
    ],
)
def test_hints_need_no_import(hint: str, plain: str) -> None:
    parsed = parse_task(f"Task: {WORDS}\nSignature: def even_sum({hint}) -> Tuple[int, ...]:", SEED)
    assert isinstance(parsed, ParsedTask), parsed
    assert parsed.signature == f"def even_sum({plain}) -> tuple[int, ...]:"


@pytest.mark.parametrize(
    ("words", "signature", "reason"),
    [
        (WORDS, "", "no_signature"),
        (WORDS, "def even_sum(values", "bad_signature"),
        ("Sum.", "def even_sum(values):", "task_too_short"),
        (WORDS * 20, "def even_sum(values):", "task_too_long"),
        (WORDS, "def sum(values):", "bad_entry_point"),
        (WORDS, "def even_sum():", "bad_parameters"),
        (WORDS, "def even_sum(self, values):", "bad_parameters"),
        (WORDS, "def even_sum(*values):", "bad_parameters"),
        (WORDS, "def even_sum(values) -> None:", "returns_nothing"),
        (WORDS + " Do it as in boltons.", "def even_sum(values):", "refers_to_seed"),
        (WORDS + " Use the given code.", "def even_sum(values):", "refers_to_seed"),
        (WORDS + " Print the sum.", "def even_sum(values):", "not_testable"),
        (WORDS + " Read it from a file.", "def even_sum(values):", "not_testable"),
    ],
)
def test_what_is_no_task_says_why(words: str, signature: str, reason: str) -> None:
    parsed = parse_task(f"Task: {words}\nSignature: {signature}", SEED)
    assert isinstance(parsed, NoTask)
    assert parsed.reason == reason


@pytest.mark.parametrize(
    ("text", "concepts"),
    [
        ("Concepts: Recursion, string slicing.", ["recursion", "string slicing"]),
        ("**Concepts:** sets; sets; loops", ["sets", "loops"]),
        ("1. recursion\n2. dictionaries\n", ["recursion", "dictionaries"]),
        ("Concepts: Functions, Data Structures, Algorithms.", []),
        ("Concepts: Python, sets, and loops", ["sets", "loops"]),
        ("", []),
        ("Concepts:", []),
    ],
)
def test_concepts(text: str, concepts: list[str]) -> None:
    assert parse_concepts(text) == concepts


@given(st.text(alphabet="Task: def f(x, y)->int[]\n`*#=,.abcSignature", max_size=150))
def test_any_text_is_parsed_without_an_error(text: str) -> None:
    parsed = parse_task(text, SEED)
    if isinstance(parsed, ParsedTask):
        ast.parse(f"{parsed.signature}\n    pass")
    assert all(parse_concepts(text))
