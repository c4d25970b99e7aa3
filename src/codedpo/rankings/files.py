"""Pass matrices that people bring: npz (one matrix), Parquet or JSON lines (one row a cell, any number of tasks)."""

import json
import zipfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from codedpo.core.config import Plugin
from codedpo.core.errors import DataError
from codedpo.core.matrix import NO_CALL, PassMatrix, calls_of_tests, matrices, whole_tasks
from codedpo.core.records import Outcome, SolutionScore
from codedpo.rankings.stage import build, check_values, solution_rows

COLUMNS = ("task_id", "solution_id", "test_id")
"""Every row needs these and ``passed`` (true or false) or ``outcome`` (as in the table of executions)."""
READ = (*COLUMNS, "passed", "outcome", "value_digest", "call")
"""Other columns are left in the file."""


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
    if not path.exists():
        raise DataError(f"the pass matrix {path} does not exist; name a file or a folder of Parquet parts.")
    if path.suffix == ".npz":
        yield _from_npz(path)
    elif path.suffix in (".parquet", ".jsonl") or path.is_dir():
        for piece in _pieces(path):
            for cells in whole_tasks(_table(path, piece)):
                yield from matrices(cells, calls_of_tests(cells))
    else:
        raise DataError(
            f"{path} is not a pass matrix: name a file that ends in .npz, .parquet or .jsonl, or a folder of "
            "Parquet parts."
        )


def rank_file(path: Path, strategy: Plugin, seed: int = 0) -> Iterator[SolutionScore]:
    """Score every solution of a file by one strategy.

    Raises:
        ConfigError: the strategy or one of its options does not exist, or it cannot rank with them.
        DataError: as ``read_matrices``, or the strategy scores by returned values and there are none.
    """
    built = build(strategy, seed)
    check_values(built, read_matrices(path), str(path))
    for matrix in read_matrices(path):
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


def _pieces(path: Path) -> list[list[Path]]:
    """Return which files to read together: the parts of a folder each alone, unless a task lies in two of them."""
    if not path.is_dir():
        return [[path]]
    parts = sorted(path.glob("*.parquet"))
    if not parts:
        raise DataError(
            f"{path} holds no Parquet file; name a table's folder, such as 4-executions/executions."
        )
    with _reading(path):
        tables = [_parquet(part, ("task_id",)) for part in parts]
    tasks = [task for table in tables for ids in table.columns for task in ids.unique().to_pylist()]
    is_apart = len(tasks) == len(set(tasks))
    return [[part] for part in parts] if is_apart else [parts]


def _table(path: Path, files: Sequence[Path]) -> pa.Table:
    """Read cells and fill in the columns that may be missing."""
    place = files[0] if len(files) == 1 else path
    with _reading(place):
        read = [_json_lines(file) if file.suffix == ".jsonl" else _parquet(file, READ) for file in files]
        table = pa.concat_tables(read)
    missing = [name for name in COLUMNS if name not in table.column_names]
    if not {"passed", "outcome"} & set(table.column_names):
        missing.append("passed")
    if missing:
        raise DataError(
            f"{place} has no column {', '.join(missing)}; every row is one cell of a pass matrix."
        )
    filled = {name: _text(_full(place, table, name)) for name in COLUMNS}
    filled["outcome"] = _outcomes(place, table)
    digests = table["value_digest"] if "value_digest" in table.column_names else pa.nulls(table.num_rows)
    filled["value_digest"] = pc.fill_null(_text(digests), "")
    filled["call"] = table["call"] if "call" in table.column_names else filled["test_id"]
    return pa.table(filled)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        kind = path.suffix[1:] or "Parquet"
        raise DataError(f"{path} cannot be read as {kind} ({reason}); mend it or write it again.") from error


def _full(place: Path, table: pa.Table, name: str) -> pa.ChunkedArray:
    column = table[name]
    if column.null_count:
        number = pc.index(column.is_null(), True).as_py() + 1
        raise DataError(f"{place}: cell {number} has no {name}; give every cell one.")
    return column


def _text(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """Write values as Python does; there is no need of Python for text and whole numbers."""
    kind = column.type
    if _is_text(column) or pa.types.is_null(kind) or pa.types.is_integer(kind):
        return column.cast(pa.string())
    return pa.array([None if one is None else str(one) for one in column.to_pylist()], pa.string())


def _is_text(column: pa.ChunkedArray | pa.Array) -> bool:
    return bool(pa.types.is_string(column.type) or pa.types.is_large_string(column.type))


def _outcomes(place: Path, table: pa.Table) -> pa.ChunkedArray | pa.Array:
    """Return the outcome of every cell, from ``outcome`` or, without it, from ``passed``."""
    name = "outcome" if "outcome" in table.column_names else "passed"
    column = _full(place, table, name)
    known: dict[Any, str] = {one.value: one.value for one in Outcome}
    if name == "passed":
        known = {True: Outcome.PASSED.value, False: Outcome.FAILED.value}
    is_usual = pa.types.is_boolean(column.type) if name == "passed" else _is_text(column)
    values = column.unique().to_pylist() if is_usual else column.to_pylist()
    wrong = [value for value in values if value not in list(known)]
    if wrong:
        number = (column.to_pylist() if is_usual else values).index(wrong[0]) + 1
        allowed = ", ".join(map(str, known))
        raise DataError(f"{place}: {name} of cell {number} is {wrong[0]!r}; it must be one of {allowed}.")
    if not is_usual:
        return pa.array([known[value] for value in values], pa.string())
    return pc.if_else(column, known[True], known[False]) if name == "passed" else _text(column)


def _parquet(path: Path, columns: Collection[str]) -> pa.Table:
    return pq.read_table(path, columns=[name for name in columns if name in pq.read_schema(path).names])


def _json_lines(path: Path) -> pa.Table:
    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines if line.strip()]
    other = next((number for number, row in enumerate(rows, start=1) if not isinstance(row, dict)), 0)
    if other:
        raise DataError(
            f"{path}: line {other} is not a JSON object; every line is one cell of a pass matrix."
        )
    # Columns by the keys of all rows: from_pylist would take those of the first one.
    return pa.table(
        {name: [row.get(name) for row in rows] for name in READ if any(name in row for row in rows)}
    )
