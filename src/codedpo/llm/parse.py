"""From a model's reply to the program that it means."""

import ast
import re
from dataclasses import dataclass
from enum import StrEnum

from codedpo.llm.names import Statement, bound_names, loaded_names, needed, root_name
from codedpo.llm.source import code_blocks, levels, syntax_tree, whole_statements, without_thoughts


class Extraction(StrEnum):
    """What was found in a reply."""

    FOUND = "found"
    NO_CODE = "no_code"
    """Prose, an empty reply, another language, or a thought that never ended."""
    NO_ENTRY_POINT = "no_entry_point"
    """Code, but it defines no function or class of the asked name."""
    SYNTAX_ERROR = "syntax_error"
    """The asked function begins, but what there is of it is no Python (often: cut by the length limit)."""
    TOO_DEEP = "too_deep"
    """Nested deeper than ``MOST_LEVELS``: a reply that repeats itself."""


MOST_LEVELS = 400
"""Of a program; the deepest in 34,000 real replies has 34."""


@dataclass(frozen=True, slots=True)
class ExtractedCode:
    """The outcome and, where it is ``FOUND``, the program."""

    outcome: Extraction
    code: str = ""


def defines(tree: ast.Module, entry_point: str) -> bool:
    """Return whether a module binds ``entry_point`` at its top level, by def, class or assignment."""
    return any(
        entry_point in bound_names(statement)
        for statement in tree.body
        if isinstance(
            statement,
            ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign | ast.If,
        )
    )


def extract_code(text: str, entry_point: str, *, prefix: str = "", trim: bool = True) -> ExtractedCode:
    """Find the program in a reply.

    The first code block that parses and defines ``entry_point`` counts; blocks that are cut short or run on
    into prose count with their whole top-level statements. A block that uses names which only other blocks
    of the reply define gets those blocks put before it.

    Args:
        text: The reply; ``<think>`` blocks are dropped.
        entry_point: Name of the function (or class) that was asked for.
        prefix: Code that the reply continues (base models): tried as ``prefix + text`` where the reply alone
            does not define the entry point.
        trim: Drop what the entry point does not need, see ``trim_solution``.
    """
    text = without_thoughts(text)
    blocks = code_blocks(text)
    if prefix:
        blocks.append(prefix + text)
    if not blocks:
        return ExtractedCode(Extraction.NO_CODE)
    whole = [whole_statements(block) for block in blocks]
    trees = {code: tree for code in whole if (tree := syntax_tree(code)) and levels(tree) <= MOST_LEVELS}
    readable = [code for code in whole if code in trees]
    for number, code in enumerate(readable):
        if not defines(trees[code], entry_point):
            continue
        if others := readable[:number] + readable[number + 1 :]:
            code = _with_helpers(code, others)
        return ExtractedCode(Extraction.FOUND, trim_solution(code, entry_point) if trim else code)
    if len(readable) < len(whole):
        return ExtractedCode(Extraction.TOO_DEEP)
    head = re.compile(rf"^(?:async +)?(?:def|class) +{re.escape(entry_point)}\b", re.MULTILINE)
    begun = any(head.search(block) for block in blocks)
    return ExtractedCode(Extraction.SYNTAX_ERROR if begun else Extraction.NO_ENTRY_POINT)


def extract_program(text: str, marks: tuple[str, ...] = ()) -> ExtractedCode:
    """Find a whole program in a reply where no function is asked for: the first code block that is one.

    A block of bare numbers and words (an example of output) is none. Nothing is trimmed: every statement of a
    program that reads its input or sets variables counts.

    Args:
        text: The reply; ``<think>`` blocks are dropped.
        marks: What opens an answer in the prompt's own format, then everything that ends one. What stands between
            them, before any Markdown fence, comes first; code blocks are cut in the same way.
    """
    text = without_thoughts(text)
    blocks = code_blocks(text, bodies=True)
    if marks:
        marked = (
            code_blocks(_between(text, marks), bodies=True) if any(mark in text for mark in marks) else []
        )
        blocks = [*marked, *(_between(block, marks) for block in blocks)]
    blocks = [block for block in blocks if block.strip()]
    if not blocks:
        return ExtractedCode(Extraction.NO_CODE)
    whole = next((block for block in blocks if _does_something(syntax_tree(block))), None)
    return ExtractedCode(Extraction.SYNTAX_ERROR) if whole is None else ExtractedCode(Extraction.FOUND, whole)


def _between(text: str, marks: tuple[str, ...]) -> str:
    """Return what comes before the first mark that ends an answer and after the last one before it that opens one."""
    opening, *endings = marks
    for ending in endings:
        text = text.partition(ending)[0]
    return text.rpartition(opening)[2]


def _does_something(tree: ast.Module | None) -> bool:
    bare = (ast.Constant, ast.Name, ast.Tuple, ast.List, ast.UnaryOp)
    return tree is not None and not all(
        isinstance(statement, ast.Expr) and isinstance(statement.value, bare) for statement in tree.body
    )


def _with_helpers(code: str, others: list[str]) -> str:
    """Put before ``code`` the other blocks that define names which it reads and nobody in it defines."""
    tree = syntax_tree(code)
    assert tree is not None
    open_names = loaded_names([tree]) - set().union(*map(bound_names, tree.body))
    helpers = []
    for other in others:
        other_tree = syntax_tree(other)
        definitions = [] if other_tree is None else other_tree.body
        names: set[str] = set()
        for statement in definitions:
            if isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom):
                names |= bound_names(statement)
        if names & open_names:
            helpers.append(other)
    return "\n\n".join([*helpers, code])


_TESTING_MODULES = {"unittest", "doctest", "pytest", "nose"}


def _is_kept_setup(statement: ast.stmt, wanted: set[str], entry_point: str) -> bool:
    """Tell ``sys.setrecursionlimit(9000)`` from ``print(f(1))``: a call on a needed name that leaves f alone."""
    if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)):
        return False
    root = root_name(statement.value.func)
    is_method = isinstance(statement.value.func, ast.Attribute)
    return is_method and root in wanted - _TESTING_MODULES and entry_point not in loaded_names([statement])


def _is_tail(statement: ast.stmt) -> bool:
    """Tell an assertion, a bare expression or an ``if __name__`` block, which no program needs to be used."""
    if isinstance(statement, ast.If):
        return "__name__" in loaded_names([statement.test])
    return isinstance(statement, ast.Assert | ast.Expr)


def trim_solution(code: str, entry_point: str) -> str:
    """Keep of a program what its entry point needs, as it is written.

    Kept: ``entry_point``, every top-level statement that gives a value to a name that something kept reads
    (functions, classes, constants, imports), star and ``__future__`` imports, method calls on kept names
    that do not call the entry point (``sys.setrecursionlimit(9000)``), and the comment lines right above
    what is kept. Dropped: example calls, prints, assertions, test functions, ``if __name__`` blocks, unused
    imports, and what follows them. A program that does not parse, or that does not define the entry point,
    comes back unchanged.
    """
    tree = syntax_tree(code)
    if tree is None or not defines(tree, entry_point):
        return code
    candidates = [Statement(statement) for statement in tree.body if not _is_tail(statement)]
    kept = [statement.node for statement in needed(candidates, {entry_point})]
    # Walking all that is kept is dear, and most programs have no bare call that may be set-up.
    has_calls = any(isinstance(statement, ast.Expr) for statement in tree.body)
    wanted = loaded_names(kept) | {entry_point} if has_calls else set()
    for statement in tree.body:
        star = isinstance(statement, ast.ImportFrom) and (
            statement.module == "__future__" or statement.names[0].name == "*"
        )
        if statement not in kept and (star or _is_kept_setup(statement, wanted, entry_point)):
            kept.append(statement)
    lines = code.split("\n")
    pieces: list[str] = []
    last_line = 0
    for statement in sorted(kept, key=lambda node: node.lineno):
        decorators = getattr(statement, "decorator_list", [])
        first, last = (
            min([statement.lineno, *(node.lineno for node in decorators)]),
            statement.end_lineno or 0,
        )
        if last <= last_line:
            continue
        while first - 2 >= last_line and lines[first - 2].startswith("#"):
            first -= 1
        first = max(first, last_line + 1)
        blank = min(2, _blank_lines_before(lines, first, last_line)) if pieces else 0
        pieces.extend([""] * blank + lines[first - 1 : last])
        last_line = last
    return "\n".join(pieces)


def _blank_lines_before(lines: list[str], first: int, last_line: int) -> int:
    count = 0
    while first - 2 - count >= last_line and not lines[first - 2 - count].strip():
        count += 1
    return count
