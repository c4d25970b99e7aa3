"""From a model's reply to single assertions, each of which runs by itself."""

import ast
import builtins
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from codedpo.llm.assertions import MOST_LEVELS, calls, catches_everything, is_too_deep, split
from codedpo.llm.claims import Claim, claims_in, has_assertion
from codedpo.llm.names import Statement, given_names, loaded_names, needed
from codedpo.llm.source import code_blocks, parsable_statements, without_thoughts
from codedpo.llm.values import with_values

_BUILTINS = set(dir(builtins))
_BROKEN_LINE = re.compile(r"^([ \t]*assert)[ \t]*\n\s*+(?!assert\b)", re.MULTILINE)
"""``assert`` with its claim on the next line, which base models write."""
_MOST_CHARACTERS = 2000


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
        for claim, before in claims_in(statements, [], entry_point):
            verdict = Dropped.TOO_DEEP if is_too_deep(claim) else _test(claim, before, entry_point)
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
        found = found or any(map(has_assertion, statements))
        yield statements
    if not found:  # a list of assertions in prose: - `assert f(1) == 2`
        yield [
            statement
            for line in re.findall(r"`(assert .+?)`", text)
            for statement in parsable_statements(line)
        ]


def _test(claim: Claim, before: Sequence[Statement], entry_point: str) -> ParsedTest | Dropped:
    """Return the test that a claim makes with what it needs of the statements before it, or why it makes none."""
    if isinstance(claim, ast.Expr | ast.With):
        return Dropped.UNKNOWN_FORM
    claim = with_values(claim, before, entry_point)
    if is_too_deep(claim):
        return Dropped.TOO_DEEP
    ast.fix_missing_locations(claim)
    setup = _setup_of(claim, before, entry_point)
    if not calls(claim, entry_point) and not any(entry_point in statement.called for statement in setup):
        return Dropped.NO_CALL
    if isinstance(claim, ast.Compare) and ast.dump(claim.left) == ast.dump(claim.comparators[0]):
        return Dropped.COMPARES_WITH_ITSELF
    if isinstance(claim, ast.stmt) and catches_everything(claim):
        return Dropped.CATCHES_EVERYTHING
    parts = split(claim, entry_point) if isinstance(claim, ast.expr) and not setup else None
    # What is compared with a constant leaves the constant's names (math.inf) behind.
    read = loaded_names([ast.parse(parts[0]) if parts else claim]).union(*(one.read for one in setup))
    given = given_names(claim) if isinstance(claim, ast.stmt) else set()
    if read.difference(given, *(one.given for one in setup)) - _BUILTINS - {entry_point}:
        return Dropped.UNDEFINED_NAME
    if parts:
        return _of_length(ParsedTest(_split_code(claim, parts), *parts))
    lines = [statement.text for statement in setup]
    lines.append(ast.unparse(claim) if isinstance(claim, ast.stmt) else f"assert {ast.unparse(claim)}")
    return _of_length(ParsedTest("\n".join(lines)))


def _setup_of(claim: Claim, before: Sequence[Statement], entry_point: str) -> list[Statement]:
    """Return what gives the names of a claim their values and the bare expressions with them, in order."""
    names = loaded_names([claim]) - {entry_point} - _BUILTINS
    if not names:
        return []
    touching = {statement for statement in before if statement.in_bare & names}
    kept = touching.union(needed(before, names.union(*(statement.read for statement in touching))))
    return [statement for statement in before if statement in kept]


def _split_code(claim: Claim, parts: tuple[str, str]) -> str:
    """Write a call against a value in one way, whatever the order and however the value was computed."""
    call, expected = parts
    if isinstance(claim, ast.Compare):
        sign = "is" if isinstance(claim.ops[0], ast.Is) else "=="
        return f"assert {call} {sign} {expected}"
    return f"assert {ast.unparse(claim)}"


def _of_length(test: ParsedTest) -> ParsedTest | Dropped:
    return test if len(test.code) <= _MOST_CHARACTERS else Dropped.TOO_LONG
