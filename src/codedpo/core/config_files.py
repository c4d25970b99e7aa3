"""Configs from YAML files and overrides, each checked in full before any work starts."""

import json
import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from codedpo.core import config as sections
from codedpo.core.config import Config
from codedpo.core.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """YAML 1.2 floats (``5e-6`` is a number) and no silent duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        repeated = {str(key) for key in keys if keys.count(key) > 1}
        if repeated:
            line = node.start_mark.line + 1
            raise ConfigError(
                f"the section at line {line} gives {', '.join(sorted(repeated))} twice; keep one."
            )
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def parse_yaml(text: str, place: str) -> Any:
    """Parse YAML text; ``place`` names it in an error.

    Raises:
        ConfigError: the text is not YAML.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise ConfigError(f"{place} is not valid YAML: {problem}; mend it there.") from error
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from error


def _with_override(values: dict[str, Any], override: str) -> None:
    """Set one ``section.key=value`` in nested ``values``; no value is the empty text.

    Raises:
        ConfigError: it has another form, or its value is not YAML.
    """
    name, equals, text = override.partition("=")
    keys = name.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"the override {override!r} is not of the form section.key=value; write it so.")
    place = values
    for key in keys[:-1]:
        inner = place.setdefault(key, {})
        if not isinstance(inner, dict):
            raise ConfigError(
                f"the override {name} goes below {key}, which is not a section; name the key itself."
            )
        place = inner
    # Nothing is the empty text, which shells make of '' too; null has to be written.
    place[keys[-1]] = parse_yaml(text, f"the value of the override {name}") if text.strip() else ""


def _remedy(complaint: ErrorDetails) -> str:
    """Name the form that a value of another type would have; empty where there is nothing to say."""
    place, given = complaint["loc"], complaint["input"]
    if complaint["type"] == "string_type" and isinstance(given, int | float):
        return "; put it in quotes"
    if complaint["type"] == "tuple_type" and isinstance(given, str):
        return f"; write [{given}]"
    section = getattr(sections, complaint.get("ctx", {}).get("class_name", ""), None)
    if section is None or "kind" not in section.model_fields or not (given and isinstance(given, str)):
        return ""
    if isinstance(place[-1], int):
        return f"; write {{kind: {given}}} there"
    return f"; write {'.'.join(map(str, place))}.kind={given}"


def _sentence(error: ValidationError, place: str) -> str:
    """Turn pydantic's first complaint into one sentence, and count the others."""
    first, *others = error.errors(include_url=False)
    key = ".".join(str(part) for part in first["loc"]) or "the config"
    if first["type"] == "extra_forbidden":
        text = f"{place}: there is no option {key}; `codedpo config` lists those there are"
    elif first["type"] == "missing":
        text = f"{place}: {key} is missing; give it a value"
    else:
        message = first["msg"].removeprefix("Value error, ")
        text = f"{place}: {key} is {first['input']!r}: {message[0].lower()}{message[1:]}{_remedy(first)}"
    return f"{text} (and {len(others)} more)." if others else f"{text}."


def _read_values(path: Path, children: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read a config file on top of the one that it ``extends``, which is named relative to it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(
            f"the config {path} cannot be read: {reason}; name an existing YAML file."
        ) from error
    values = parse_yaml(text, str(path)) or {}
    if not isinstance(values, dict):
        raise ConfigError(
            f"{path} holds a {type(values).__name__}, not sections; see configs/quickstart.yaml."
        )
    parent = values.pop("extends", "")
    if not parent:
        return values
    if not isinstance(parent, str):
        raise ConfigError(f"{path}: extends is {parent!r}; name one YAML file there.")
    chain = (*children, path.resolve())
    if (path.parent / parent).resolve() in chain:
        raise ConfigError(f"{path} extends {parent}, which extends it in turn; break the circle.")
    return _merged(_read_values(path.parent / parent, chain), values)


def _merged(base: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Put values over those of a base, section by section; lists and plug-ins (``kind``) are replaced whole."""
    result = base | values
    for key, value in values.items():
        below = base.get(key)
        if isinstance(value, dict) and isinstance(below, dict) and "kind" not in value:
            result[key] = _merged(below, value)
    return result


def load_config(path: Path | str, overrides: tuple[str, ...] | list[str] = ()) -> Config:
    """Read a config file, apply ``section.key=value`` overrides, and check everything.

    A file may name another one by ``extends: ../quickstart.yaml`` and give only what differs.

    Raises:
        ConfigError: the file is missing or not YAML, or a key or value is not allowed.
    """
    path = Path(path)
    values = _read_values(path)
    values.setdefault("name", path.stem)
    return config_of(values, overrides, str(path))


def config_of(
    values: dict[str, Any], overrides: tuple[str, ...] | list[str] = (), place: str = "the command line"
) -> Config:
    """Apply ``section.key=value`` overrides to values, which must give a ``name``, and check everything.

    Raises:
        ConfigError: a key or value is not allowed; ``place`` says where they come from.
    """
    for override in overrides:
        _with_override(values, override)
    try:
        plain = json.dumps(values)
    except TypeError as error:
        raise ConfigError(
            f"{place}: a value is not a number, text, list or section ({error}); quote it."
        ) from error
    try:
        config = Config.model_validate_json(plain)
    except ValidationError as error:
        raise ConfigError(_sentence(error, place)) from error
    variants_of(config)
    return config


def variants_of(config: Config) -> dict[str, Config]:
    """Return the whole config of every variant: in the folder ``NAME/VARIANT``, on what ``NAME`` made.

    Raises:
        ConfigError: a variant has a key or value that is not allowed, or a place of its own.
    """
    found = {}
    for name, changes in config.variants.items():
        place = f"the variant {name}"
        own = sorted({"name", "runs_folder", "base_run", "variants"} & changes.keys())
        if own:
            raise ConfigError(f"{place} gives {', '.join(own)}, which follows from the config; take it out.")
        given = changes | {"name": f"{config.name}/{name}", "base_run": str(config.run_folder)}
        values = _merged(config.model_dump(mode="json", exclude={"variants"}), given)
        found[name] = config_of(values, place=place)
    return found
