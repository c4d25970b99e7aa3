"""Typed mutation: the same call with larger arguments of the same types. Pure functions on text.

Source of the idea: EvalPlus (arXiv 2305.01210) mutates by type to find wrong solutions; here values only grow, to
tell slow ones from fast ones.
"""

import ast
import itertools
from collections.abc import Callable, Iterator
from typing import Any

LONGEST_CALL = 200_000
"""Characters of a grown call: beyond, writing the input costs more than solving it."""


def repeated(value: Any, factor: int) -> Any:
    """Repeat sequences: a range of values, a balanced string stay what they are."""
    match value:
        case str() | bytes() | list():
            return value * factor
        case tuple():
            return tuple(repeated(item, factor) for item in value)
        case set() | dict():
            return continued(value, factor)
    return value


def continued(value: Any, factor: int) -> Any:
    """Continue lists, sets and dicts with shifted copies: sorted stays sorted, distinct stays distinct."""
    if not isinstance(value, list | set | dict):
        return tuple(continued(item, factor) for item in value) if isinstance(value, tuple) else value
    numbers = _numbers(list(value))
    step = (max(numbers) - min(numbers) + 1) if numbers else 1
    if isinstance(value, dict):
        return {_shifted(key, copy, step): item for copy in range(factor) for key, item in value.items()}
    copies = [_shifted(item, copy, step) for copy in range(factor) for item in value]
    return copies if isinstance(value, list) else set(copies)


def multiplied(value: Any, factor: int) -> Any:
    """Multiply integers that are arguments themselves: counts, limits, positions."""
    return value * factor if isinstance(value, int) and not isinstance(value, bool) else value


MUTATIONS: dict[str, Callable[[Any, int], Any]] = {
    "repeated": repeated,
    "continued": continued,
    "multiplied": multiplied,
}


def grown(call: str, mutation: str, factor: int) -> str | None:
    """Return the call with its literal arguments grown.

    Args:
        call: an expression, ``sorted(f([2, 1], 3))``; literal arguments of every call in it grow.
        mutation: a key of ``MUTATIONS``.
        factor: how much larger.

    Returns:
        The grown expression, or None where nothing in it grows or it would be longer than ``LONGEST_CALL``.
    """
    if mutation != "multiplied" and len(call) * factor > LONGEST_CALL:
        return None
    text = call.encode()
    starts = [0, *itertools.accumulate(len(line) for line in text.splitlines(keepends=True))]
    # The grown text is spliced in, since parsing and writing it again would take longer than running it.
    pieces, end = [], 0
    for node in sorted(_literal_arguments(call), key=lambda node: (node.lineno, node.col_offset)):
        value = ast.literal_eval(node)
        try:
            larger = repr(MUTATIONS[mutation](value, factor))
        except (ValueError, TypeError):  # cannot be hashed, shifted or written
            continue
        if larger != repr(value):
            assert node.end_lineno
            assert node.end_col_offset
            pieces += [text[end : starts[node.lineno - 1] + node.col_offset], larger.encode()]
            end = starts[node.end_lineno - 1] + node.end_col_offset
    result = b"".join([*pieces, text[end:]]).decode()
    return result if pieces and len(result) <= LONGEST_CALL else None


def _literal_arguments(call: str) -> Iterator[ast.expr]:
    """Yield the arguments of all calls in an expression that are literals; no two of them overlap."""
    for node in ast.walk(ast.parse(call, mode="eval")):
        if isinstance(node, ast.Call):
            for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
                try:
                    ast.literal_eval(argument)
                except (ValueError, TypeError):
                    continue
                yield argument


def _numbers(values: list[Any]) -> list[int | float]:
    found: list[int | float] = []
    for value in values:
        if isinstance(value, list | tuple):
            found += _numbers(list(value))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found.append(value)
    return found


def _shifted(value: Any, copy: int, step: float) -> Any:
    if copy == 0 or isinstance(value, bool):
        return value
    match value:
        case int() | float():
            return value + copy * step
        case str():
            return f"{value}{copy}"
        case list() | tuple():
            return type(value)(_shifted(item, copy, step) for item in value)
    return value
