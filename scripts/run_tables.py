"""What the scripts beside it share: rows of a stored run, and small tables of them."""

import csv
import gzip
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from codedpo.core.stage import StageFolder
from codedpo.core.tables import read_rows
from codedpo.stages import stage_path


def rows_of(run: Path, stage: str, row_type: type[Any]) -> list[Any]:
    """Read one table of a stage."""
    return read_rows(StageFolder(stage_path(run, stage)).parts_of(row_type), row_type)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write rows as CSV, gzipped where the name ends with ``.gz``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    content = text.getvalue().encode()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
