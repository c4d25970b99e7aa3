"""From a model's replies to concepts and to a task, with a reason for each reply that gives none."""

import ast
import builtins
import re
from dataclasses import dataclass

from codedpo.core.records import Seed
from codedpo.llm.source import syntax_tree, without_thoughts

LEAST_CHARACTERS, MOST_CHARACTERS = 40, 1200
MOST_CONCEPTS = 5
MOST_PARAMETERS = 6

_NOT_TESTABLE = re.compile(
    r"\b(?:files?|director(?:y|ies)|database|print(?:s|ed|ing)?|user input|random(?:ly)?|current (?:date|time)|"
    r"class(?:es)?|decorator|thread(?:s|ing)?|generator|iterator|stdin|stdout|command line|https?|socket)\b",
    re.IGNORECASE,
)
_REFERS = re.compile(
    r"\b(?:(?:the|this|given|above|provided|following|original) (?:code|snippet|function above|example|script)|"
    r"above function|given function|provided function|following function|this library|the exercise)\b",
    re.IGNORECASE,
)
_LABEL = re.compile(
    r"^\W*(?:new )?(?:task|exercise|problem|description)(?: description| statement)?\W*:\W*",
    re.IGNORECASE | re.MULTILINE,
)
_SIGNATURE = re.compile(r"\bdef\s+[A-Za-z_]\w*\s*\(")
_TYPING = {
    "List": "list",
    "Dict": "dict",
    "Set": "set",
    "Tuple": "tuple",
    "FrozenSet": "frozenset",
    "Text": "str",
}
_BUILTINS = set(dir(builtins))
_SAYS_NOTHING = re.compile(
    r"(?:and )?(?:python|functions?(?: (?:definitions?|calls?|parameters?|arguments?))?|arguments?|parameters?|"
    r"programming(?: (?:languages?|concepts?))?|code|"
    r"(?:data structures?|algorithms?)(?: and (?:data structures?|algorithms?))?)"
)
"""Concepts that any function has; small models like to name them."""


@dataclass(frozen=True, slots=True)
class ParsedTask:
    """What a reply asks for."""

    prompt: str
    signature: str
    entry_point: str


@dataclass(frozen=True, slots=True)
class NoTask:
    """Why a reply is no task."""

    reason: str
    detail: str


def parse_concepts(text: str) -> list[str]:
    """Return up to five concepts, lower case, from ``Concepts: a, b`` or a list; empty where there is none.

    Concepts that say nothing (``function``, ``algorithms``) count as none.
    """
    lines = [line.strip() for line in without_thoughts(text).strip().split("\n") if line.strip()]
    labelled = [line.partition(":")[2] for line in lines if line.lower().lstrip("*# ").startswith("concepts")]
    listed = [line for line in lines if line.lower().strip("*:# ") != "concepts"]
    chosen = labelled[0] if labelled and labelled[0].strip() else ",".join(listed[:MOST_CONCEPTS])
    names = [re.sub(r"^[\W\d]+|[\W]+$", "", item).lower() for item in re.split(r"[,;]", chosen)]
    names = [name.removeprefix("and ") for name in names]
    telling = [name for name in names if 2 < len(name) <= 60 and not _SAYS_NOTHING.fullmatch(name)]
    return list(dict.fromkeys(telling))[:MOST_CONCEPTS]


def parse_task(text: str, seed: Seed) -> ParsedTask | NoTask:
    """Read ``Task: ...`` and ``Signature: def ...`` out of a reply and check them.

    The first ``def`` of the reply is the signature, the words before it are the task. Type hints of
    ``typing`` become those of the language, and hints of names that need an import go, so that the signature
    can be used as it is.
    """
    text = without_thoughts(text).strip()
    found = _SIGNATURE.search(text)
    if found is None:
        return NoTask("no_signature", text[:200])
    prompt = _words_of(text[: found.start()])
    signature = signature_of(text[found.start() :])
    if signature is None:
        return NoTask("bad_signature", text[found.start() : found.start() + 200])
    function = ast.parse(f"{signature}\n    pass").body[0]
    assert isinstance(function, ast.FunctionDef)
    reason, detail = _refused(prompt, function, seed)
    return NoTask(reason, detail) if reason else ParsedTask(prompt, signature, function.name)


def _words_of(text: str) -> str:
    """Take labels, fences and markdown off the words before the signature."""
    text = re.sub(r"```\w*|\*\*|^#+ *|^(?:from|import) .*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"\W*\b(?:function )?signature\W*$", "", text.strip(), flags=re.IGNORECASE).strip()
    label = _LABEL.search(text)
    text = text[label.end() :] if label else text
    return text + "." if text and text[-1].isalnum() else text


def signature_of(text: str) -> str | None:
    """Return ``def name(arguments) -> type:`` in one line, with hints that need no import; None where there is none."""
    for end in (match.end() for match in re.finditer(r":", text[:400])):
        tree = syntax_tree(" ".join(text[:end].split("\n")) + " pass")
        if tree is not None and isinstance(tree.body[0], ast.FunctionDef):
            break
    else:
        line = text.partition("\n")[0].strip("`* ")
        tree = syntax_tree(f"{line}: pass")
        if tree is None or not isinstance(tree.body[0], ast.FunctionDef):
            return None
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    for argument in ast.walk(function.args):
        if isinstance(argument, ast.arg):
            argument.annotation = _plain_hint(argument.annotation)
    function.returns = _plain_hint(function.returns)
    function.body = [ast.Pass()]
    return ast.unparse(ast.fix_missing_locations(function)).partition("\n")[0]


class _Builtin(ast.NodeTransformer):
    """``List[int]`` to ``list[int]``, ``Optional[int]`` to ``int | None``, ``Union[int, str]`` to ``int | str``."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Name(_TYPING.get(node.id, node.id), ast.Load())

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        kind = node.value.id if isinstance(node.value, ast.Name) else ""
        inner = self.visit(node.slice)
        if kind not in ("Optional", "Union"):
            return ast.Subscript(self.visit(node.value), inner, ast.Load())
        parts = list(inner.elts) if isinstance(inner, ast.Tuple) else [inner]
        parts += [ast.Constant(None)] if kind == "Optional" else []
        joined = parts[0]
        for part in parts[1:]:
            joined = ast.BinOp(joined, ast.BitOr(), part)
        return joined


def _plain_hint(hint: ast.expr | None) -> ast.expr | None:
    if hint is None:
        return None
    hint = ast.parse(ast.unparse(_Builtin().visit(hint)), mode="eval").body
    names = {node.id for node in ast.walk(hint) if isinstance(node, ast.Name)}
    return hint if names <= _BUILTINS - {"any", "callable", "object"} else None


def _refused(prompt: str, function: ast.FunctionDef, seed: Seed) -> tuple[str, str]:
    """Return why a task is not taken, or ('', '')."""
    arguments = function.args
    count = len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs)
    package = re.split(r"[=<>/]", seed.repo_name)[0].lower()
    reference = _REFERS.search(prompt) or re.search(
        rf"\b{re.escape(package)}\b", prompt.lower() if package else ""
    )
    returns_nothing = isinstance(function.returns, ast.Constant) and function.returns.value is None
    stateful = _NOT_TESTABLE.search(prompt)
    checks: list[tuple[bool, str, str]] = [
        (len(prompt) < LEAST_CHARACTERS, "task_too_short", prompt),
        (len(prompt) > MOST_CHARACTERS, "task_too_long", prompt[:200]),
        (function.name in _BUILTINS or function.name.startswith("__"), "bad_entry_point", function.name),
        (count == 0 or count > MOST_PARAMETERS, "bad_parameters", ast.unparse(arguments)),
        (
            arguments.vararg is not None or arguments.kwarg is not None,
            "bad_parameters",
            ast.unparse(arguments),
        ),
        ("self" in [argument.arg for argument in arguments.args], "bad_parameters", ast.unparse(arguments)),
        (returns_nothing, "returns_nothing", ast.unparse(function).partition("\n")[0]),
        (reference is not None, "refers_to_seed", reference[0] if reference else ""),
        (stateful is not None, "not_testable", stateful[0] if stateful else ""),
    ]
    return next(((reason, detail) for failed, reason, detail in checks if failed), ("", ""))
