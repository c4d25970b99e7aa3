"""The forms that an assertion takes, and which of them are a call compared with a value."""

import ast
import math
import operator
from collections.abc import Callable, Iterator
from typing import Any

from codedpo.llm.source import levels

MOST_LEVELS = 100
"""Of a statement, with the values that are put into it; the deepest of 7,500 real tests has 9."""

_UNITTEST = {
    "assertEqual": "({0}) == ({1})",
    "assertEquals": "({0}) == ({1})",
    "assertListEqual": "({0}) == ({1})",
    "assertTupleEqual": "({0}) == ({1})",
    "assertDictEqual": "({0}) == ({1})",
    "assertSetEqual": "({0}) == ({1})",
    "assertSequenceEqual": "({0}) == ({1})",
    "assertCountEqual": "sorted({0}) == sorted({1})",
    "assertNotEqual": "({0}) != ({1})",
    "assertTrue": "({0})",
    "assertFalse": "not ({0})",
    "assertIs": "({0}) is ({1})",
    "assertIsNone": "({0}) is None",
    "assertIsNotNone": "({0}) is not None",
    "assertIn": "({0}) in ({1})",
    "assertNotIn": "({0}) not in ({1})",
    "assertIsInstance": "isinstance({0}, {1})",
    "assertGreater": "({0}) > ({1})",
    "assertGreaterEqual": "({0}) >= ({1})",
    "assertLess": "({0}) < ({1})",
    "assertLessEqual": "({0}) <= ({1})",
}
_ALMOST = "assertAlmostEqual"
_METHODS = {*_UNITTEST, _ALMOST}
_RAISES = {"raises": 1, "assertRaises": 1, "assertRaisesRegex": 2}
"""And the place of the function among the arguments, where it is not given by ``with``."""
_TOO_BROAD = {"Exception", "BaseException", "AssertionError"}


def is_too_deep(node: ast.AST) -> bool:
    """Tell what is nested deeper than ``MOST_LEVELS``: only a reply that repeats itself is."""
    return levels(node) > MOST_LEVELS


def is_assertion(statement: ast.stmt) -> bool:
    """Tell whether the statement itself claims something: assert, ``self.assertEqual``, raises, try."""
    if isinstance(statement, ast.Assert):
        return True
    if isinstance(statement, ast.Expr):
        return _called(statement.value) in _METHODS | _RAISES.keys()
    if isinstance(statement, ast.With):
        return any(_called(item.context_expr) in _RAISES for item in statement.items)
    if isinstance(statement, ast.Try):
        return any(isinstance(node, ast.Assert | ast.Raise) for node in ast.walk(statement))
    return False


def _called(node: ast.AST) -> str:
    """Return ``raises`` for ``pytest.raises(...)``, '' for what is no call of an attribute."""
    return node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""


def claims(statement: ast.stmt) -> Iterator[ast.expr | ast.stmt]:
    """Split an assertion into single claims: expressions that must hold, or statements that must not raise.

    ``assert a and b`` is two claims; messages are dropped; ``assert (a, "message")``, which Python takes as
    always true, is read as ``assert a``. Unittest's methods become expressions. What must raise becomes a
    ``try`` that ends in ``AssertionError``; its message is not compared, since tasks do not say it. A method
    whose arguments are not read (starred, or by unittest's own names) is a claim as it stands.
    """
    if isinstance(statement, ast.Assert):
        test = statement.test
        if isinstance(test, ast.Tuple) and len(test.elts) == 2 and isinstance(test.elts[1], ast.Constant):
            test = test.elts[0]
        yield from test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) else [test]
    elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        yield _of_method(statement.value) or statement
    elif isinstance(statement, ast.With) and len(statement.items) == 1:
        manager = statement.items[0].context_expr
        if isinstance(manager, ast.Call) and manager.args:
            yield _must_raise(manager.args[0], statement.body)
        else:
            yield statement
    else:
        yield statement


def _of_method(call: ast.Call) -> ast.expr | ast.stmt | None:
    """Return the claim of a call of unittest's or pytest's, None where its arguments are not understood."""
    name, arguments = _called(call), call.args
    if any(isinstance(argument, ast.Starred) for argument in arguments):
        return None
    if name in _RAISES and len(arguments) > (place := _RAISES[name]):
        function = ast.Call(arguments[place], arguments[place + 1 :], call.keywords)
        return _must_raise(arguments[0], [ast.Expr(function)])
    if name == _ALMOST and len(arguments) >= 2:
        return _almost_equal(call)
    if name in _UNITTEST and len(arguments) > _UNITTEST[name].count("{1}"):
        return ast.parse(_UNITTEST[name].format(*map(ast.unparse, arguments)), mode="eval").body
    return None


def _almost_equal(call: ast.Call) -> ast.expr:
    """Return what ``assertAlmostEqual`` compares: to 7 places, to those that are given, or within ``delta``."""
    left, right, *rest = map(ast.unparse, call.args)
    given = dict(zip(("places", "msg", "delta"), rest, strict=False))
    given |= {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg}
    if given.get("delta", "None") != "None":
        code = f"abs(({left}) - ({right})) <= ({given['delta']})"
    else:
        places = given.get("places", "None")
        code = f"round(({left}) - ({right}), {7 if places == 'None' else places}) == 0"
    return ast.parse(code, mode="eval").body


def _must_raise(exception: ast.expr, body: list[ast.stmt]) -> ast.stmt:
    error = ast.Constant(f"no {ast.unparse(exception)}")
    raises = ast.Raise(ast.Call(ast.Name("AssertionError", ast.Load()), [error], []))
    handler = ast.ExceptHandler(exception, None, [ast.Pass()])
    return ast.fix_missing_locations(ast.Try(body, [handler], [raises], []))


def catches_everything(claim: ast.AST) -> bool:
    """Tell a ``try`` that would swallow its own failure, and so passes whatever the function does."""
    for node in ast.walk(claim):
        if isinstance(node, ast.ExceptHandler):
            types = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            if any(kind is None or (isinstance(kind, ast.Name) and kind.id in _TOO_BROAD) for kind in types):
                return True
    return False


_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
}
_LARGEST_OPERAND = 10_000
_CONSTANTS = {"inf": math.inf, "pi": math.pi, "e": math.e, "tau": math.tau}


class NotConstantError(Exception):
    """The expression is no plain constant."""


def constant(node: ast.expr) -> Any:
    """Evaluate an expression of literals without running code.

    Allowed beyond literals: ``set()``, ``dict()``, ``list()``, ``tuple()``, ``float("inf")``, ``math.inf``
    (``pi``, ``e``, ``tau``), and arithmetic on numbers up to 10,000 and on sequences where the product has no more
    items or characters than that. ``%`` formats no text.

    Raises:
        NotConstantError: it is something else, or NaN, which equals nothing.
    """
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        items = [constant(item) for item in node.elts]
        return (
            items
            if isinstance(node, ast.List)
            else tuple(items)
            if isinstance(node, ast.Tuple)
            else _set(items)
        )
    if isinstance(node, ast.Dict):
        keys = [constant(key) if key is not None else _fail() for key in node.keys]
        _set(keys)
        return dict(zip(keys, map(constant, node.values), strict=True))
    if isinstance(node, ast.Constant) and node.value is not ...:
        return node.value
    if isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATORS:
        return _apply(_OPERATORS[type(node.op)], constant(node.operand))
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _apply(_OPERATORS[type(node.op)], constant(node.left), constant(node.right))
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "math":
        return _CONSTANTS[node.attr] if node.attr in _CONSTANTS else _fail()
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        empty: dict[str, Any] = {"set": set, "dict": dict, "list": list, "tuple": tuple}
        if not node.args and node.func.id in empty:
            return empty[node.func.id]()
        if node.func.id == "float" and len(node.args) == 1 and isinstance(node.args[0], ast.Constant):
            text = str(node.args[0].value).lower().lstrip("+")
            return {"inf": math.inf, "-inf": -math.inf, "infinity": math.inf}.get(text) or _fail()
    return _fail()


def _fail() -> Any:
    raise NotConstantError


def _set(items: list[Any]) -> set[Any]:
    try:
        return set(items)
    except TypeError as error:
        raise NotConstantError from error


def _apply(function: Callable[..., Any], *values: Any) -> Any:
    sizes = [abs(value) if isinstance(value, int | float) else _size(value) for value in values]
    if len(values) == 2 and max(sizes) > _LARGEST_OPERAND and function in (operator.pow, operator.mul):
        raise NotConstantError
    if function is operator.mul and not _are_numbers(values) and math.prod(sizes) > _LARGEST_OPERAND:
        raise NotConstantError
    if function is operator.mod and not _are_numbers(values):
        raise NotConstantError
    if function is operator.pow and isinstance(values[1], int) and values[1] > 256:
        raise NotConstantError
    try:
        return function(*values)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise NotConstantError from error


def _are_numbers(values: tuple[Any, ...]) -> bool:
    return all(isinstance(value, int | float) for value in values)


def _size(value: Any) -> int:
    """Count the characters of a text, and the items of a collection with all that these hold."""
    if isinstance(value, str | bytes):
        return len(value)
    items = [*value.keys(), *value.values()] if isinstance(value, dict) else value
    return len(items) + sum(map(_size, items)) if isinstance(items, list | tuple | set) else 0


def literal(node: ast.expr) -> str:
    """Return a constant as text that ``ast.literal_eval`` reads, infinity written as ``1e999``.

    Raises:
        NotConstantError: see ``constant``.
    """
    text = _text(constant(node))
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise NotConstantError from error
    return text


def _text(value: Any) -> str:
    """Like ``repr``, but readable by ``ast.literal_eval`` for infinity, and in one order for sets."""
    if isinstance(value, set):
        return "{" + ", ".join(sorted(map(_text, value))) + "}" if value else "set()"
    if isinstance(value, list):
        return "[" + ", ".join(map(_text, value)) + "]"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(_text, value)) + ("," if len(value) == 1 else "") + ")"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(key)}: {_text(item)}" for key, item in value.items()) + "}"
    return repr(value).replace("inf", "1e999") if isinstance(value, float) else repr(value)


def calls(node: ast.AST, entry_point: str) -> bool:
    """Tell whether ``entry_point`` is called anywhere in ``node``."""
    return any(
        isinstance(inner, ast.Call) and isinstance(inner.func, ast.Name) and inner.func.id == entry_point
        for inner in ast.walk(node)
    )


def split(test: ast.expr, entry_point: str) -> tuple[str, str] | None:
    """Return (call, expected value) where a test compares a call of the entry point with a constant.

    ``f(1) == 2``, ``2 == f(1)``, ``f(1) is None``, ``sorted(f(1)) == [2]``. Truth is kept as truth and not
    taken for equality: ``f(1)`` gives ``bool(f(1))`` and ``True``, ``not f(1)`` gives ``False``. Anything
    else gives None: it must run beside the solution.
    """
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not) and calls(test.operand, entry_point):
        inner = test.operand
        return (
            None if isinstance(inner, ast.Compare | ast.BoolOp) else (f"bool({ast.unparse(inner)})", "False")
        )
    if isinstance(test, ast.Call) and isinstance(test.func, ast.Name) and test.func.id == entry_point:
        return f"bool({ast.unparse(test)})", "True"
    if not isinstance(test, ast.Compare) or len(test.ops) != 1:
        return None
    left, right = test.left, test.comparators[0]
    if not calls(left, entry_point):
        left, right = right, left
    if calls(right, entry_point) or not calls(left, entry_point):
        return None
    is_singleton = isinstance(right, ast.Constant) and (right.value is None or isinstance(right.value, bool))
    if not (isinstance(test.ops[0], ast.Eq) or (isinstance(test.ops[0], ast.Is) and is_singleton)):
        return None
    try:
        return ast.unparse(left), literal(right)
    except NotConstantError:
        return None
