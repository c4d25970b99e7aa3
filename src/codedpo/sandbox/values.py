"""Plain values across the border: how a child writes them, how an oracle reads, compares and names them.

A child pickles what a call returned, plain data only. The oracle reads it with an unpickler that knows no
class of the program, compares it with Python's ``==`` and gives it a digest that agrees with ``==``:
two values have the same digest where ``==`` holds between them, except that NaN has the digest of NaN.
"""

import hashlib
import io
import math
import pickle
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

LARGEST_VALUE = 1_000_000
"""Parts of one value, counted as if nothing in it were shared; beyond that it has no digest."""


class OpaqueError(Exception):
    """A value that is not plain data, or too large to be compared."""


def _of(kind: type, *allowed: type) -> Callable[..., Any]:
    """Return a constructor that takes only small-by-construction arguments, so that a reply cannot name a bomb."""

    def make(*arguments: Any) -> Any:
        if not all(type(argument) in allowed for argument in arguments):
            raise OpaqueError(kind.__name__)
        return kind(*arguments)

    return make


MADE_OF: dict[str, Callable[..., Any]] = {
    "deque": _of(deque, list, tuple, int, type(None)),
    "Decimal": _of(Decimal, str, int),
    "Fraction": _of(Fraction, int),
    "range": _of(range, int),
    "bytearray": _of(bytearray, bytes),
    "date": _of(date, bytes, int),
    "datetime": _of(datetime, bytes, int),
    "time": _of(time, bytes, int),
    "timedelta": _of(timedelta, int),
    "set": _of(set, list, tuple),
    "frozenset": _of(frozenset, list, tuple),
    "complex": _of(complex, float, int),
}
"""The only callables that a reply may name."""
_KEPT = (deque, Decimal, Fraction, range, bytearray, date, datetime, time, timedelta, complex)
_AS_BASE: tuple[type, ...] = (dict, list, tuple, str, int, float, set, frozenset, bytes)
_MAPPINGS = (Counter, OrderedDict, defaultdict)


class _Writer(pickle.Pickler):
    """Writes exact plain types as they are, and subclasses that compare like their base as the base."""

    def reducer_override(self, value: Any) -> Any:
        kind = type(value)
        if value is _first or (isinstance(value, type) and value in _KEPT):
            return NotImplemented  # The constructor of a value below; alone it is refused by the reader.
        if kind is complex:
            return complex, (value.real, value.imag)
        if kind in _KEPT:
            return value.__reduce_ex__(5)
        if kind in _MAPPINGS:
            return _first, (dict(value),)
        if kind.__module__ == "numpy" and hasattr(kind, "item") and getattr(value, "shape", None) == ():
            return _first, (value.item(),)
        for base in _AS_BASE:
            if issubclass(kind, base) and _inherits(kind, base, "__eq__", "__hash__"):
                return _first, (_to_base(base, value),)
        raise OpaqueError(kind.__name__)


def _inherits(kind: type, base: type, *methods: str) -> bool:
    return all(getattr(kind, method) is getattr(base, method) for method in methods)


def _first(value: Any) -> Any:
    return value


def _to_base(base: Any, value: Any) -> Any:
    if base is int:
        return int.__add__(value, 0)
    if base is float:
        return float.__add__(value, 0.0)
    if base is str:
        return str.__str__(value) if type(value) is str else "".join(str.__iter__(value))
    return base(base.__iter__(value)) if base is not dict else dict(dict.items(value))


_ATOMS = frozenset((int, str, float, bool, type(None)))


def write(value: Any) -> bytes:
    """Return the pickle of a plain value.

    Raises:
        OpaqueError: a part is not plain data; its text is the name of the part's class.
    """
    if type(value) in _ATOMS:
        return pickle.dumps(value, 5)
    buffer = io.BytesIO()
    _Writer(buffer, 5).dump(value)
    return buffer.getvalue()


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module == __name__ and name == "_first":
            return _first
        if name in MADE_OF and module in ("builtins", "collections", "decimal", "fractions", "datetime"):
            return MADE_OF[name]
        raise OpaqueError(name)


def read(payload: bytes) -> Any:
    """Return the value of a pickle that may be hostile.

    Raises:
        OpaqueError: it is not a pickle of plain data.
    """
    try:
        return _Reader(io.BytesIO(payload)).load()
    except OpaqueError:
        raise
    except Exception as error:
        raise OpaqueError(type(error).__name__) from None


def same(value: Any, expected: Any, tolerance: float = 0.0) -> bool:
    """Return whether a returned value equals the expected one.

    Args:
        value: what the call returned.
        expected: plain data.
        tolerance: where above 0, numbers may differ by it absolutely or, relatively, by 1e-7 (the rule of
            evalplus: ``numpy.allclose(rtol=1e-07, atol=tolerance)``), in containers of equal shape.
    """
    try:
        if value == expected:
            return True
        return tolerance > 0 and _close(value, expected, tolerance)
    except Exception:
        return False


def _close(value: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(value, int | float | complex) and isinstance(expected, int | float | complex):
        return value == expected or abs(value - expected) <= tolerance + 1e-7 * abs(expected)
    if isinstance(value, list | tuple) and type(value) is type(expected) and len(value) == len(expected):
        return all(_close(a, b, tolerance) for a, b in zip(value, expected, strict=True))
    if isinstance(value, dict) and isinstance(expected, dict) and value.keys() == expected.keys():
        return all(_close(value[key], expected[key], tolerance) for key in value)
    return bool(value == expected)


def digest(value: Any) -> str:
    """Return 16 hex digits of the sha256 of a value's canonical form.

    Raises:
        OpaqueError: the value is too large, too deep, or contains itself.
    """
    pieces: list[bytes] = []
    try:
        _canonical(value, pieces, [LARGEST_VALUE])
    except RecursionError:
        raise OpaqueError("too_deep") from None
    return hashlib.sha256(b"".join(pieces)).hexdigest()[:16]


def _number(value: Any) -> bytes:
    """Name a number so that equal numbers of any type have one name."""
    if isinstance(value, complex):
        if value.imag != 0 or value.imag != value.imag:
            return b"c" + _number(value.real) + b"," + _number(value.imag)
        value = value.real
    if isinstance(value, int):
        return b"n%x" % value if value >= 0 else b"n-%x" % -value
    if isinstance(value, float) and not math.isfinite(value):
        return b"f" + repr(value).encode()
    if isinstance(value, Decimal) and not value.is_finite():
        return b"f" + repr(float(value) if not value.is_snan() else math.nan).encode()
    if isinstance(value, Decimal) and abs(value.adjusted()) > 10_000:
        sign, digits, exponent = value.as_tuple()
        text = "".join(map(str, digits))
        significant = text.rstrip("0")
        return f"d{sign} {significant} {int(exponent) + len(text) - len(significant)}".encode()
    top, bottom = value.as_integer_ratio()
    return _number(top) if bottom == 1 else _number(top) + b"/" + _number(bottom)


def _canonical(value: Any, pieces: list[bytes], left: list[int]) -> None:
    """Append the canonical form of a value; every form ends itself, so that no two sequences of values meet."""
    left[0] -= 1
    if left[0] < 0:
        raise OpaqueError("too_large")
    if isinstance(value, str):
        text = value.encode("utf-8", "surrogatepass")
        pieces.append(b"s%d:" % len(text) + text)
    elif isinstance(value, int | float | complex | Decimal | Fraction):
        pieces.append(_number(value) + b";")
    elif value is None:
        pieces.append(b"N;")
    elif isinstance(value, list | tuple | deque):
        pieces.append(b"(" if isinstance(value, tuple) else b"[" if isinstance(value, list) else b"q[")
        for item in value:
            _canonical(item, pieces, left)
        pieces.append(b"]")
    elif isinstance(value, set | frozenset):
        pieces += (b"{", *sorted(_apart(item, left) for item in value), b"}")
    elif isinstance(value, dict):
        pieces.append(b"m{")
        pieces += sorted(_apart(key, left) + b"=" + _apart(item, left) for key, item in value.items())
        pieces.append(b"}")
    elif isinstance(value, bytes | bytearray):
        pieces.append(b"b%d:" % len(value) + bytes(value))
    elif isinstance(value, range):
        # Ranges are equal where they hold the same numbers; first and step tell which, as far as there are some.
        count = max(0, -((value.start - value.stop) // value.step))  # len() has a largest result.
        told = (count, *([value.start] if count else ()), *([value.step] if count > 1 else ()))
        pieces.append(b"range" + b",".join(map(_number, told)) + b";")
    elif isinstance(value, datetime | time):
        pieces.append(repr(value.replace(fold=0)).encode() + b";")  # Which == does not look at.
    elif isinstance(value, date | timedelta):
        pieces.append(repr(value).encode() + b";")
    else:
        raise OpaqueError(type(value).__name__)


def _apart(value: Any, left: list[int]) -> bytes:
    pieces: list[bytes] = []
    _canonical(value, pieces, left)
    return b"".join(pieces)
