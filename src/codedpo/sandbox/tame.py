"""Decides whether a compiled program is so plain that it cannot touch another program in the same process.

A fork costs more than most solutions, so solutions that pass this test share one locked child, each with its
own namespace and fresh arguments; all others get a child of their own. The test is an allow-list: a program is
tame if it stores no attribute and no global of another namespace, imports only pure modules, and if every name
it mentions is its own, or a built-in function or method without reach (no introspection, no attribute access
by string, no name with a leading underscore). What is not recognised is not tame.
"""

import builtins
import collections
import dis
import importlib
import inspect
import re
import sys
import types
from typing import Any


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_BUILTIN_NAMES = _words(
    "abs all any ascii bin bool bytearray bytes callable chr complex dict divmod enumerate filter "
    "float frozenset hash hex id int isinstance issubclass iter len list map max min next oct ord "
    "pow print range repr reversed round set slice sorted str sum tuple zip NotImplemented "
    "Ellipsis object __name__"
) | {
    name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, Exception)
}
_OTHER_BUILTINS = frozenset(vars(builtins)) - _BUILTIN_NAMES
_VALUES: tuple[Any, ...] = (
    "",
    b"",
    bytearray(),
    0,
    0.0,
    0j,
    (),
    [],
    {},
    set(),
    frozenset(),
    range(0),
    slice(0),
    collections.deque(),
    collections.Counter(),
    collections.OrderedDict(),
    collections.defaultdict(),
    re.compile("a"),
    re.match("a", "a"),
    {}.items(),
)
_METHODS = frozenset(name for value in _VALUES for name in dir(value) if not name.startswith("_"))


def _public(module: str) -> frozenset[str]:
    return frozenset(name for name in dir(importlib.import_module(module)) if not name.startswith("_"))


_MODULES: dict[str, frozenset[str]] = {
    "math": _public("math"),
    "cmath": _public("cmath"),
    "itertools": _public("itertools"),
    "heapq": frozenset(_words("heappush heappop heapify heapreplace heappushpop nlargest nsmallest merge")),
    "bisect": _words("bisect bisect_left bisect_right insort insort_left insort_right"),
    "functools": frozenset(["reduce", "lru_cache", "cache", "cmp_to_key", "cache_clear", "partial"]),
    "collections": frozenset(["Counter", "defaultdict", "OrderedDict", "deque", "abc"]),
    "collections.abc": frozenset(
        ["Callable", "Iterable", "Iterator", "Sequence", "Mapping", "Generator", "Hashable"]
    ),
    "string": frozenset(name for name in _public("string") if name.islower()),
    "re": _words(
        "compile search match fullmatch split findall finditer sub subn escape IGNORECASE I MULTILINE M "
        "DOTALL S ASCII A VERBOSE X UNICODE U Match Pattern"
    ),
    "fractions": frozenset(("Fraction", "numerator", "denominator", "limit_denominator")),
    "copy": frozenset(("copy", "deepcopy")),
    "typing": _words(
        "Any AnyStr Callable ClassVar Collection Container Counter DefaultDict Deque Dict Final "
        "FrozenSet Generator Generic Hashable Iterable Iterator List Literal Mapping MutableMapping "
        "MutableSequence MutableSet NoReturn Optional OrderedDict Reversible Sequence Set Sized Text "
        "Tuple Type TypeVar Union cast"
    ),
    "__future__": frozenset(("annotations", "division", "print_function")),
}
_IMPORTABLE = frozenset().union(*_MODULES.values())
_ATTRIBUTES = _METHODS | _IMPORTABLE | {"args"}

_KNOWN_VERSIONS = range(11, 14)
"""Minor versions of Python 3 whose instructions are known to be covered by the three tables below."""
_REFUSED = bytes(
    dis.opmap[name]
    for name in _words(
        "STORE_ATTR DELETE_ATTR LOAD_BUILD_CLASS IMPORT_STAR MATCH_CLASS LOAD_CLASSDEREF LOAD_SUPER_ATTR "
        "LOAD_LOCALS LOAD_FROM_DICT_OR_GLOBALS LOAD_FROM_DICT_OR_DEREF GET_AWAITABLE CALL_INTRINSIC_2"
    )
    if name in dis.opmap
)
_TAKES_ATTRIBUTE = tuple(dis.opmap[name] for name in ("LOAD_ATTR", "LOAD_METHOD") if name in dis.opmap)
_ATTRIBUTE_SHIFT = 1 if sys.version_info >= (3, 12) else 0
_IMPORT_NAME, _IMPORT_FROM, _STORE_NAME, _LOAD_NAME, _LOAD_GLOBAL = (
    (dis.opmap[name],) for name in ("IMPORT_NAME", "IMPORT_FROM", "STORE_NAME", "LOAD_NAME", "LOAD_GLOBAL")
)
_EXTENDED = dis.opmap["EXTENDED_ARG"]
_GENERATOR = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


def is_tame(code: types.CodeType, known: frozenset[str] = frozenset()) -> bool:
    """Return whether a compiled module or expression is tame.

    Args:
        code: the program, compiled, never run.
        known: names that the namespace already has (for a test: those that the solutions define).
    """
    if sys.version_info.minor not in _KNOWN_VERSIONS:
        return False
    own = known | stored_names(code)
    if not own.isdisjoint(_OTHER_BUILTINS):
        return False
    free = own | _BUILTIN_NAMES
    codes = [code]
    for item in codes:
        codes.extend(constant for constant in item.co_consts if type(constant) is types.CodeType)
        operations = item.co_code[::2]
        if not set(operations).isdisjoint(_REFUSED) or (
            item.co_flags & _GENERATOR and item.co_exceptiontable
        ):
            return False  # A generator with a handler could still run code after its program has ended.
        if not (
            _ATTRIBUTES.issuperset(_names_at(item, operations, _TAKES_ATTRIBUTE, _ATTRIBUTE_SHIFT))
            and free.issuperset(_names_at(item, operations, _LOAD_GLOBAL, 1))
            and free.issuperset(_names_at(item, operations, _LOAD_NAME, 0))
            and _IMPORTABLE.issuperset(_names_at(item, operations, _IMPORT_FROM, 0))
            and _MODULES.keys() >= _names_at(item, operations, _IMPORT_NAME, 0)
        ):
            return False
    return True


def _names_at(code: types.CodeType, operations: bytes, wanted: tuple[int, ...], shift: int) -> frozenset[str]:
    """Return the names that the instructions ``wanted`` refer to."""
    raw, names = code.co_code, set()
    for operation in wanted:
        position = operations.find(operation)
        while position >= 0:
            argument, before = raw[2 * position + 1], position - 1
            while before >= 0 and operations[before] == _EXTENDED:
                argument |= raw[2 * before + 1] << (8 * (position - before))
                before -= 1
            names.add(code.co_names[argument >> shift])
            position = operations.find(operation, position + 1)
    return frozenset(names)


def stored_names(code: types.CodeType) -> frozenset[str]:
    """Return the names that a module's own level binds: functions, variables, imports."""
    return _names_at(code, code.co_code[::2], _STORE_NAME, 0)
