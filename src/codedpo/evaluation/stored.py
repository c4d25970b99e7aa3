"""Results of earlier commands in the same folder: other benchmarks are added, nothing else is mixed or replaced."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codedpo.core.config import Config
from codedpo.core.errors import StaleError
from codedpo.core.fingerprint import completed, differing_fields
from codedpo.core.stage import write_json

RESULT, SETTINGS = "result.json", "settings.json"

Settings = dict[str, Any]
"""``config``: the options that change a result; beside it a digest or name of each subject."""


def settings_of(config: Config, **subjects: str) -> Settings:
    """Return what results have to share to stand in one folder: all that changes them but the benchmarks.

    Whether answers are timed too is no part of it, as that leaves their verdicts alone.
    """
    plain = config.model_dump(mode="json")
    evaluation = {k: v for k, v in plain["evaluation"].items() if k not in ("benchmarks", "efficiency")}
    model = {key: plain["model"][key] for key in ("template", "options")}
    return {
        "config": {
            "seed": config.seed,
            "model": model,
            "evaluation": evaluation,
            "sandbox": plain["sandbox"],
        },
        **subjects,
    }


def check_folder(folder: Path, settings: Settings) -> None:
    """See, before any work, that a folder holds nothing that was made with other settings or of another subject.

    A setting that is newer than the folder counts as having been at its default.

    Raises:
        StaleError: it does; the fields that differ are named.
    """
    path = folder / SETTINGS
    fields = [f"no {SETTINGS}"] if (folder / RESULT).exists() else []
    if path.exists():
        defaults = settings_of(Config(name="defaults"))["config"]
        stored = json.loads(path.read_text(encoding="utf-8"))
        fields = differing_fields(completed(stored, defaults), settings)
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
    path = folder / RESULT
    stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name, found in result.items():
        before = stored.get(name, {})
        if "efficiency" in before and "efficiency" not in found:
            timed = {
                "efficiency": before["efficiency"],
                "difference": before["difference"] | found["difference"],
            }
            found = found | timed
        stored[name] = found
    write_json(path, stored)
