"""Results of earlier commands in the same folder: other benchmarks are added, nothing else is mixed or replaced."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codedpo.core.config import Config
from codedpo.core.errors import DataError, StaleError
from codedpo.core.fingerprint import completed, differing_fields
from codedpo.core.stage import write_json

RESULT, SETTINGS = "result.json", "settings.json"
SAMPLING = ("samples", "temperature", "top_p", "max_tokens")

Settings = dict[str, Any]
"""``config``: the options that change a result; beside it a digest or name of each subject."""


def settings_of(config: Config, *, is_asked: bool, **subjects: str) -> Settings:
    """Return what results have to share to stand in one folder: all that changes them but the benchmarks.

    Args:
        config: Its ``seed``, ``evaluation`` and ``sandbox``.
        is_asked: One of the subjects is a model, which is sampled; published solutions and files are not.
        subjects: A digest or name of each. That of a model has its engine, template and prompt style.
    """
    plain = config.model_dump(mode="json")
    keys = ("limit", *(SAMPLING if is_asked else ()))
    evaluation = {key: plain["evaluation"][key] for key in keys}
    return {
        "config": {"seed": config.seed, "evaluation": evaluation, "sandbox": plain["sandbox"]},
        **subjects,
    }


def check_folder(folder: Path, settings: Settings) -> None:
    """See, before any work, that a folder holds nothing that was made with other settings or of another subject.

    A setting that is newer than the folder counts as having been at its default.

    Raises:
        StaleError: it does; the fields that differ are named.
        DataError: one of its files is torn.
    """
    result, stored = (_stored(folder / name) for name in (RESULT, SETTINGS))
    fields = [f"no {SETTINGS}"] if result else []
    if stored:
        is_asked = "samples" in settings["config"]["evaluation"]
        defaults = settings_of(Config(name="defaults"), is_asked=is_asked)["config"]
        fields = differing_fields(completed({"config": {}} | stored, defaults), settings)
    if fields:
        raise StaleError(
            f"{folder} holds results that were made otherwise ({'; '.join(fields)}); rename it to keep them, or remove "
            "it, and run again: replies of models are kept beside it."
        )


def begin(folder: Path, settings: Settings) -> None:
    """Note by which settings a folder is made, before anything else is written there."""
    write_json(folder / SETTINGS, settings)


def add(folder: Path, result: Mapping[str, Any]) -> None:
    """Put the figures of a command, benchmark by benchmark, among those of earlier ones.

    A benchmark that is judged again keeps the CPU times of its answers where they were not measured anew.
    """
    stored = _stored(folder / RESULT)
    for name, found in result.items():
        before = stored.get(name, {})
        if "efficiency" in before and "efficiency" not in found:
            timed = {
                "efficiency": before["efficiency"],
                "difference": before["difference"] | found["difference"],
            }
            found = found | timed
        stored[name] = found
    write_json(folder / RESULT, stored)


def _stored(path: Path) -> dict[str, Any]:
    """Return the object that a file holds; an empty one where there is no file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise DataError(
            f"{path} is torn; remove {path.parent} and run again: replies of models are kept beside it."
        )
    return found
