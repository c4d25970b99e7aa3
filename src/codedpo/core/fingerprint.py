"""What makes a stored result reusable: digests of plain values, refused where they would not be stable."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any


def _plain(value: Any) -> Any:
    """Reduce ``value`` to JSON types, or raise where its digest could differ between processes."""
    if isinstance(value, Enum):
        return _plain(value.value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return {"float": repr(value)}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("a fingerprint needs string keys")
        return {key: _plain(item) for key, item in sorted(value.items())}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    raise TypeError(f"a {type(value).__name__} has no stable fingerprint")


def digest_of(value: Any) -> str:
    """Return 16 hex digits of the sha256 of a plain value (numbers, strings, lists, dicts, dataclasses).

    Raises:
        TypeError: the value holds something whose digest would not be stable (sets, objects, functions).
    """
    text = json.dumps(_plain(value), separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def completed(stored: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return an identity with the settings that its version did not have yet, at their defaults.

    Args:
        stored: An identity as it was written, whose ``config`` maps section to option to value.
        defaults: Default values in the same form; sections that ``stored`` lacks are left out.
    """
    config = stored["config"]
    sections = [name for name, values in config.items() if isinstance(values, dict)]
    return stored | {"config": config | {name: defaults.get(name, {}) | config[name] for name in sections}}


def differing_fields(stored: dict[str, Any], current: dict[str, Any], prefix: str = "") -> list[str]:
    """Name the fields in which two identities differ, as ``rankings.iterations: 10 -> 5``."""
    lines: list[str] = []
    for key in sorted(stored.keys() | current.keys()):
        name = f"{prefix}{key}"
        old, new = stored.get(key), current.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            lines.extend(differing_fields(old, new, f"{name}."))
        elif old != new:
            lines.append(f"{name}: {json.dumps(old)} -> {json.dumps(new)}")
    return lines
