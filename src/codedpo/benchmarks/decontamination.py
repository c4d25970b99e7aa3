"""Keeps benchmark problems out of the data: is a text, or a function, one of the known problems?

Five signs, each with its own reason:

- ``same_code``: the code equals a canonical solution once names, docstrings and annotations are set aside.
- ``shared_10_gram``: ten words in a row of a problem's prompt or solution.
- ``shared_8_gram``: eight words in a row of a short prompt, which has few or no 10-grams.
- ``same_prompt``: the whole of a short prompt, examples aside.
- ``same_name``: the name of a function that a problem asks for, where the name is distinctive.

Words are letters and digits only: punctuation makes most 10- to 13-grams of code idioms
(``for i in range(len(x)):``), the known source of false alarms.
"""

import ast
import builtins
import hashlib
import keyword
import re
from collections.abc import Iterable
from dataclasses import dataclass

from codedpo.benchmarks.assertions import parse
from codedpo.benchmarks.base import Problem

REASONS = ("same_code", "shared_10_gram", "shared_8_gram", "same_prompt", "same_name")
"""Every ``Match.reason``; stages drop rows under these names."""
_BUILTINS = frozenset(dir(builtins))
_IDIOM = frozenset(word.lower() for word in [*keyword.kwlist, *_BUILTINS])
_WORD = re.compile(r"[a-z0-9]+")
_LONG, _SHORT = 10, 8
_SHORT_PROMPT = 25
"""A prompt of fewer words gets 8-grams."""
_LEAST_TELLING = 6
"""An n-gram with fewer different telling words (``for i in range m 1 for i in range``) says nothing."""
_LEAST_PROMPT = 5
"""A prompt of fewer words (``Reverse a string``) is found by its code and its name only."""
_DISTINCTIVE_WORDS = 3


def words(text: str) -> list[str]:
    """Split a text into lower-case words; ``snake_case`` and ``camelCase`` names fall into their words."""
    return _WORD.findall(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower())


def grams(text: str, size: int) -> set[str]:
    """Return the runs of ``size`` words of a text, those with too few telling words left out.

    Telling are words of two letters or more that are neither keywords nor builtins of Python.
    """
    found = words(text)
    runs = (found[start : start + size] for start in range(len(found) - size + 1))
    return {" ".join(run) for run in runs if sum(map(_is_telling, set(run))) >= _LEAST_TELLING}


def _is_telling(word: str) -> bool:
    return len(word) > 1 and not word.isdigit() and word not in _IDIOM


def normalised_hash(code: str) -> str | None:
    """Return a digest of code that names, docstrings, annotations and layout do not change.

    Names are numbered in the order of their first appearance; builtins, attributes and keyword names stay.
    None where the code does not parse.
    """
    try:
        tree = parse(code)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    body = [node for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom)]
    normal = _Normal().visit(ast.Module(body, []))
    return hashlib.sha256(ast.dump(normal).encode()).hexdigest()[:16]


class _Normal(ast.NodeTransformer):
    """Numbers names; drops docstrings and annotations."""

    def __init__(self) -> None:
        self._numbers: dict[str, str] = {}

    def _number(self, name: str) -> str:
        if name in _BUILTINS:
            return name
        return self._numbers.setdefault(name, f"n{len(self._numbers)}")

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(self._number(node.id), ast.Load())

    def visit_arg(self, node: ast.arg) -> ast.arg:
        return ast.arg(self._number(node.arg), None)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is None:
            return ast.Pass()
        return ast.Assign([self.visit(node.target)], self.visit(node.value))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        name = self._number(node.name)
        arguments = self.visit(node.args)
        body = node.body[1:] if ast.get_docstring(node) is not None else node.body
        return ast.FunctionDef(name, arguments, [self.visit(item) for item in body], [], None, None)


def is_distinctive(name: str) -> bool:
    """Tell whether a function name can hardly come about twice by chance: three words or more."""
    return len(words(name)) >= _DISTINCTIVE_WORDS


@dataclass(frozen=True, slots=True)
class Match:
    """What a text has in common with a benchmark problem."""

    reason: str
    """One of ``REASONS``."""
    problem: str
    """Benchmark and problem, ``humaneval HumanEval/23``."""
    evidence: str
    """The shared words or the name."""


class Decontaminator:
    """Index of benchmark problems that answers whether something repeats one of them."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self._grams: dict[str, str] = {}
        self._short_grams: dict[str, str] = {}
        self._prompts: dict[str, list[tuple[str, str]]] = {}
        self._hashes: dict[str, str] = {}
        self._names: dict[str, str] = {}
        for problem in problems:
            self._add(problem)

    def _add(self, problem: Problem) -> None:
        label = f"{problem.benchmark} {problem.problem_id}"
        for text in (problem.prompt, problem.canonical_solution):
            for gram in grams(text, _LONG):
                self._grams.setdefault(gram, label)
        if len(words(problem.prompt)) < _SHORT_PROMPT:
            for gram in grams(problem.prompt, _SHORT):
                self._short_grams.setdefault(gram, label)
        prose = words(_prose(problem))
        if _LEAST_PROMPT <= len(prose) < _SHORT_PROMPT:
            head = " ".join(prose[:_LEAST_PROMPT])
            self._prompts.setdefault(head, []).append((" ".join(prose), label))
        for code in _functions(problem):
            digest = normalised_hash(code)
            if digest:
                self._hashes.setdefault(digest, label)
        if is_distinctive(problem.entry_point):
            self._names.setdefault(" ".join(words(problem.entry_point)), label)

    def match(self, text: str, entry_point: str | None, code: str | None) -> Match | None:
        """Find the benchmark problem that something repeats.

        Args:
            text: Everything there is to read: prompt, docstring, code.
            entry_point: The function's name, None if there is none.
            code: The function itself, None if there is none.
        """
        digest = normalised_hash(code) if code else None
        if digest in self._hashes:
            return Match("same_code", self._hashes[digest], entry_point or "")
        for reason, size, known in (
            ("shared_10_gram", _LONG, self._grams),
            ("shared_8_gram", _SHORT, self._short_grams),
        ):
            shared = sorted(grams(text, size) & known.keys())
            if shared:
                return Match(reason, known[shared[0]], shared[0])
        if prompt := self._whole_prompt(words(text)):
            return prompt
        name = " ".join(words(entry_point or ""))
        return Match("same_name", self._names[name], entry_point or "") if name in self._names else None

    def _whole_prompt(self, found: list[str]) -> Match | None:
        for start in range(len(found) - _LEAST_PROMPT + 1):
            for prose, label in self._prompts.get(" ".join(found[start : start + _LEAST_PROMPT]), ()):
                size = prose.count(" ") + 1
                if " ".join(found[start : start + size]) == prose:
                    return Match("same_prompt", label, prose)
        return None


def _prose(problem: Problem) -> str:
    """Return what a prompt says in words: the docstring of its function or all of it, without examples."""
    try:
        tree = parse(problem.prompt)
    except (SyntaxError, ValueError):
        text = problem.prompt
    else:
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        named = [node for node in functions if node.name == problem.entry_point]
        text = (ast.get_docstring(named[-1]) if named else ast.get_docstring(tree)) or problem.prompt
    return re.split(r">>>|\bassert\b", text)[0]


def _functions(problem: Problem) -> list[str]:
    """Return the canonical program's function that is asked for, as code."""
    try:
        tree = parse(problem.canonical_solution)
    except (SyntaxError, ValueError):
        return []
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return [ast.unparse(node) for node in functions if node.name == problem.entry_point]
