"""``run.json``: by which commands, on what machine, with which packages and weights a run was made."""

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from codedpo.core.config import Config
from codedpo.core.processor import this_processor
from codedpo.core.progress import Voice
from codedpo.core.stage import write_json
from codedpo.services import Services


def _packages() -> dict[str, str]:
    names = (
        "codedpo",
        "numpy",
        "pyarrow",
        "openvino-genai",
        "torch",
        "transformers",
        "trl",
        "peft",
        "openai",
        "gguf",
    )
    found: dict[str, str] = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _commit() -> str:
    """Return the commit of a checkout that the package runs from; empty for an installed package."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():  # else a repository around the environment would be taken for ours
        return ""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def record_attempt(config: Config, folder: Path, services: Services) -> None:
    """Add this command to ``run.json`` and store the resolved config.

    What earlier commands noted of weights stays until this one resolves them too, which a shorter one does not.
    """
    path = folder / "run.json"
    manifest: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"attempts": []}
    manifest["attempts"].append(
        {
            "argv": sys.argv[1:],
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": _commit(),
            "packages": _packages(),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "cpu": f"{this_processor().name}, {os.cpu_count()} cores",
        }
    )
    origins = services.origins
    noted = {
        key: text
        for key, text in manifest.get("weights", {}).items()
        if key not in origins or text.startswith(f"{origins[key]}: ")  # the same model, with its origin
    }
    write_json(path, manifest | {"weights": origins | noted})
    write_json(folder / "config.resolved.json", config.model_dump(mode="json"))


def note_origins(folder: Path, services: Services, voice: Voice) -> None:
    """Say, once each, where weights came from, and keep it in ``run.json``."""
    path = folder / "run.json"
    manifest: dict[str, Any] = json.loads(path.read_text())
    new = {key: text for key, text in services.origins.items() if services.noted_origins.get(key) != text}
    for key, text in new.items():
        if key != "digest":
            voice.say(f"{key}: {text}", event="weights", style="dim", role=key, weights=text)
    services.noted_origins |= new
    if new:
        write_json(path, manifest | {"weights": manifest["weights"] | new})
