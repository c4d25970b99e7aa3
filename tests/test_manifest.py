import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from codedpo.core.config import Config
from codedpo.core.progress import Voice
from codedpo.manifest import note_origins, record_attempt
from codedpo.services import Services


def command(folder: Path, model: str, **resolved: str) -> dict[str, Any]:
    """Do to ``run.json`` what a command does that resolves these weights, and return its note of all weights."""
    folder.mkdir(exist_ok=True)
    config = Config.model_validate({"name": "x", "model": {"name": model}})
    services = Services(config, folder, Voice(quiet=True))
    record_attempt(config, folder, services)
    services.origins |= resolved
    note_origins(folder, services, services.voice)
    noted: dict[str, Any] = json.loads((folder / "run.json").read_text())["weights"]
    return noted


def test_the_commit_is_that_of_a_checkout_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment inside a person's own repository is no checkout."""
    author = ("-c", "user.name=x", "-c", "user.email=x@example.com")
    for arguments in (("init", "-q"), (*author, "commit", "-q", "--allow-empty", "-m", "x")):
        subprocess.run(["git", "-C", tmp_path, *arguments], check=True)
    for place, is_ours in (("src", True), (".venv/lib/python3.11/site-packages", False)):
        package = tmp_path / place / "codedpo"
        package.mkdir(parents=True)
        monkeypatch.setattr("codedpo.manifest.__file__", str(package / "manifest.py"))
        command(tmp_path / f"run-{is_ours}", "mine")
        (attempt,) = json.loads((tmp_path / f"run-{is_ours}" / "run.json").read_text())["attempts"]
        assert bool(attempt["commit"]) == is_ours


def test_a_shorter_command_keeps_what_was_noted_of_weights(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    whole = command(folder, "mine", generator="local mine: bundled", trained="mine: bundled", digest="abc")
    assert whole == {"generator": "local mine: bundled", "trained": "mine: bundled", "digest": "abc"}
    assert command(folder, "mine") == whole
    assert command(folder, "other") == whole | {"generator": "local other"}
    again = {"generator": "local mine: the Hub", "trained": "mine: the Hub", "digest": "def"}
    assert command(folder, "mine", **again) == again
