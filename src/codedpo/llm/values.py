"""The values that variables have where an assertion reads them, and putting them in."""

import ast
import copy
from collections.abc import Sequence

from codedpo.llm.assertions import NotConstantError, calls, is_too_deep, literal
from codedpo.llm.names import Statement, loaded_names, modules

_MOST_ROUNDS = 10
"""A value may name further variables: so often they are looked for."""


def value_of(node: ast.expr, before: Sequence[Statement]) -> ast.expr:
    """Return what a name was last assigned, if that was a plain assignment and still says the same, else the node.

    It no longer does where a name that it reads was bound or changed since, ``r = f(a)`` before ``a = 2``, or by the
    assignment itself, ``r = f(r)``.
    """
    if not isinstance(node, ast.Name):
        return node
    imported = modules(before)
    places = range(len(before) - 1, -1, -1)
    last = next((place for place in places if before[place].changes({node.id}, imported)), None)
    assignment = None if last is None else before[last].node
    if not (isinstance(assignment, ast.Assign) and len(assignment.targets) == 1):
        return node
    target = assignment.targets[0]
    if not (isinstance(target, ast.Name) and target.id == node.id):
        return node
    read = loaded_names([assignment.value])
    since = before[last:]
    is_old = any(one.changes(read, imported) or not read.isdisjoint(one.handed) for one in since)
    return node if is_old else assignment.value


def with_values(
    claim: ast.expr | ast.stmt, before: Sequence[Statement], entry_point: str
) -> ast.expr | ast.stmt:
    """Put the values of variables into a claim where that cannot change what it says.

    Numbers and strings always; other constants and expressions where the claim reads the variable once and
    no bare call in between was handed it (it may have changed it). A name that the claim itself binds is left alone.
    """
    if not before:
        return claim
    claim = copy.deepcopy(claim)
    for _ in range(_MOST_ROUNDS):
        dumped = ast.dump(claim)
        for name in sorted(loaded_names([claim]) - {entry_point}):
            value = value_of(ast.Name(name, ast.Load()), before)
            if (isinstance(value, ast.Name) and value.id == name) or _binds_inside(claim, name):
                continue
            reads = sum(isinstance(node, ast.Name) and node.id == name for node in ast.walk(claim))
            simple = isinstance(value, ast.Constant | ast.Name)
            touched = any(name in statement.in_bare for statement in before)
            if simple or (reads == 1 and not touched and (_is_constant(value) or calls(value, entry_point))):
                claim = _PutIn(name, value).visit(claim)
                if is_too_deep(claim):
                    return claim
        if ast.dump(claim) == dumped:
            break
    return claim


def _binds_inside(claim: ast.AST, name: str) -> bool:
    """Tell whether a claim gives the name a meaning of its own: in a comprehension, a lambda, a loop."""
    return any(
        (isinstance(node, ast.Name) and node.id == name and not isinstance(node.ctx, ast.Load))
        or (isinstance(node, ast.arg) and node.arg == name)
        for node in ast.walk(claim)
    )


class _PutIn(ast.NodeTransformer):
    """Replaces reads of a name by an expression."""

    def __init__(self, name: str, value: ast.expr) -> None:
        self.name, self.value = name, value

    def visit_Name(self, node: ast.Name) -> ast.expr:
        is_read = node.id == self.name and isinstance(node.ctx, ast.Load)
        return copy.deepcopy(self.value) if is_read else node


def _is_constant(value: ast.expr) -> bool:
    try:
        return bool(literal(value))
    except NotConstantError:
        return False
