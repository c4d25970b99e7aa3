"""From a model's reply to single assertions, each of which runs by itself."""

import ast
import builtins
import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeGuard

from codedpo.llm.assertions import (
    NotConstantError,
    calls,
    catches_everything,
    claims,
    is_assertion,
    literal,
    split,
)
from codedpo.llm.names import bound_names, changed_names, loaded_names, modules, needed
from codedpo.llm.source import code_blocks, levels, parsable_statements, without_thoughts

_BUILTINS = set(dir(builtins))
_BROKEN_LINE = re.compile(r"^([ \t]*assert)[ \t]*\n\s*+(?!assert\b)", re.MULTILINE)
"""``assert`` with its claim on the next line, which base models write."""
_MOST_CHARACTERS = 2000
_MOST_UNROLLED = 20
MOST_LEVELS = 100
"""Of a statement, with the values that are put into it; the deepest of 7,500 real tests has 9."""


class Dropped(StrEnum):
    """Why an assertion is no test."""

    NO_CALL = "no_call"
    """Nothing of the asked function is called: ``assert True``."""
    COMPARES_WITH_ITSELF = "compares_with_itself"
    CATCHES_EVERYTHING = "catches_everything"
    """A ``try`` whose handler would also catch the failure."""
    UNKNOWN_FORM = "unknown_form"
    """A method of unittest or pytest with starred arguments, with unittest's names for them, or without them."""
    UNDEFINED_NAME = "undefined_name"
    DUPLICATE = "duplicate"
    TOO_LONG = "too_long"
    TOO_DEEP = "test_too_deep"
    """Nested deeper than ``MOST_LEVELS``: a reply that repeats itself."""
    BEYOND_LIMIT = "beyond_limit"


@dataclass(frozen=True, slots=True)
class ParsedTest:
    """One assertion; ``call`` and ``expected`` are empty where it has another form than call against constant."""

    code: str
    call: str = ""
    expected: str = ""


@dataclass(frozen=True, slots=True)
class ExtractedTests:
    """The tests of a reply, and what was dropped, with the text of each."""

    tests: tuple[ParsedTest, ...]
    dropped: tuple[tuple[Dropped, str], ...]


def extract_tests(text: str, entry_point: str, limit: int, *, prefix: str = "") -> ExtractedTests:
    """Find the assertions in a reply, one a test.

    Read are ``assert`` statements at the top level, in ``test_*`` functions, in methods of test classes (with
    unittest's methods), in ``check(candidate)`` and under ``if __name__``; loops over constants are unrolled.
    The model's own version of the entry point is left out. Variables that hold constants or a call's result
    are put in; other set-up that an assertion needs is kept before it. What ``call`` and ``expected`` are,
    says ``llm.assertions.split``; ``expected`` is always readable by ``ast.literal_eval``.

    Args:
        text: The reply.
        entry_point: Name of the function under test; tests that do not call it are dropped.
        limit: Most tests to take from this reply, in their order.
        prefix: Text that the reply continues (base models), such as ``assert ``.
    """
    text = _BROKEN_LINE.sub(r"\1 ", without_thoughts(prefix + text))
    tests: dict[str, ParsedTest] = {}
    dropped: list[tuple[Dropped, str]] = []
    for statements in _blocks(text):
        for claim, setup in _claims(statements, [], entry_point):
            verdict = Dropped.TOO_DEEP if _is_too_deep(claim) else _test(claim, setup, entry_point)
            if verdict is Dropped.TOO_DEEP:
                dropped.append((verdict, f"more than {MOST_LEVELS} levels"))
            elif isinstance(verdict, Dropped):
                dropped.append((verdict, ast.unparse(claim)))
            elif verdict.code in tests:
                dropped.append((Dropped.DUPLICATE, verdict.code))
            elif len(tests) >= limit:
                dropped.append((Dropped.BEYOND_LIMIT, verdict.code))
            else:
                tests[verdict.code] = verdict
    return ExtractedTests(tuple(tests.values()), tuple(dropped))


def _blocks(text: str) -> Iterator[list[ast.stmt]]:
    found = False
    for block in code_blocks(text):
        statements = parsable_statements(block)
        found |= any(
            is_assertion(node) for root in statements for node in ast.walk(root) if isinstance(node, ast.stmt)
        )
        yield statements
    if not found:  # a list of assertions in prose: - `assert f(1) == 2`
        yield [
            statement
            for line in re.findall(r"`(assert .+?)`", text)
            for statement in parsable_statements(line)
        ]


_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_Claim = tuple[ast.expr | ast.stmt, list[ast.stmt]]


def _claims(body: list[ast.stmt], before: list[ast.stmt], entry_point: str) -> Iterator[_Claim]:
    """Yield every claim in ``body`` with the statements that come before it."""
    visible = list(before)
    for statement in body:
        if isinstance(statement, _SCOPES) and statement.name == entry_point:
            continue
        if _is_opened(statement):
            yield from _claims(statement.body, visible + _candidate(statement, entry_point), entry_point)
        elif _is_too_deep(statement):
            yield statement, visible
            if not is_assertion(statement):  # What it changes has no value that is known.
                names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
                visible = [earlier for earlier in visible if not changed_names(earlier) & names]
        elif is_assertion(statement):
            for claim in claims(statement):
                yield claim, visible
        elif isinstance(statement, ast.For) and any(map(is_assertion, statement.body)):
            rounds = _unrolled(statement, visible)
            if rounds is None:
                yield statement, visible
            for assignments in rounds or []:
                yield from _claims(statement.body, visible + assignments, entry_point)
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            visible.extend(_single_assignments(statement))
        elif not _prints(statement):
            visible.append(statement)


def _is_opened(
    statement: ast.stmt,
) -> TypeGuard[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.If]:
    """Tell what is read claim by claim: a test function, a class with tests, an ``if __name__`` block."""
    if isinstance(statement, ast.If):
        return not _is_too_deep(statement.test) and "__name__" in loaded_names([statement.test])
    if not isinstance(statement, _SCOPES) or not any(
        is_assertion(node) for node in ast.walk(statement) if isinstance(node, ast.stmt)
    ):
        return False
    if isinstance(statement, ast.ClassDef):
        return True
    arguments = [argument.arg for argument in statement.args.args]
    return arguments in ([], ["self"], ["candidate"])


def _is_too_deep(node: ast.AST) -> bool:
    return levels(node) > MOST_LEVELS


def _candidate(statement: ast.stmt, entry_point: str) -> list[ast.stmt]:
    if isinstance(statement, ast.FunctionDef) and [argument.arg for argument in statement.args.args] == [
        "candidate"
    ]:
        return ast.parse(f"candidate = {entry_point}").body
    return []


def _prints(statement: ast.stmt) -> bool:
    call = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "print"


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


def _unrolled(loop: ast.For, visible: list[ast.stmt]) -> list[list[ast.stmt]] | None:
    """Return the assignments of each round of a loop over constants, or None where it is not one."""
    items = loop.iter
    if isinstance(items, ast.Call) and isinstance(items.func, ast.Attribute) and items.func.attr == "items":
        pairs = _value_of(items.func.value, visible)
        if not isinstance(pairs, ast.Dict) or None in pairs.keys:
            return None
        elements: list[ast.expr] = [
            ast.Tuple([key, value], ast.Load())
            for key, value in zip(pairs.keys, pairs.values, strict=True)
            if key
        ]
    else:
        sequence = _value_of(items, visible)
        if not isinstance(sequence, ast.List | ast.Tuple):
            return None
        elements = sequence.elts
    if len(elements) > _MOST_UNROLLED or loop.orelse:
        return None
    rounds = []
    for element in elements:
        assignments = _single_assignments(ast.Assign([loop.target], element, lineno=0))
        if isinstance(loop.target, ast.Tuple) and len(assignments) == 1:
            return None
        rounds.append(assignments)
    return rounds


def _value_of(node: ast.expr, visible: list[ast.stmt]) -> ast.expr:
    """Return what a name was last assigned, if that was a plain assignment and still says the same, else the node.

    It no longer does where a name that it reads was bound or changed since, ``r = f(a)`` before ``a = 2``, or by the
    assignment itself, ``r = f(r)``.
    """
    if not isinstance(node, ast.Name):
        return node
    imported = modules(visible)
    last = max(
        (number for number, statement in enumerate(visible) if node.id in changed_names(statement, imported)),
        default=-1,
    )
    statement = visible[last] if last >= 0 else None
    if not (isinstance(statement, ast.Assign) and len(statement.targets) == 1):
        return node
    target = statement.targets[0]
    changed = set().union(*(_changed_names(one, imported) for one in visible[last:]))
    is_same = (
        isinstance(target, ast.Name)
        and target.id == node.id
        and not changed & loaded_names([statement.value])
    )
    return statement.value if is_same else node


def _changed_names(statement: ast.stmt, imported: set[str]) -> set[str]:
    """Return the names that a statement binds, changes in place, or hands to a bare call, which may change them."""
    calls = [node.value for node in _bare(statement) if isinstance(node.value, ast.Call)]
    handed = [
        value for call in calls for value in (*call.args, *(keyword.value for keyword in call.keywords))
    ]
    return changed_names(statement, imported) | loaded_names(handed)


def _bare(statement: ast.stmt) -> list[ast.Expr]:
    """Return the expressions that stand alone in a statement, those of its loops and branches too, prints apart."""
    inside = [] if isinstance(statement, _SCOPES) else ast.walk(statement)
    return [node for node in inside if isinstance(node, ast.Expr) and not _prints(node)]


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


def _with_values(claim: ast.expr | ast.stmt, setup: list[ast.stmt], entry_point: str) -> ast.expr | ast.stmt:
    """Put the values of variables into a claim where that cannot change what it says.

    Numbers and strings always; other constants and expressions where the claim reads the variable once and
    no bare call in between was handed it (it may have changed it). A name that the claim itself binds is left alone.
    """
    if not setup:
        return claim
    claim = copy.deepcopy(claim)
    for _ in range(10):
        before = ast.dump(claim)
        for name in sorted(loaded_names([claim]) - {entry_point}):
            value = _value_of(ast.Name(name, ast.Load()), setup)
            if (isinstance(value, ast.Name) and value.id == name) or _binds_inside(claim, name):
                continue
            reads = sum(isinstance(node, ast.Name) and node.id == name for node in ast.walk(claim))
            simple = isinstance(value, ast.Constant | ast.Name)
            touched = any(name in loaded_names(_bare(node)) for node in setup)
            if simple or (reads == 1 and not touched and (_is_constant(value) or calls(value, entry_point))):
                claim = _PutIn(name, value).visit(claim)
                if _is_too_deep(claim):
                    return claim
        if ast.dump(claim) == before:
            break
    return claim


def _is_constant(value: ast.expr) -> bool:
    try:
        return bool(literal(value))
    except NotConstantError:
        return False


def _test(claim: ast.expr | ast.stmt, setup: list[ast.stmt], entry_point: str) -> ParsedTest | Dropped:
    if isinstance(claim, ast.Expr | ast.With):
        return Dropped.UNKNOWN_FORM
    claim = _with_values(claim, setup, entry_point)
    if _is_too_deep(claim):
        return Dropped.TOO_DEEP
    ast.fix_missing_locations(claim)
    names = loaded_names([claim]) - {entry_point}
    open_names = names - _BUILTINS
    touching = [statement for statement in setup if loaded_names(_bare(statement)) & open_names]
    kept = needed(setup, open_names | loaded_names(touching))
    kept = [statement for statement in setup if statement in kept or statement in touching]
    if not any(calls(node, entry_point) for node in [claim, *kept]):
        return Dropped.NO_CALL
    if isinstance(claim, ast.Compare) and ast.dump(claim.left) == ast.dump(claim.comparators[0]):
        return Dropped.COMPARES_WITH_ITSELF
    if isinstance(claim, ast.stmt) and catches_everything(claim):
        return Dropped.CATCHES_EVERYTHING
    parts = split(claim, entry_point) if isinstance(claim, ast.expr) and not kept else None
    # What is compared with a constant leaves the constant's names (math.inf) behind.
    read = loaded_names([ast.parse(parts[0])] if parts else [claim, *kept])
    bound = set().union(*map(bound_names, [*kept, *([claim] if isinstance(claim, ast.stmt) else [])]))
    if read - bound - _BUILTINS - {entry_point} - _caught_names(claim):
        return Dropped.UNDEFINED_NAME
    if parts:
        return _of_length(ParsedTest(_split_code(claim, parts), *parts))
    lines = [ast.unparse(ast.fix_missing_locations(statement)) for statement in kept]
    lines.append(ast.unparse(claim) if isinstance(claim, ast.stmt) else f"assert {ast.unparse(claim)}")
    return _of_length(ParsedTest("\n".join(lines)))


def _split_code(claim: ast.expr | ast.stmt, parts: tuple[str, str]) -> str:
    """Write a call against a value in one way, whatever the order and however the value was computed."""
    call, expected = parts
    if isinstance(claim, ast.Compare):
        sign = "is" if isinstance(claim.ops[0], ast.Is) else "=="
        return f"assert {call} {sign} {expected}"
    return f"assert {ast.unparse(claim)}"


def _of_length(test: ParsedTest) -> ParsedTest | Dropped:
    return test if len(test.code) <= _MOST_CHARACTERS else Dropped.TOO_LONG


def _caught_names(claim: ast.AST) -> set[str]:
    return {node.name for node in ast.walk(claim) if isinstance(node, ast.ExceptHandler) and node.name}
