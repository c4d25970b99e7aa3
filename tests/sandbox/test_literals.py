import math
from collections import deque
from datetime import date, datetime, time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codedpo.sandbox.literals import evaluate


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("-1", -1),
        (" [1, 2.5, 'a', None, True] ", [1, 2.5, "a", None, True]),
        ("(1,)", (1,)),
        ("{}", {}),
        ("{1: {2}}", {1: {2}}),
        ("set()", set()),
        ("frozenset({1})", frozenset({1})),
        ("float('inf')", math.inf),
        ("-math.inf", -math.inf),
        ("10**9 + 7", 10**9 + 7),
        ("2**31 - 1", 2**31 - 1),
        ("[0] * 3 + [1]", [0, 0, 0, 1]),
        ("'ab' * 2", "abab"),
        ("1/3", 1 / 3),
        ("not True", False),
        ("Counter({'a': 1})", {"a": 1}),
        ("collections.deque([1])", deque([1])),
        ("Fraction(1, 3)", Fraction(1, 3)),
        ("list(range(3))", [0, 1, 2]),
        ("complex(1, 2)", 1 + 2j),
        ("b'a'", b"a"),
        ("datetime.date(2020, 1, 2)", date(2020, 1, 2)),
        ("datetime.datetime(2020, 1, 2, 5)", datetime(2020, 1, 2, 5)),
        ("time(5, 30)", time(5, 30)),
    ],
)
def test_plain_expectations_are_evaluated(expression: str, value: object) -> None:
    found = evaluate(expression)
    assert found == value
    assert type(found) is type(value)


@given(st.recursive(st.integers() | st.text() | st.booleans() | st.none(), st.lists))
def test_every_literal_is_read_back(value: object) -> None:
    assert evaluate(repr(value)) == value


@pytest.mark.parametrize(
    "expression",
    [
        "f(1)",
        "x",
        "[].append",
        "datetime(2020, 1, 1, 5, 30).time()",
        "x.int(3)",
        "event.set()",
        "__import__('os')",
        "(lambda: 1)()",
        "[x for x in [1]]",
        "'a' * 10**9",
        "[0] * 10**9",
        "2 ** 10**9",
        "9**9**9**9",
        "list(range(10**9))",
        "bytearray(10**9)",
        "Fraction('1e999999999')",
        "1 if True else 2",
        "{**{}}",
        "{[]: 1}",
        "1 / 0",
        "[" * 10_000,
        "[" * 80 + "]" * 79,
        "",
        "1; 2",
        "'%9999999999d' % 1",
        "f'{1}'",
        "open('/etc/passwd')",
        "...",
    ],
)
def test_everything_else_is_refused(expression: str) -> None:
    with pytest.raises(ValueError):
        evaluate(expression)
