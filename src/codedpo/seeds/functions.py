"""Python source -> its top-level functions, each with what the filters need to know.

``ast`` reads Python 3. Where a file is Python 2 or broken, tree-sitter finds the functions that are whole,
and each of them is read by ``ast`` alone.
"""

import ast
import builtins
import symtable
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

BUILTINS = frozenset(dir(builtins))


@dataclass(frozen=True, slots=True)
class Function:
    """One top-level function."""

    name: str
    code: str
    """Its source lines, decorators included."""
    first_line: int
    last_line: int
    is_valid: bool
    """False where it is not Python 3; everything below is then empty."""
    docstring: str = ""
    parameters: int = 0
    returns_value: bool = False
    decorators: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    """Dotted names of the modules it uses; ``.`` for a relative import."""
    names: tuple[str, ...] = ()
    """Builtins and other names from outside that it uses, imported modules aside."""
    foreign: tuple[str, ...] = ()
    """Those of ``names`` that neither Python nor an import gives: it cannot run alone."""
    attributes: tuple[str, ...] = ()
    """Dotted attributes of plain names, ``sys.stdout``."""


def extract(source: str) -> Iterator[Function]:
    """Yield the top-level functions of a file in order.

    Args:
        source: The file's text, of any Python version, whole or broken.
    """
    try:
        tree = _parse(source)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        yield from _extract_from_broken(source)
        return
    lines = [f"{line}\n" for line in source.split("\n")]
    imports, defined = _module_names(tree.body)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            last = node.end_lineno or node.lineno
            code = "".join(lines[first - 1 : last])
            yield _analyse(node.name, code, first, last, imports, defined)


def _parse(source: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in other people's strings
        return ast.parse(source)


def _module_names(body: list[ast.stmt]) -> tuple[dict[str, str], set[str]]:
    """Return what a module imports (name -> dotted module) and what else it defines."""
    imports: dict[str, str] = {}
    defined: set[str] = set()
    for statement in body:
        match statement:
            case ast.Import() | ast.ImportFrom():
                imports |= _imported(statement)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                defined.add(statement.name)
            case ast.If() | ast.Try() | ast.With():
                inner = [node for node in ast.iter_child_nodes(statement) if isinstance(node, ast.stmt)]
                for handler in getattr(statement, "handlers", []):
                    inner.extend(handler.body)
                more_imports, more_defined = _module_names(inner)
                imports |= more_imports
                defined |= more_defined
            case _:
                stores = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
                defined |= {node.id for node in stores if isinstance(node.ctx, ast.Store)}
    return imports, defined


def _imported(statement: ast.Import | ast.ImportFrom) -> dict[str, str]:
    if isinstance(statement, ast.Import):
        return {alias.asname or alias.name.partition(".")[0]: alias.name for alias in statement.names}
    module = "." if statement.level else statement.module or "."
    names = {alias.asname or alias.name: alias.name for alias in statement.names}
    submodules = {"urllib": ("parse",), "os": ("path",), "collections": ("abc",)}.get(module, ())
    return {name: f"{module}.{origin}" if origin in submodules else module for name, origin in names.items()}


def _analyse(
    name: str, code: str, first: int, last: int, imports: Mapping[str, str], defined: set[str]
) -> Function:
    """Read one function that stands alone in ``code``."""
    text = code if code.endswith("\n") else f"{code}\n"
    try:
        (node,) = _parse(text).body
        used = _outer_names(symtable.symtable(text, "<function>", "exec")) - {name}
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return Function(name, code, first, last, is_valid=False)
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return Function(name, code, first, last, is_valid=False)
    inner = [child for child in ast.walk(node) if isinstance(child, ast.Import | ast.ImportFrom)]
    modules = {imports[item] for item in used if item in imports}
    for statement in inner:
        modules |= set(_imported(statement).values())
    names = {item for item in used if item not in imports}
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return Function(
        name=name,
        code=code,
        first_line=first,
        last_line=last,
        is_valid=True,
        docstring=ast.get_docstring(node) or "",
        parameters=len(positional) + (arguments.vararg is not None) + (arguments.kwarg is not None),
        returns_value=_returns_value(node),
        decorators=tuple(ast.unparse(decorator) for decorator in node.decorator_list),
        modules=tuple(sorted(modules - {"__future__"})),
        names=tuple(sorted(names)),
        foreign=tuple(sorted(item for item in names if item in defined or item not in BUILTINS)),
        attributes=tuple(sorted(_attributes(node))),
    )


def _outer_names(table: symtable.SymbolTable) -> set[str]:
    """Return every name that a scope or one below it takes from outside the snippet."""
    at_top = table.get_type() == "module"
    found = {
        symbol.get_name()
        for symbol in table.get_symbols()
        if symbol.is_referenced() and (symbol.is_global() or (at_top and not symbol.is_assigned()))
    }
    return found.union(*(_outer_names(child) for child in table.get_children()))


def _returns_value(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Tell whether the function itself, not one inside it, returns something other than None."""
    pending: list[ast.AST] = list(function.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            continue
        if isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
            return True
        pending.extend(ast.iter_child_nodes(node))
    return False


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _attributes(node: ast.AST) -> set[str]:
    return {
        f"{inner.value.id}.{inner.attr}"
        for inner in ast.walk(node)
        if isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name)
    }


def _extract_from_broken(source: str) -> Iterator[Function]:
    """Find the functions of a file that Python 3 cannot parse."""
    import tree_sitter
    import tree_sitter_python

    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_python.language()))
    root = parser.parse(source.encode("utf-8", errors="replace")).root_node
    imports: dict[str, str] = {}
    defined: set[str] = set()
    functions: list[tuple[str, str, int, int]] = []
    for node in root.children:
        text = (node.text or b"").decode("utf-8")
        inner = node.child_by_field_name("definition") if node.type == "decorated_definition" else node
        if inner is not None and inner.type == "function_definition":
            name_node = inner.child_by_field_name("name")
            name = (name_node.text or b"").decode("utf-8") if name_node else ""
            functions.append((name, f"{text}\n", node.start_point.row + 1, node.end_point.row + 1))
            defined.add(name)
            continue
        try:
            more_imports, more_defined = _module_names(_parse(text).body)
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            continue
        imports |= more_imports
        defined |= more_defined
    for name, code, first, last in functions:
        yield _analyse(name, code, first, last, imports, defined)
