"""Small tables of a run that a later reader needs: ``python scripts/export_tables.py RUN FOLDER``.

Writes ``summary.json`` (what ``codedpo show --json`` says), ``training_steps.csv`` and ``outcomes.csv``.
"""

import json
import subprocess
import sys
from pathlib import Path

from run_tables import rows_of, write_table

from codedpo.core.records import Sample, TrainingStep

TABLES: dict[str, tuple[str, type, tuple[str, ...]]] = {
    "training_steps.csv": ("training", TrainingStep, ("step", "epoch", "split", "name", "value")),
    "outcomes.csv": (
        "evaluation",
        Sample,
        ("model", "benchmark", "problem_id", "outcome", "completion_tokens", "cpu_ns"),
    ),
}


def main() -> None:
    """Export one run; folders of this machine are left out of its summary."""
    run, target = (Path(argument) for argument in sys.argv[1:])
    target.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "codedpo", "show", str(run), "--json"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    summary = json.loads(shown.replace(str(run.resolve().parent), "runs/experiments"))
    (target / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    for name, (stage, row_type, columns) in TABLES.items():
        rows = ([getattr(row, column) for column in columns] for row in rows_of(run, stage, row_type))
        write_table(target / name, columns, rows)


if __name__ == "__main__":
    main()
