"""Small tables of a run that a later reader needs: ``python scripts/export_tables.py RUN FOLDER``.

Writes ``summary.json`` (what ``codedpo show --json`` says), ``training_steps.csv`` and ``outcomes.csv``.
"""

import csv
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from codedpo.core.records import Sample, TrainingStep
from codedpo.core.stage import StageFolder
from codedpo.core.tables import read_rows
from codedpo.stages import stage_path

TABLES: dict[str, tuple[str, type, tuple[str, ...]]] = {
    "training_steps.csv": ("training", TrainingStep, ("step", "epoch", "split", "name", "value")),
    "outcomes.csv": (
        "evaluation",
        Sample,
        ("model", "benchmark", "problem_id", "outcome", "completion_tokens", "cpu_ns"),
    ),
}


def write_table(path: Path, rows: Iterable[Any], columns: Sequence[str]) -> None:
    """Write some columns of rows as CSV."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([getattr(row, column) for column in columns] for row in rows)


def main() -> None:
    """Export one run; folders of this machine are left out of its summary."""
    run, target = (Path(argument) for argument in sys.argv[1:])
    target.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "codedpo", "show", str(run), "--json"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    summary = json.loads(shown.replace(str(run.resolve().parent), "runs/experiments"))
    (target / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    for name, (stage, row_type, columns) in TABLES.items():
        rows = read_rows(StageFolder(stage_path(run, stage)).parts_of(row_type), row_type)
        write_table(target / name, rows, columns)


if __name__ == "__main__":
    main()
