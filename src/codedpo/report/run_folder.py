"""What a run folder holds, read without knowing which stages there are: manifest, config, stage summaries."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codedpo.core.errors import ConfigError, DataError
from codedpo.core.stage import ADOPTED, StageFolder, StageSummary


@dataclass(frozen=True, slots=True)
class StageState:
    """One stage of a run, finished or not."""

    name: str
    folder: StageFolder
    summary: StageSummary | None
    """None where the stage is not finished."""
    parts: int
    """Parts that are written."""
    adopted_from: str
    """The base run whose result this is; empty for the run's own."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run as its folder tells it."""

    path: Path
    config: dict[str, Any]
    manifest: dict[str, Any]
    stages: tuple[StageState, ...]
    """Those that were started, in order."""

    def stage(self, name: str) -> StageState | None:
        """Return the stage called ``name``, or None where it was not started."""
        return next((stage for stage in self.stages if stage.name == name), None)


def _object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); run the config again to write it.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} does not hold an object; run the config again to write it.")
    return content


def _state(path: Path) -> StageState:
    marker = path / ADOPTED
    adopted = _object(marker) if marker.exists() else {}
    folder = StageFolder.of(path)
    return StageState(
        name=path.name.partition("-")[2],
        folder=folder,
        summary=folder.summary(),
        parts=len(folder.finished_parts()),
        adopted_from=str(adopted.get("base_run", "")),
    )


def read_run(path: Path) -> RunFolder:
    """Read a run folder.

    Raises:
        ConfigError: there is no run at ``path``.
        DataError: one of its files is torn.
    """
    if not (path / "run.json").exists():
        raise ConfigError(
            f"{path} is not a run folder (it has no run.json); name one such as runs/quickstart."
        )
    folders = sorted(item for item in path.glob("[1-9]-*") if item.is_dir())
    return RunFolder(
        path=path,
        config=_object(path / "config.resolved.json"),
        manifest=_object(path / "run.json"),
        stages=tuple(_state(folder) for folder in folders),
    )
