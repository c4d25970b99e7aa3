"""Small tables of a run that a later reader needs: ``python scripts/export_tables.py RUN FOLDER``.

Writes ``summary.json`` (what ``codedpo show --json`` says), ``training_steps.csv`` and ``outcomes.csv``.
"""

import json
from pathlib import Path

from run_tables import rows_of, start, write_table

from codedpo.core.records import Sample, TrainingStep
from codedpo.report.summary import summary_of

TABLES: dict[str, tuple[str, type, tuple[str, ...]]] = {
    "training_steps.csv": ("training", TrainingStep, ("step", "epoch", "split", "name", "value")),
    "outcomes.csv": (
        "evaluation",
        Sample,
        ("model", "benchmark", "problem_id", "outcome", "completion_tokens", "cpu_ns"),
    ),
}


def export(run: Path, folder: Path) -> None:
    """Export one run; folders of this machine are left out of its summary.

    Raises:
        ConfigError: there is no such run.
        DataError: it has not been evaluated.
    """
    summary = json.dumps(summary_of(run), indent=1, ensure_ascii=False)
    rows = {name: rows_of(run, stage, row_type) for name, (stage, row_type, _) in TABLES.items()}
    folder.mkdir(parents=True, exist_ok=True)
    text = summary.replace(f"{run.resolve().parent}/", "runs/experiments/")
    (folder / "summary.json").write_text(f"{text}\n", encoding="utf-8")
    for name, (_, _, columns) in TABLES.items():
        values = ([getattr(row, column) for column in columns] for row in rows[name])
        write_table(folder / name, columns, values)


if __name__ == "__main__":
    start(export)
