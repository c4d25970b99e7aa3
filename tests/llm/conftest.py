"""Real replies of models, read once."""

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Rows = Callable[[str], list[Any]]


@pytest.fixture(scope="session")
def rows(data_folder: Path) -> Rows:
    """Return a reader of gzipped JSON lines below the data folder."""

    def read(path: str) -> list[Any]:
        with gzip.open(data_folder / path, "rt") as file:
            return [json.loads(line) for line in file]

    return read


@pytest.fixture(scope="session")
def entry_points(rows: Rows) -> dict[int, str]:
    """Return the function that each MBPP task asks for."""
    names = {}
    for row in rows("mbpp/mbpp.jsonl.gz"):
        defined = re.findall(r"^def (\w+)", row["code"], re.MULTILINE)
        tested = [name for name in defined if f"{name}(" in row["test_list"][0]]
        names[row["task_id"]] = (tested or defined[-1:])[0]
    return names
