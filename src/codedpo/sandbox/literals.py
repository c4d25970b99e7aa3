"""Evaluates an expectation that a model wrote, without running it: literals and a few plain constructors."""

import ast
import math
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from codedpo.sandbox.values import MADE_OF

_LONGEST_REPETITION = 1_000_000
_LARGEST_POWER_BITS = 100_000

_NAMES: dict[str, Any] = {
    "inf": math.inf,
    "nan": math.nan,
    "math.inf": math.inf,
    "math.nan": math.nan,
    "math.pi": math.pi,
}
_CALLS: dict[str, Callable[..., Any]] = {
    **{kind.__name__: kind for kind in (dict, list, tuple, set, frozenset, float, int, str)},
    **MADE_OF,
    "range": lambda *bounds: _short(range(*bounds)),
    "set": set,
    "frozenset": frozenset,
    "deque": deque,
    "Counter": lambda *items: dict(Counter(*items)),
    "OrderedDict": dict,
}


def _short(numbers: range) -> range:
    return numbers if len(numbers) <= _LONGEST_REPETITION else _refuse("a long range")


def _refuse(what: str) -> Any:
    raise ValueError(f"{what} is not part of a literal expectation")


def _multiply(a: Any, b: Any) -> Any:
    for sequence, times in ((a, b), (b, a)):
        if isinstance(sequence, str | bytes | list | tuple):
            if not isinstance(times, int) or times * max(1, len(sequence)) > _LONGEST_REPETITION:
                _refuse("a repetition")
            return sequence * times
    return a * b


def _power(a: Any, b: Any) -> Any:
    if isinstance(a, int) and isinstance(b, int) and a.bit_length() * b > _LARGEST_POWER_BITS:
        _refuse("a power")
    return a**b if isinstance(a, int | float) and isinstance(b, int | float) else _refuse("a power")


_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Mod: lambda a, b: a % b if isinstance(a, int | float) else _refuse("%"),
    ast.Mult: _multiply,
    ast.Pow: _power,
}


def evaluate(expression: str) -> Any:
    """Return the value of an expectation without running it.

    Literals, arithmetic of numbers, repetition and joining of sequences, ``inf`` and ``nan``, and calls of
    plain constructors (``set()``, ``float('inf')``, ``Counter({...})``, ``Fraction(1, 3)``, ...).

    Raises:
        ValueError: the expression is anything else.
    """
    try:
        return _evaluate(ast.parse(expression.strip(), mode="eval").body)
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None


def _evaluate(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=value):
            return value if value is not ... else _refuse("an ellipsis")
        case ast.List(elts=items):
            return [_evaluate(item) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_evaluate(item) for item in items)
        case ast.Set(elts=items):
            return {_evaluate(item) for item in items}
        case ast.Dict(keys=keys, values=items):
            return {
                _evaluate(key) if key else _refuse("**"): _evaluate(item)
                for key, item in zip(keys, items, strict=True)
            }
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluate(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return +_evaluate(operand)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _evaluate(operand)
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _BINARY:
            return _BINARY[type(operator)](_evaluate(left), _evaluate(right))
        case ast.Name() | ast.Attribute() if ast.unparse(node) in _NAMES:
            return _NAMES[ast.unparse(node)]
        case ast.Call(
            func=ast.Name(id=name)
            | ast.Attribute(
                value=ast.Name(id="collections" | "datetime" | "decimal" | "fractions"), attr=name
            ),
            args=arguments,
            keywords=[],
        ) if name in _CALLS:
            return _CALLS[name](*(_evaluate(argument) for argument in arguments))
    return _refuse(type(node).__name__)
