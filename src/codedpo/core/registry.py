"""Extension points: a dict of built-in kinds, and ``kind: plugin`` for everybody else's."""

import importlib
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
        return getattr(importlib.import_module(module_name), name)
    except ImportError as error:
        remedy = f"pip install 'codedpo[{EXTRAS[kind]}]'" if kind in EXTRAS else "install it or mend the path"
        raise ConfigError(f"the {what} {kind} ({target}) cannot be imported: {error}; {remedy}.") from error
    except AttributeError as error:
        raise ConfigError(f"{module_name} has no {name}; mend the path of the {what} plug-in.") from error


EXTRAS = {"local": "local", "transformers": "train", "ray": "ray"}
