"""Which names statements read, bind and change, and which statements are needed for them."""

import ast
import re
from collections.abc import Iterable, Sequence, Set
from functools import cached_property

SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
"""What has variables of its own."""

_CHANGING_METHOD = re.compile(
    r"add|append(left)?|clear|discard|extend(left)?|insert|pop(item|left)?|remove|reverse|rotate|setdefault|sort|(\w+_)?update"
)
"""Methods of built-in collections that change them, whatever is done with what they return."""


def loaded_names(nodes: Iterable[ast.AST]) -> set[str]:
    """Return the names that ``nodes`` read from outside themselves.

    A function's own variables and a handler's error do not count; ``n += 1`` reads ``n``.
    """
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            names |= _free_names(node)
        elif isinstance(node, ast.ExceptHandler):
            names |= loaded_names(ast.iter_child_nodes(node)) - {node.name}
        else:
            names |= loaded_names(ast.iter_child_nodes(node))
            if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
                names.add(node.target.id)
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
        own |= given_names(statement)
        for node in _own_scope(statement):
            if isinstance(node, ast.Global | ast.Nonlocal):
                shared.update(node.names)
    outside = [child for child in ast.iter_child_nodes(function) if child not in body]
    return (loaded_names(body) - (own - shared)) | shared | loaded_names(outside)


def given_names(statement: ast.AST) -> set[str]:
    """Return the names that a statement gives a value to in its own scope."""
    names: set[str] = set()
    for node in _own_scope(statement):
        if isinstance(node, SCOPES):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
    return names


def bound_names(statement: ast.stmt) -> set[str]:
    """Return the names that a statement gives a value to or changes in place, in its own scope.

    ``f.cache = {}``, ``table[0] = 1`` and ``table.append(1)`` change ``f`` and ``table``.
    """
    names = given_names(statement)
    for node in _own_scope(statement):
        if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
            names.add(root_name(node))
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            function = node.value.func
            names.add(root_name(function) if isinstance(function, ast.Attribute) else "")
    return names - {""}


class Statement:
    """A statement with what it does to names, each found once, however many assertions ask for it."""

    def __init__(self, node: ast.stmt) -> None:
        self.node = node

    @cached_property
    def given(self) -> set[str]:
        """The names that it gives a value to: ``given_names``."""
        return given_names(self.node)

    @cached_property
    def bound(self) -> set[str]:
        """The names that it gives a value to or changes in place: ``bound_names``."""
        return bound_names(self.node)

    @cached_property
    def altered(self) -> set[str]:
        """The names that a method may change on the way, ``a`` in ``last = a.pop()``; of a module none does."""
        names: set[str] = set()
        for node in _own_scope(self.node):
            method = node.func if isinstance(node, ast.Call) else None
            if isinstance(method, ast.Attribute) and _CHANGING_METHOD.fullmatch(method.attr):
                changed = method.value
                while isinstance(changed, ast.Attribute | ast.Subscript):
                    changed = changed.value
                if isinstance(changed, ast.Name):
                    names.add(changed.id)
        return names

    @cached_property
    def read(self) -> set[str]:
        """The names that it reads from outside itself."""
        return loaded_names([self.node])

    @cached_property
    def called(self) -> set[str]:
        """The functions that are called by their names anywhere in it."""
        calls = (node.func for node in ast.walk(self.node) if isinstance(node, ast.Call))
        return {function.id for function in calls if isinstance(function, ast.Name)}

    @cached_property
    def in_bare(self) -> set[str]:
        """The names read by its bare expressions, those of its loops and branches too, prints apart."""
        return loaded_names(self._bare)

    @cached_property
    def handed(self) -> set[str]:
        """The names that its bare calls are handed, and may change: ``a`` in ``shuffle(a)``."""
        calls = [node.value for node in self._bare if isinstance(node.value, ast.Call)]
        return loaded_names(
            value for call in calls for value in (*call.args, *(keyword.value for keyword in call.keywords))
        )

    @cached_property
    def _bare(self) -> list[ast.Expr]:
        inside = [] if isinstance(self.node, SCOPES) else ast.walk(self.node)
        return [node for node in inside if isinstance(node, ast.Expr) and not prints(node)]

    @cached_property
    def text(self) -> str:
        """Its code."""
        return ast.unparse(ast.fix_missing_locations(self.node))

    def changes(self, names: Set[str], imported: Set[str] = frozenset()) -> bool:
        """Tell whether it binds one of the names or changes it on the way; ``imported``: those of modules."""
        return not names.isdisjoint(self.bound) or not names.isdisjoint(self.altered - imported)


def prints(statement: ast.stmt) -> bool:
    """Tell a bare call of ``print``."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "print"


def modules(statements: Iterable[Statement]) -> set[str]:
    """Return the names that ``import`` gives to modules, which their functions do not change: ``np.append(a, 1)``."""
    return set().union(*(one.bound for one in statements if isinstance(one.node, ast.Import)))


def _own_scope(statement: ast.AST) -> Iterable[ast.AST]:
    yield statement
    if isinstance(statement, (*SCOPES, ast.Lambda)):
        return
    for child in ast.iter_child_nodes(statement):
        yield from _own_scope(child)


def root_name(node: ast.AST) -> str:
    """Return ``a`` for ``a``, ``a.b[0].c`` and ``a.b()``; '' where there is no such name."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Starred | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def needed(statements: Sequence[Statement], names: set[str]) -> list[Statement]:
    """Return the statements that give the names their values, those that these need, and so on, in order."""
    imported = modules(statements)
    wanted = set(names)
    kept: set[Statement] = set()
    grown = True
    while grown:
        grown = False
        for statement in statements:
            if statement not in kept and statement.changes(wanted, imported):
                kept.add(statement)
                wanted |= statement.read
                grown = True
    return [statement for statement in statements if statement in kept]
