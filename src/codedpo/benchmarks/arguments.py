"""Arguments of the ``+`` benchmarks: JSON values -> the Python values that the functions take -> expressions.

JSON has no tuples, sets or complex numbers. Which MBPP+ problems take them, and where, is known from the
benchmark (evalplus 0.3.1); HumanEval+ takes lists throughout.
"""

import math
from collections.abc import Callable
from typing import Any

Convert = Callable[[Any], Any]


def _tuples(value: list[Any]) -> list[Any]:
    return [tuple(item) for item in value]


def _tuple_of_tuples(value: list[Any]) -> tuple[Any, ...]:
    return tuple(tuple(item) if isinstance(item, list) else item for item in value)


def _deep_tuple(value: Any) -> Any:
    return tuple(_deep_tuple(item) for item in value) if isinstance(value, list) else value


def _tuple_values(value: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(item) for key, item in value.items()}


_EVERY: tuple[tuple[Convert, str], ...] = (
    (tuple, "2 116 132 143 222 261 273 394 399 421 424 429 470 560 579 596 616 630 726 740 744 809"),
    (_tuples, "63 64 70 94 120 237 272 299 400 409 417 438 473 614 780"),
    (_tuple_of_tuples, "259 278 401 445"),
    (_deep_tuple, "580 615 791"),
    (complex, "252"),
)
"""Conversion of every argument, and the MBPP numbers that need it."""
_FIRST: tuple[tuple[Convert, str], ...] = (
    (_tuples, "75 413 444 753"),
    (tuple, "250 307 405 446 617 720 763 808"),
    (_tuple_values, "722"),
    (float, "124"),
)
_SECOND: tuple[tuple[Convert, str], ...] = ((tuple, "106 750"), (complex, "124"))


def _by_number(table: tuple[tuple[Convert, str], ...]) -> dict[str, Convert]:
    return {f"Mbpp/{number}": convert for convert, numbers in table for number in numbers.split()}


_EVERY_BY_ID, _FIRST_BY_ID, _SECOND_BY_ID = map(_by_number, (_EVERY, _FIRST, _SECOND))


def restore(problem_id: str, inputs: list[list[Any]]) -> list[list[Any]]:
    """Give the argument lists of a problem the types that its function takes."""

    def one(values: list[Any]) -> list[Any]:
        if every := _EVERY_BY_ID.get(problem_id):
            return [every(value) for value in values]
        converted = list(values)
        for position, table in enumerate((_FIRST_BY_ID, _SECOND_BY_ID)):
            if problem_id in table and position < len(converted):
                converted[position] = table[problem_id](converted[position])
        return converted

    return [one(values) for values in inputs]


def expression(value: Any) -> str:
    """Write a value as a Python expression that needs no import; ``eval`` of it gives the value back."""
    match value:
        case float() if not math.isfinite(value):
            return f"float('{value}')"
        case complex():
            return f"complex({expression(value.real)}, {expression(value.imag)})"
        case list():
            return f"[{', '.join(map(expression, value))}]"
        case tuple():
            return f"({', '.join(map(expression, value))}{',' if len(value) == 1 else ''})"
        case dict():
            return f"{{{', '.join(f'{expression(key)}: {expression(item)}' for key, item in value.items())}}}"
        case set() if value:
            return f"{{{', '.join(map(expression, sorted(value, key=repr)))}}}"
    return repr(value)
