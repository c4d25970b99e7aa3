"""The border: what a value becomes, what a hostile reply can do, and that digests agree with ``==``."""

import math
import pickle
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codedpo.sandbox.values import OpaqueError, digest, read, same, write

_atoms = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False)
    | st.fractions()
    | st.decimals(allow_nan=False, min_value=-(10**9), max_value=10**9)
)
_hashable = st.recursive(
    _atoms, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=5
)
plain = st.recursive(
    _atoms,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner)
        | st.dictionaries(_hashable, inner, max_size=3)
        | st.sets(_hashable, max_size=3)
    ),
    max_leaves=10,
)


@given(plain)
def test_a_plain_value_comes_back_as_it_was(value: object) -> None:
    back = read(write(value))
    assert back == value
    assert type(back) is type(value)
    assert digest(back) == digest(value)


@given(plain, plain)
def test_values_have_one_digest_where_they_are_equal(a: object, b: object) -> None:
    assert (digest(a) == digest(b)) == (a == b)


@given(st.integers(-5, 5), st.integers(-5, 5))
def test_numbers_of_every_type_share_their_digest(a: int, b: int) -> None:
    kinds = (int, float, complex, Decimal, Fraction)
    assert len({digest(kind(a)) for kind in kinds}) == 1
    assert (digest([kinds[a % 5](a)]) == digest([kinds[b % 5](b)])) == (a == b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (0.1, Decimal("0.1")),
        ([1], (1,)),
        ("1", 1),
        ("a", b"a"),
        ([], {}),
        (set(), []),
        ([[1], 2], [[1, 2]]),
        (["ab"], ["a", "b"]),
        (math.nan, None),
        (math.inf, -math.inf),
    ],
)
def test_different_values_differ(a: object, b: object) -> None:
    assert digest(a) != digest(b)


def test_nan_equals_itself_in_a_digest_only() -> None:
    assert digest([math.nan]) == digest([float("nan")])
    assert not same(math.nan, math.nan)


Point = namedtuple("Point", "x y")


class Colour(IntEnum):
    RED = 3


@pytest.mark.parametrize(
    ("value", "becomes"),
    [
        (Counter("aab"), {"a": 2, "b": 1}),
        (defaultdict(int, a=1), {"a": 1}),
        (OrderedDict(a=1), {"a": 1}),
        (Point(1, [2]), (1, [2])),
        (Colour.RED, 3),
        (deque([1, 2]), deque([1, 2])),
        (Decimal("1.5"), Decimal("1.5")),
        (Fraction(1, 3), Fraction(1, 3)),
        (range(3), range(3)),
        (bytearray(b"a"), bytearray(b"a")),
        (1 + 2j, 1 + 2j),
        (date(2020, 1, 2), date(2020, 1, 2)),
        (datetime(2020, 1, 2, 3), datetime(2020, 1, 2, 3)),
        (timedelta(1, 2, 3), timedelta(1, 2, 3)),
        ({"a": [Counter("a")]}, {"a": [{"a": 1}]}),
    ],
)
def test_what_compares_like_a_plain_type_is_written_as_one(value: object, becomes: object) -> None:
    back = read(write(value))
    assert back == becomes
    assert digest(back) == digest(becomes)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (range(0, 3, 2), range(0, 4, 2)),
        (range(0), range(3, 3)),
        (range(5, 6, 3), range(5, 6)),
        (range(10**30), range(0, 10**30, 1)),
        (datetime(2020, 1, 2, fold=1), datetime(2020, 1, 2)),
        (Decimal("12E+20000"), Decimal("1.20E+20001")),
    ],
)
def test_equal_values_share_a_digest(one: object, other: object) -> None:
    assert one == other
    assert digest(one) == digest(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (range(3), range(1, 4)),
        (range(0, 4, 2), range(0, 4)),
        (range(0), range(1)),
        (datetime(2020, 1, 2), date(2020, 1, 2)),
        (Decimal(f"1{'0' * 40}1E+20000"), Decimal(f"1{'0' * 40}2E+20000")),
        (Decimal("-1E+20000"), Decimal("1E+20000")),
    ],
)
def test_different_values_have_different_digests(one: object, other: object) -> None:
    assert one != other
    assert digest(one) != digest(other)


class Equal:
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


class EqualNumber(int):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


class Named(Enum):
    A = 1


@pytest.mark.parametrize(
    "value", [Equal(), EqualNumber(1), Named.A, len, Equal, iter([1]), (n for n in [1]), [Equal()]]
)
def test_objects_are_opaque(value: object) -> None:
    with pytest.raises(OpaqueError):
        write(value)


class Runs:
    def __reduce__(self) -> object:
        return print, ("ran",)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"nonsense",
        pickle.dumps(Runs()),
        pickle.dumps(print),
        pickle.dumps(pickle.Unpickler),
        b"\x80\x05\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.",
        b"\x80\x05cos\nsystem\n\x8c\x02ls\x85R.",
        b"\x80\x05\x8c\x0bcollections\x8c\x05deque\x93\x8c\x08builtins\x8c\x05range\x93J\xff\xff\xff\x7f\x85R\x85R.",
        b"\x80\x05\x8c\x09fractions\x8c\x08Fraction\x93\x8c\x0b1e999999999\x85R.",
        b"\x80\x05\x8c\x08builtins\x8c\x09bytearray\x93J\xff\xff\xff\x7f\x85R.",
        b"\x80\x05\x82\x01.",
        b"\x80\x05r\xff\xff\xff\xff",
    ],
)
def test_a_hostile_reply_is_refused(payload: bytes) -> None:
    with pytest.raises(OpaqueError):
        digest(read(payload))


def test_values_that_would_never_end_have_no_digest() -> None:
    endless: list[object] = []
    endless.append(endless)
    shared: list[object] = [1]
    for _ in range(100):
        shared = [shared, shared]
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (endless, shared, deep):
        with pytest.raises(OpaqueError):
            digest(value)
    while deep:  # Freed one by one: the interpreter's own recursion would be as deep.
        deep = deep.pop()  # type: ignore[assignment]


def test_tolerance_is_that_of_evalplus() -> None:
    assert same([1.0 + 1e-7, "a"], [1.0, "a"], 1e-6)
    assert same(3, 3.0000001, 1e-6)
    assert not same([1.1], [1.0], 1e-6)
    assert not same([1.0, 2.0], [1.0], 1e-6)
    assert not same((1.0 + 1e-7,), [1.0], 1e-6)
    assert same({"a": 1.0 + 1e-8}, {"a": 1.0}, 1e-6)
    assert not same(1.0 + 1e-12, 1.0)
