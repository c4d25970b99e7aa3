"""From the statements of a reply to single claims, each with the statements that come before it."""

import ast
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeGuard

from codedpo.llm.assertions import claims, is_assertion, is_too_deep
from codedpo.llm.names import SCOPES, Statement, loaded_names, modules, prints
from codedpo.llm.values import value_of

Claim = ast.expr | ast.stmt
"""An expression that must hold, or a statement that must not raise."""
_MOST_UNROLLED = 20
_CONDITIONAL = (ast.If, ast.For, ast.While, ast.Try, ast.Match)
"""Give names a value in some rounds only."""


def has_assertion(statement: ast.stmt) -> bool:
    """Tell whether anything in a statement claims something."""
    return any(is_assertion(node) for node in ast.walk(statement) if isinstance(node, ast.stmt))


def claims_in(
    body: Iterable[ast.stmt], before: Sequence[Statement], entry_point: str
) -> Iterator[tuple[Claim, Sequence[Statement]]]:
    """Yield every claim with the statements before it, which are to be read before the next claim is taken.

    Test functions, classes with tests and ``if __name__`` blocks are opened, loops over constants unrolled. A
    statement that makes claims but is none of these is one claim. What only prints is left out, and so is the
    model's own version of the entry point.
    """
    visible = list(before)
    for statement in body:
        if isinstance(statement, SCOPES) and statement.name == entry_point:
            continue
        if _is_opened(statement):
            inside = [*visible, *map(Statement, _candidate(statement, entry_point))]
            yield from claims_in(statement.body, inside, entry_point)
        elif is_too_deep(statement):
            yield statement, visible
            if not is_assertion(statement):
                # What it changes, and what follows from that, has no value that is known.
                visible = [
                    one for one in visible if isinstance(one.node, (ast.Import, ast.ImportFrom, *SCOPES))
                ]
        elif is_assertion(statement):
            for claim in claims(statement):
                yield claim, visible
            visible.extend(_if_it_changes_any(statement, visible))
        elif isinstance(statement, ast.For) and any(map(is_assertion, statement.body)):
            rounds = _unrolled(statement, visible)
            if rounds is None:
                yield statement, visible
            for assignments in rounds or []:
                inside = [*visible, *map(Statement, assignments)]
                yield from claims_in(statement.body, inside, entry_point)
            visible.extend(_if_it_changes_any(statement, visible))
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            visible.extend(map(Statement, _single_assignments(statement)))
        elif not prints(statement):
            visible.append(Statement(statement))


def _if_it_changes_any(statement: ast.stmt, before: Sequence[Statement]) -> list[Statement]:
    """Return an assertion, or a loop of some, where it changes a variable of those before: what follows reads that."""
    if not before:
        return []
    one = Statement(statement)
    names = _changed(one) - modules(before)
    return [one] if any(earlier.changes(names) for earlier in before) else []


def _changed(one: Statement) -> set[str]:
    """Return the names that a statement binds or changes; ``self.assertEqual`` does not change ``self``."""
    is_claim = isinstance(one.node, ast.Assert | ast.Expr) and is_assertion(one.node)
    return one.altered if is_claim else one.bound | one.altered


def _is_opened(
    statement: ast.stmt,
) -> TypeGuard[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.If]:
    """Tell a test function, a class with tests, an ``if __name__`` block."""
    if isinstance(statement, ast.If):
        return not is_too_deep(statement.test) and "__name__" in loaded_names([statement.test])
    if not isinstance(statement, SCOPES) or not has_assertion(statement):
        return False
    if isinstance(statement, ast.ClassDef):
        return True
    return _arguments(statement) in ([], ["self"], ["candidate"])


def _candidate(statement: ast.stmt, entry_point: str) -> list[ast.stmt]:
    """Return what gives ``candidate`` its value in ``def check(candidate)``; nothing elsewhere."""
    if isinstance(statement, ast.FunctionDef) and _arguments(statement) == ["candidate"]:
        return ast.parse(f"candidate = {entry_point}").body
    return []


def _arguments(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    return [argument.arg for argument in function.args.args]


def _single_assignments(statement: ast.Assign | ast.AnnAssign) -> list[ast.stmt]:
    """Turn ``a, b = 1, 2`` and ``a: int = 1`` into plain assignments of one name, where that is the same."""
    if isinstance(statement, ast.AnnAssign):
        return [statement if statement.value is None else _assignment(statement.target, statement.value)]
    target, value = statement.targets[0], statement.value
    if len(statement.targets) == 1 and isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        names = {node.id for node in target.elts if isinstance(node, ast.Name)}
        if len(names) == len(target.elts) == len(value.elts) and not names & loaded_names([value]):
            return [_assignment(name, item) for name, item in zip(target.elts, value.elts, strict=True)]
    return [statement]


def _assignment(target: ast.expr, value: ast.expr) -> ast.stmt:
    return ast.parse(f"{ast.unparse(target)} = {ast.unparse(value)}").body[0]


def _unrolled(loop: ast.For, visible: Sequence[Statement]) -> list[list[ast.stmt]] | None:
    """Return the assignments of each round of a loop over constants, or None where it is not one."""
    items = loop.iter
    if isinstance(items, ast.Call) and isinstance(items.func, ast.Attribute) and items.func.attr == "items":
        pairs = value_of(items.func.value, visible)
        if not isinstance(pairs, ast.Dict) or None in pairs.keys:
            return None
        elements: list[ast.expr] = [
            ast.Tuple([key, value], ast.Load())
            for key, value in zip(pairs.keys, pairs.values, strict=True)
            if key
        ]
    else:
        sequence = value_of(items, visible)
        if not isinstance(sequence, ast.List | ast.Tuple):
            return None
        elements = sequence.elts
    if len(elements) > _MOST_UNROLLED or loop.orelse or _uses_earlier_rounds(loop, visible):
        return None
    rounds = []
    for element in elements:
        assignments = _single_assignments(ast.Assign([loop.target], element, lineno=0))
        if isinstance(loop.target, ast.Tuple) and len(assignments) == 1:
            return None
        rounds.append(assignments)
    return rounds


def _uses_earlier_rounds(loop: ast.For, visible: Sequence[Statement]) -> bool:
    """Tell whether a round reads or changes what an earlier one left, ``total += x``: alone it would say otherwise."""
    body = [Statement(statement) for statement in loop.body]
    changed = set().union(*map(_changed, body)) - modules(visible)
    targets = [loop.target, *(node.target for node in ast.walk(loop) if isinstance(node, ast.comprehension))]
    own = {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}
    for one in body:
        if (one.read & changed) - own:
            return True
        if not isinstance(one.node, _CONDITIONAL):
            own |= one.given
    return False
