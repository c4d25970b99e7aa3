"""Files of programs that a model wrote, in the formats that other harnesses read and write."""

import gzip
import json
import zlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from codedpo.core.errors import DataError

ENDINGS = (".jsonl", ".jsonl.gz")


def is_sample_file(name: str) -> bool:
    """Tell whether a name is that of a file of samples, by its ending."""
    return name.endswith(ENDINGS)


def read_samples(path: Path) -> dict[str, list[str]]:
    """Read samples in evalplus's format, one a line: ``task_id`` and ``solution`` or ``completion``.

    Returns:
        Programs (or completions of the prompt) of each task id, in the order of the file.

    Raises:
        DataError: the file cannot be read, or a line of it is no sample.
    """
    programs: dict[str, list[str]] = defaultdict(list)
    for number, row in _lines(path):
        code = row.get("solution", row.get("completion"))
        if not isinstance(code, str) or not isinstance(row.get("task_id"), str):
            raise DataError(
                f"{path}, line {number}, is no sample: it needs the texts task_id and solution (or completion)."
            )
        programs[row["task_id"]].append(code)
    if not programs:
        raise DataError(f"{path} holds no samples; give a file with a sample a line.")
    return dict(programs)


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    opener = gzip.open if path.suffix == ".gz" else open
    number = 0
    try:
        with opener(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise ValueError("it is no object")
                    yield number, row
    except (OSError, EOFError, zlib.error, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"{path} cannot be read as samples ({reason}, line {max(number, 1)}); give an existing JSON-lines file."
        ) from error
