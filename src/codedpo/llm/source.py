"""Reading Python that a model wrote: code blocks in prose, statements that parse, syntax trees."""

import ast
import re
import textwrap
import warnings

_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*([\w+#.-]*)[^\n`]*$", re.MULTILINE)
_PYTHON_FENCES = {"", "python", "py", "python3", "python2", "pycon", "ipython"}
_CODE_LINE = re.compile(r"(?:import|from|def|class|async def|assert)\b|@\w|[A-Za-z_]\w* *(?::[^=]+)?= ?\S")


def syntax_tree(code: str) -> ast.Module | None:
    """Parse code, or return None where it is no Python (nulls and absurd nesting included)."""
    return _parsed(code)[0]


def _parsed(code: str) -> tuple[ast.Module | None, int]:
    """Parse code; where it is no Python, return None and the line, counted from 1, that shows it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(code), 0
    except SyntaxError as error:
        return None, error.lineno or 1
    except (ValueError, RecursionError, MemoryError):
        return None, code.count("\n") + 2


def levels(tree: ast.AST) -> int:
    """Return how deep a syntax tree is nested: a sum of 300 terms, or 300 branches of ``elif``, is 300 levels deep.

    What walks a tree recursively fails on replies that repeat themselves, so their depth is asked first.
    """
    count = 0
    nodes = [tree]
    while nodes:
        count += 1
        nodes = [child for node in nodes for child in ast.iter_child_nodes(node)]
    return count


def without_thoughts(text: str) -> str:
    """Remove ``<think>`` blocks; one that is not closed takes all that follows, one not opened all before."""
    text = text.rpartition("</think>")[2] if "</think>" in text else text
    return text.partition("<think>")[0]


def code_blocks(text: str, *, bodies: bool = False) -> list[str]:
    """Return the Python code blocks of a reply in their order.

    Fenced blocks, the last of which may lack its closing fence; blocks that name another language are left
    out. A text without fences is one block: the whole of it without the prose above, where that is a program,
    else from its first line of code on.

    Args:
        text: The reply.
        bodies: Whether a text without fences may be indented as a whole: the body of a function that the prompt began.
    """
    fences = list(_FENCE.finditer(text))
    if not fences:
        return _unfenced(text, bodies)
    blocks = []
    position = 0
    while position < len(fences):
        start = fences[position]
        stop = next(
            (other for other in range(position + 1, len(fences)) if _closes(fences[other], start)),
            len(fences),
        )
        end = fences[stop].start() if stop < len(fences) else len(text)
        if start[2].lower() in _PYTHON_FENCES:
            blocks.append(_dedented(text[start.end() + 1 : end]).rstrip())
        position = stop + 1
    before = _unfenced(text[: fences[0].start()], bodies)
    return [block for block in [*blocks, *before] if block.strip()]


def _closes(fence: re.Match[str], start: re.Match[str]) -> bool:
    return fence[1][0] == start[1][0] and len(fence[1]) >= len(start[1]) and not fence[2]


def _dedented(code: str) -> str:
    """Take the common indentation off, comments aside: one above the body of a function often has none."""
    dedented = textwrap.dedent(code)
    lines = code.split("\n")
    indentations = [len(line) - len(line.lstrip()) for line in lines if line.strip() and line[0] != "#"]
    margin = min(indentations, default=0)
    if margin == 0 or syntax_tree(dedented) is not None:
        return dedented
    return "\n".join(line if line[:1] == "#" else line[margin:] for line in lines)


def _unfenced(text: str, bodies: bool) -> list[str]:
    lines = text.split("\n")
    first = next((number for number, line in enumerate(lines) if _CODE_LINE.match(line)), len(lines))
    starts = [number for number in range(min(first + 1, len(lines))) if _may_start(lines, number, bodies)]
    if whole := _program_from(lines, starts, bodies):
        return [whole[1].rstrip()]
    # Prose follows: what is code right above the first sure line of code belongs to it.
    head = _program_from(lines[:first], [start for start in starts if start < first], bodies=False)
    start = head[0] if head else first
    return ["\n".join(lines[start:]).rstrip()] if start < len(lines) else []


def _program_from(lines: list[str], starts: list[int], bodies: bool) -> tuple[int, str] | None:
    """Return the first start from which all lines are a program, and that program without leading words.

    A start above a line that is no Python is not tried again: so few parses are made of long prose.
    """
    wrong = 0
    for start in starts:
        if start < wrong:
            continue
        rest = "\n".join(lines[start:])
        tree, error = _parsed(rest)
        if tree is None and bodies:
            rest = _dedented(rest)
            tree, error = _parsed(rest)
        if tree is not None:
            code = _without_words(tree, rest)
            return (start, code) if code else None
        wrong = start + error - 1
    return None


def _may_start(lines: list[str], number: int, bodies: bool) -> bool:
    """Tell whether a program may start at a line: at the margin or, as a body, indented below a blank line."""
    line = lines[number]
    if not line.strip():
        return False
    return not line[0].isspace() or (bodies and (number == 0 or not lines[number - 1].strip()))


def _without_words(tree: ast.Module, code: str) -> str:
    """Return a program without leading prose that happens to parse ("Solution", "Note: this"); '' for nothing else."""
    statement = next((node for node in tree.body if not _is_words(node)), None)
    if statement is None or statement is tree.body[0]:
        return "" if statement is None else code
    return "\n".join(code.split("\n")[_first_line(statement) - 1 :])


def _first_line(statement: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(decorator.lineno for decorator in decorators)])


def _is_words(statement: ast.stmt) -> bool:
    """Tell a statement of names alone, which does nothing: no call, no constant, no assignment."""
    if isinstance(statement, ast.AnnAssign):
        return statement.value is None
    return isinstance(statement, ast.Expr) and not any(
        isinstance(node, ast.Call | ast.Constant) for node in ast.walk(statement)
    )


def whole_statements(code: str) -> str:
    """Return the longest run of leading top-level statements that parses; '' where there is none.

    A reply that was cut by its length, or that goes on in prose, keeps what was complete.
    """
    if syntax_tree(code) is not None:
        return code
    lines = code.split("\n")
    starts = [number for number, line in enumerate(lines) if line and not line[0].isspace()]
    for number in reversed(starts):
        head = "\n".join(lines[:number]).rstrip()
        if syntax_tree(head) is not None:
            return head
    return ""


def parsable_statements(code: str) -> list[ast.stmt]:
    """Return the top-level statements that parse, leaving out the broken ones between them."""
    tree = syntax_tree(code)
    if tree is not None:
        return tree.body
    lines = code.split("\n")
    starts = [number for number, line in enumerate(lines) if line and not line[0].isspace()] + [len(lines)]
    statements: list[ast.stmt] = []
    position = 0
    while position < len(starts) - 1:
        for end in range(position + 1, min(position + 6, len(starts))):
            piece = syntax_tree("\n".join(lines[starts[position] : starts[end]]))
            if piece is not None:
                statements.extend(piece.body)
                position = end
                break
        else:
            statements.extend(_rest_of(lines[starts[position] : starts[position + 1]]))
            position += 1
    return statements


def _rest_of(lines: list[str]) -> list[ast.stmt]:
    """Read what can be read of one broken statement: without its last lines (cut), else its assertions one by one."""
    for end in range(len(lines) - 1, max(0, len(lines) - 6), -1):
        piece = syntax_tree("\n".join(lines[:end]))
        if piece is not None and piece.body:
            return piece.body
    single = [syntax_tree(line.strip()) for line in lines if line.lstrip().startswith("assert ")]
    return [statement for tree in single if tree is not None for statement in tree.body]
