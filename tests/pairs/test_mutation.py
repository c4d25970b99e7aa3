import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codedpo.pairs.mutation import LONGEST_CALL, MUTATIONS, grown

PLAIN = st.recursive(
    st.integers(-99, 99) | st.booleans() | st.text(max_size=3) | st.floats(-9, 9) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("call", "mutation", "expected"),
    [
        ("f([1, 3, 2], 5)", "repeated", "f([1, 3, 2, 1, 3, 2], 5)"),
        ("f([1, 3, 2], 5)", "continued", "f([1, 3, 2, 4, 6, 5], 5)"),
        ("f([1, 3, 2], 5)", "multiplied", "f([1, 3, 2], 10)"),
        ("f('(())')", "repeated", "f('(())(())')"),
        ("f(['a', 'b'])", "continued", "f(['a', 'b', 'a1', 'b1'])"),
        ("f([[1, 2], [3]])", "continued", "f([[1, 2], [3], [4, 5], [6]])"),
        ("f({'a': 1, 'b': 2})", "repeated", "f({'a': 1, 'b': 2, 'a1': 1, 'b1': 2})"),
        ("f({1, 2})", "continued", "f({1, 2, 3, 4})"),
        ("f(([1], 7))", "repeated", "f(([1, 1], 7))"),
        ("sorted(f([2, 1]))", "repeated", "sorted(f([2, 1, 2, 1]))"),
        ("f(n=-3, flag=True)", "multiplied", "f(n=-6, flag=True)"),
        ("f([x, 1], [1])", "repeated", "f([x, 1], [1, 1])"),
    ],
)
def test_arguments_grow_by_type(call, mutation, expected):
    assert grown(call, mutation, 2) == expected


@pytest.mark.parametrize(
    ("call", "mutation"),
    [
        ("f(5)", "repeated"),
        ("f([])", "repeated"),
        ("f('ab')", "continued"),
        ("f(True, None, 1.5)", "multiplied"),
        ("f(0)", "multiplied"),
        (f"f({10**4299})", "multiplied"),
        (f"f({'ab' * 100!r})", "repeated"),
    ],
)
def test_what_cannot_grow_is_none(call, mutation):
    assert grown(call, mutation, LONGEST_CALL // 100) is None


@given(st.lists(PLAIN, max_size=3), st.sampled_from(sorted(MUTATIONS)), st.integers(2, 5))
def test_types_stay_and_the_original_is_the_beginning(arguments, mutation, factor):
    text = grown(f"f({', '.join(map(repr, arguments))})", mutation, factor)
    if text is None:
        return
    call = ast.parse(text, mode="eval").body
    for before, node in zip(arguments, call.args, strict=True):
        after = ast.literal_eval(node)
        assert type(after) is type(before)
        if mutation != "multiplied" and isinstance(before, list | str):
            assert after[: len(before)] == before
            assert len(after) in (len(before), len(before) * factor)


@given(st.lists(st.integers(), unique=True, min_size=1, max_size=5), st.integers(2, 5))
def test_continued_lists_stay_sorted_and_distinct(values, factor):
    call = ast.parse(grown(f"f({sorted(values)})", "continued", factor), mode="eval").body
    after = ast.literal_eval(call.args[0])
    assert after == sorted(set(after))
    assert len(after) == len(values) * factor
