"""What the scripts beside it share: their command line, rows of a stored run, and small tables."""

import csv
import gzip
import io
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from codedpo.benchmarks.data import unpacked
from codedpo.cli import main
from codedpo.core.errors import DataError
from codedpo.core.stage import StageFolder
from codedpo.core.tables import read_rows
from codedpo.stages import stage_path

Columns = Mapping[str, Callable[[str], Any]]
"""What makes a value of the text of each column that is read."""


def start(command: Callable[..., None]) -> None:
    """Run a function as a command; what a person can mend is one sentence and an exit code, as ``codedpo`` has them."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(help=sys.modules[command.__module__].__doc__)(command)
    main(app)


def rows_of(run: Path, stage: str, row_type: type[Any]) -> list[Any]:
    """Read one table of a stage.

    Raises:
        DataError: the run has not finished the stage.
    """
    folder = StageFolder(stage_path(run, stage))
    if folder.summary() is None:
        raise DataError(f"{run} has no finished stage {stage}; name the folder of a run that has.")
    return read_rows(folder.parts_of(row_type), row_type)


def truth(text: str) -> bool:
    """Return the truth value that ``write_table`` wrote as ``True`` or ``False``."""
    return {"True": True, "False": False}[text]


def read_table(path: Path, columns: Columns) -> list[dict[str, Any]]:
    """Read columns of a table that ``write_table`` wrote.

    Args:
        path: The table, gzipped or not.
        columns: Those that are wanted.

    Raises:
        DataError: there is no such table, or it has no such columns, or other values in them.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist; make it first, as experiments/README.md says.")
    reader = csv.DictReader(io.StringIO(unpacked(path).decode(errors="replace")))
    if missing := [name for name in columns if name not in (reader.fieldnames or ())]:
        raise DataError(f"{path} has no column {', '.join(missing)}; name a table that has.")
    rows = []
    for row in reader:
        try:
            rows.append({name: of_text(row[name]) for name, of_text in columns.items()})
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{path}, line {reader.line_num}, is no row of {', '.join(columns)}; make it anew."
            ) from error
    return rows


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write rows as CSV, gzipped where the name ends with ``.gz``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    content = text.getvalue().encode()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
