"""Typed mutation: the same call with larger arguments of the same types. Pure functions on text.

Source of the idea: EvalPlus (arXiv 2305.01210) mutates by type to find wrong solutions; here values only grow, to
tell slow ones from fast ones.
"""

import ast
from collections.abc import Callable
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
    tree = ast.parse(call, mode="eval")
    result = ast.unparse(_Growing(MUTATIONS[mutation], factor).visit(tree))
    return (
        result
        if result != ast.unparse(ast.parse(call, mode="eval")) and len(result) <= LONGEST_CALL
        else None
    )


class _Growing(ast.NodeTransformer):
    def __init__(self, mutation: Callable[[Any, int], Any], factor: int) -> None:
        self._mutation = mutation
        self._factor = factor

    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        node.args = [self._argument(argument) for argument in node.args]
        for keyword in node.keywords:
            keyword.value = self._argument(keyword.value)
        return node

    def _argument(self, node: ast.expr) -> ast.expr:
        try:
            text = repr(self._mutation(ast.literal_eval(node), self._factor))
        except (ValueError, TypeError):  # not a literal, or one that cannot be hashed, shifted or written
            return node
        return ast.parse(text, mode="eval").body


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
