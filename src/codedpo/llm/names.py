"""Which names statements read, bind and change, and which statements are needed for them."""

import ast
import re
from collections.abc import Collection, Iterable

_CHANGING_METHOD = re.compile(
    r"add|append(left)?|clear|discard|extend(left)?|insert|pop(item|left)?|remove|reverse|rotate|setdefault|sort|(\w+_)?update"
)
"""Methods of built-in collections that change them, whatever is done with what they return."""


def loaded_names(nodes: Iterable[ast.AST]) -> set[str]:
    """Return the names that ``nodes`` read from outside themselves; a function's own variables do not count."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            names |= _free_names(node)
        else:
            names |= loaded_names(ast.iter_child_nodes(node))
    return names


def _free_names(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> set[str]:
    arguments = function.args
    every = [
        *arguments.posonlyargs,
        *arguments.args,
        *arguments.kwonlyargs,
        arguments.vararg,
        arguments.kwarg,
    ]
    own = {argument.arg for argument in every if argument is not None}
    body = [function.body] if isinstance(function, ast.Lambda) else function.body
    shared: set[str] = set()
    for statement in body:
        for node in _own_scope(statement):
            if isinstance(node, ast.Global | ast.Nonlocal):
                shared.update(node.names)
            elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                own.add(node.id)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                own.add(node.name)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                own.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ExceptHandler) and node.name:
                own.add(node.name)
    outside = [child for child in ast.iter_child_nodes(function) if child not in body]
    return (loaded_names(body) - (own - shared)) | shared | loaded_names(outside)


def bound_names(statement: ast.stmt) -> set[str]:
    """Return the names that a statement gives a value to or changes in place, in its own scope.

    ``f.cache = {}``, ``table[0] = 1`` and ``table.append(1)`` change ``f`` and ``table``.
    """
    names: set[str] = set()
    for node in _own_scope(statement):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
            names.add(root_name(node))
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            function = node.value.func
            names.add(root_name(function) if isinstance(function, ast.Attribute) else "")
    return names - {""}


def modules(statements: Iterable[ast.stmt]) -> set[str]:
    """Return the names that ``import`` gives to modules."""
    return set().union(*(bound_names(one) for one in statements if isinstance(one, ast.Import)))


def changed_names(statement: ast.stmt, modules: Collection[str] = ()) -> set[str]:
    """Return the bound names of a statement, and those of what it changes on the way: ``a`` in ``last = a.pop()``.

    Args:
        statement: the statement.
        modules: names of modules, which their functions do not change: ``np.append(a, 1)``.
    """
    names = bound_names(statement)
    for node in _own_scope(statement):
        method = node.func if isinstance(node, ast.Call) else None
        if isinstance(method, ast.Attribute) and _CHANGING_METHOD.fullmatch(method.attr):
            changed = method.value
            while isinstance(changed, ast.Attribute | ast.Subscript):
                changed = changed.value
            if isinstance(changed, ast.Name) and changed.id not in modules:
                names.add(changed.id)
    return names


def _own_scope(statement: ast.AST) -> Iterable[ast.AST]:
    yield statement
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
        return
    for child in ast.iter_child_nodes(statement):
        yield from _own_scope(child)


def root_name(node: ast.AST) -> str:
    """Return ``a`` for ``a``, ``a.b[0].c`` and ``a.b()``; '' where there is no such name."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Starred | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def needed(statements: list[ast.stmt], names: set[str]) -> list[ast.stmt]:
    """Return the statements that give the names their values, those that these need, and so on, in order."""
    imported = modules(statements)
    changed = [changed_names(statement, imported) for statement in statements]
    wanted = set(names)
    kept: set[int] = set()
    grown = True
    while grown:
        grown = False
        for number, statement in enumerate(statements):
            if number not in kept and changed[number] & wanted:
                kept.add(number)
                wanted |= loaded_names([statement])
                grown = True
    return [statement for number, statement in enumerate(statements) if number in kept]
