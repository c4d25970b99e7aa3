"""What happens along training: progress, the schedule of validation and checkpoints, and which ones are whole."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from codedpo.core.progress import Advance
from codedpo.training.trainers import Schedule

WHOLE = "whole"
"""Name of the file that is written into a checkpoint last: a kill while saving leaves a checkpoint without it."""


def last_checkpoint(folder: Path) -> Path | None:
    """Return the newest whole checkpoint and delete those that a kill left torn."""
    checkpoints = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.partition("-")[2]))
    for path in checkpoints:
        if not (path / WHOLE).exists():
            shutil.rmtree(path)
    whole = [path for path in checkpoints if path.exists()]
    return whole[-1] if whole else None


def scheduled(schedule: Schedule, advance: Advance, *, validate: bool) -> Any:
    """Make the callback that advances progress, asks for validation and checkpoints, and marks those whole."""
    from transformers import TrainerCallback

    class Scheduled(TrainerCallback):  # type: ignore[misc]
        def on_substep_end(self, *_: Any, **__: Any) -> None:
            advance(1)

        def on_step_end(self, _arguments: Any, state: Any, control: Any, **_: Any) -> Any:
            advance(1)
            if state.global_step in schedule.points:
                control.should_save = True
                control.should_evaluate = validate
            return control

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
            (Path(args.output_dir) / f"checkpoint-{state.global_step}" / WHOLE).touch()
            return control

    return Scheduled()


def watching(check: Callable[[list[dict[str, float]]], None]) -> Any:
    """Make the callback that shows every new log line to ``check``, which may raise."""
    from transformers import TrainerCallback

    class Watching(TrainerCallback):  # type: ignore[misc]
        def on_log(self, _arguments: Any, state: Any, control: Any, **_: Any) -> Any:
            check(state.log_history)
            return control

    return Watching()
