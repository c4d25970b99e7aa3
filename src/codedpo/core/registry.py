"""Extension points: a dict of built-in kinds, and ``kind: plugin`` for everybody else's."""

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from codedpo.core.errors import ConfigError


def load(table: Mapping[str, str], kind: str, path: str = "", *, what: str) -> Any:
    """Import what ``kind`` names in ``table`` (``kind -> "module:name"``), or ``path`` where it is ``plugin``.

    Args:
        table: The built-in kinds.
        kind: A key of ``table`` or ``plugin``.
        path: ``package.module:name``, for plug-ins only.
        what: Names the extension point in an error, ``ranking strategy``.

    Raises:
        ConfigError: the kind is unknown, or the plug-in cannot be imported.
    """
    if kind == "plugin":
        target = path
    elif kind in table:
        target = table[kind]
    else:
        raise ConfigError(
            f"there is no {what} of kind {kind}; there are {', '.join(sorted(table))} and plugin."
        )
    module_name, colon, name = target.partition(":")
    if not colon or not module_name or not name:
        raise ConfigError(f"the {what} plug-in path {target!r} is not of the form package.module:name.")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # A module of somebody else's can fail in any way.
        if kind == "plugin":
            remedy = "install it, mend it, or name its folder in PYTHONPATH (PYTHONPATH=. for this folder)"
        elif isinstance(error, ImportError):
            remedy = f"pip install 'codedpo[{EXTRAS[kind]}]'" if kind in EXTRAS else "install it"
        else:
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(f"the {what} {kind} ({target}) cannot be imported ({reason}); {remedy}.") from error
    if not hasattr(module, name):
        raise ConfigError(f"{module_name} has no {name}; mend the path of the {what} plug-in.")
    return getattr(module, name)


def call(target: Any, *arguments: Any, options: Mapping[str, Any], place: str, **keywords: Any) -> Any:
    """Call ``target`` with ``keywords`` and, over them, the ``options`` that a person wrote at ``place``.

    Raises:
        ConfigError: it has no such option.
    """
    given = keywords | dict(options)
    signature = inspect.signature(target)
    try:
        signature.bind(*arguments, **given)
    except TypeError as error:
        known = ", ".join(list(signature.parameters)[len(arguments) :]) or "none"
        raise ConfigError(f"{place} is {dict(options)}: {error}; there are {known}.") from error
    return target(*arguments, **given)


EXTRAS = {"local": "local", "transformers": "train", "ray": "ray"}
