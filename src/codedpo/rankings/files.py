"""Pass matrices that people bring: npz (one matrix), Parquet or JSON lines (one row a cell, any number of tasks)."""

import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from codedpo.core.config import Plugin
from codedpo.core.errors import DataError
from codedpo.core.matrix import NO_CALL, PassMatrix, calls_of_tests, matrices
from codedpo.core.records import Outcome, SolutionScore
from codedpo.rankings.stage import build, check_values, solution_rows

COLUMNS = ("task_id", "solution_id", "test_id")
"""Every row needs these and ``passed`` (true or false) or ``outcome`` (as in the table of executions)."""


def read_matrices(path: Path) -> Iterator[PassMatrix]:
    """Read the matrices of a file.

    npz: ``passed`` [S, T], and where there are any ``values`` [S, C] (equal numbers in a column are equal values, -1
    none), ``call_of_test`` [T], ``loaded`` [S], ``solution_ids``, ``test_ids``. Parquet and JSON lines: ``task_id``,
    ``solution_id``, ``test_id``, ``passed`` or ``outcome``, and where there are any ``value_digest`` (equal for equal
    values) and ``call`` (equal for equal calls; without it every test is a call of its own). Ids of solutions and
    tests may repeat from task to task. A folder stands for the
    Parquet parts in it, as a run's ``4-executions/executions`` holds them.

    Raises:
        DataError: the file is missing, of another format, its cells do not fill solutions x tests, or those of one
            test have different calls.
    """
    if path.suffix == ".npz":
        yield _from_npz(path)
    elif path.suffix in (".parquet", ".jsonl") or path.is_dir():
        table = _table(path)
        yield from matrices(table, calls_of_tests(table))
    else:
        raise DataError(f"{path} is not a pass matrix: name a file that ends in .npz, .parquet or .jsonl.")


def rank_file(path: Path, strategy: Plugin, seed: int = 0) -> Iterator[SolutionScore]:
    """Score every solution of a file by one strategy.

    Raises:
        ConfigError: the strategy or one of its options does not exist, or it cannot rank with them.
        DataError: as ``read_matrices``, or the strategy scores by returned values and there are none.
    """
    built = build(strategy, seed)
    found = list(read_matrices(path))
    check_values(built, found, str(path))
    for matrix in found:
        yield from solution_rows(matrix, built.label, built.scores(matrix))


def _from_npz(path: Path) -> PassMatrix:
    try:
        with np.load(path, allow_pickle=False) as file:
            stored: dict[str, Any] = dict(file)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not a readable npz file ({error}); write it with numpy.savez.") from error
    if "passed" not in stored:
        raise DataError(f"{path} holds no array called passed; give it one of solutions x tests.")
    if not np.isin(stored["passed"], (0, 1)).all():
        raise DataError(
            f"{path}: passed holds other values than 0 and 1; a solution passes a test or does not."
        )
    plain = PassMatrix.of_passes(stored["passed"], path.stem)
    tests = plain.passed.shape[1]
    values = stored.get("values", plain.values)
    default_calls = np.arange(tests) if values.shape[1:] == (tests,) else np.full(tests, NO_CALL)
    return PassMatrix(
        task_id=path.stem,
        solution_ids=tuple(map(str, stored.get("solution_ids", plain.solution_ids))),
        test_ids=tuple(map(str, stored.get("test_ids", plain.test_ids))),
        passed=plain.passed,
        loaded=np.asarray(stored.get("loaded", plain.loaded), dtype=bool),
        call_of_test=np.asarray(stored.get("call_of_test", default_calls), dtype=np.int64),
        values=np.asarray(values, dtype=np.int64),
    )


def _table(path: Path) -> pa.Table:
    """Read cells and fill in the columns that may be missing."""
    try:
        table = _json_lines(path) if path.suffix == ".jsonl" else _parquet(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} cannot be read as {path.suffix[1:] or 'Parquet'} ({reason}).") from error
    missing = [name for name in COLUMNS if name not in table.column_names]
    if not {"passed", "outcome"} & set(table.column_names):
        missing.append("passed")
    if missing:
        raise DataError(f"{path} has no column {', '.join(missing)}; every row is one cell of a pass matrix.")
    filled = {name: pa.array(map(str, _full(path, table, name)), pa.string()) for name in COLUMNS}
    filled["outcome"] = pa.array(_outcomes(path, table), pa.string())
    digests = (
        table["value_digest"].to_pylist() if "value_digest" in table.column_names else [""] * table.num_rows
    )
    filled["value_digest"] = pa.array(["" if one is None else str(one) for one in digests], pa.string())
    filled["call"] = table["call"] if "call" in table.column_names else filled["test_id"]
    return pa.table(filled)


def _full(path: Path, table: pa.Table, name: str) -> list[Any]:
    values: list[Any] = table[name].to_pylist()
    if None in values:
        raise DataError(f"{path}: cell {values.index(None) + 1} has no {name}; give every cell one.")
    return values


def _outcomes(path: Path, table: pa.Table) -> Sequence[str]:
    """Return the outcome of every cell, from ``outcome`` or, without it, from ``passed``."""
    name = "outcome" if "outcome" in table.column_names else "passed"
    values = _full(path, table, name)
    known: dict[Any, str] = {one.value: one.value for one in Outcome}
    if name == "passed":
        known = {True: Outcome.PASSED.value, False: Outcome.FAILED.value}
    for number, value in enumerate(values, start=1):
        if value not in list(known):
            allowed = ", ".join(map(str, known))
            raise DataError(f"{path}: {name} of cell {number} is {value!r}; it must be one of {allowed}.")
    return [known[value] for value in values]


def _parquet(path: Path) -> pa.Table:
    if not path.is_dir():
        return pq.read_table(path)
    parts = sorted(path.glob("*.parquet"))
    if not parts:
        raise DataError(
            f"{path} holds no Parquet file; name a table's folder, such as 4-executions/executions."
        )
    return pa.concat_tables([pq.read_table(part) for part in parts])


def _json_lines(path: Path) -> pa.Table:
    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines if line.strip()]
    other = next((number for number, row in enumerate(rows, start=1) if not isinstance(row, dict)), 0)
    if other:
        raise DataError(
            f"{path}: line {other} is not a JSON object; every line is one cell of a pass matrix."
        )
    return pa.Table.from_pylist(rows)
