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
    """Return the newest whole checkpoint."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{WHOLE}")]
    return max(whole, key=lambda path: int(path.name.partition("-")[2]), default=None)


def delete_torn(folder: Path) -> None:
    """Delete the checkpoints that a kill left torn."""
    for path in folder.glob("checkpoint-*"):
        if not (path / WHOLE).exists():
            shutil.rmtree(path)


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
            if state.is_world_process_zero:
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
