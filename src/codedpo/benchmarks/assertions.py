"""Published assertions -> checks whose expected value never enters the process that runs the answer."""

import ast
import warnings

from codedpo.sandbox.base import Check
from codedpo.sandbox.literals import evaluate


def parse(code: str) -> ast.Module:
    """Parse other people's code without their warnings (invalid escapes in strings).

    Raises:
        SyntaxError, ValueError, MemoryError, RecursionError: as ``ast.parse``.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(code)


def is_literal(node: ast.expr) -> bool:
    """Tell whether an expression is plain data, so that the sandbox can evaluate it without running it."""
    try:
        evaluate(ast.unparse(node))
    except ValueError:
        return False
    return True


def names_in(node: ast.AST) -> set[str]:
    """Return every name that a piece of code mentions."""
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def split(statement: ast.stmt, entry_point: str, allowed_names: set[str]) -> Check | None:
    """Return the split form of ``assert call == literal`` (either way round), None for any other statement.

    Args:
        statement: One statement of a test.
        entry_point: The function under test, by the name that the statement uses.
        allowed_names: Further names that the call may use, such as builtins.
    """
    if not isinstance(statement, ast.Assert) or not isinstance(statement.test, ast.Compare):
        return None
    comparison = statement.test
    if len(comparison.ops) != 1 or not isinstance(comparison.ops[0], ast.Eq):
        return None
    left, right = comparison.left, comparison.comparators[0]
    for call, expected in ((left, right), (right, left)):
        names = names_in(call)
        if is_literal(expected) and entry_point in names and names <= allowed_names | {entry_point}:
            return Check(
                code=f"assert {ast.unparse(comparison)}",
                call=ast.unparse(call),
                expected=ast.unparse(expected),
            )
    return None


def is_empty(statement: ast.stmt) -> bool:
    """Tell whether a statement can never fail and does nothing: ``assert True``, a bare name or string."""
    if isinstance(statement, ast.Assert):
        return isinstance(statement.test, ast.Constant) and bool(statement.test.value)
    return isinstance(statement, ast.Pass) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant | ast.Name)
    )
