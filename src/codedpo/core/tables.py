"""Rows to Parquet and back. The schema of a table is derived from its row type."""

import dataclasses
import os
import typing
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from codedpo.core.errors import DataError

Row = TypeVar("Row")

_ARROW = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


def table_name(row_type: type) -> str:
    """Return the file name stem of a row type's table: ``SolutionScore`` -> ``solution_scores``."""
    name = row_type.__name__
    words = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
    return words if words.endswith("convergence") else f"{words}s"


_SCHEMAS: dict[type, pa.Schema] = {}


def schema_of(row_type: type) -> pa.Schema:
    """Derive the Arrow schema from the annotations of a row type.

    Raises:
        TypeError: a field is neither str, int, float, bool, nor a list of one of them.
    """
    if row_type in _SCHEMAS:
        return _SCHEMAS[row_type]

    def arrow(annotation: Any) -> pa.DataType:
        if annotation in _ARROW:
            return _ARROW[annotation]
        if typing.get_origin(annotation) is list:
            return pa.list_(arrow(typing.get_args(annotation)[0]))
        raise TypeError(f"no Arrow type for {annotation!r} in {row_type.__name__}")

    hints = typing.get_type_hints(row_type)
    schema = pa.schema([(field.name, arrow(hints[field.name])) for field in dataclasses.fields(row_type)])
    _SCHEMAS[row_type] = schema
    return schema


def to_arrow(row_type: type[Row], rows: Iterable[Row]) -> pa.Table:
    """Turn rows into an Arrow table with the row type's schema."""
    schema = schema_of(row_type)
    items = list(rows)
    columns = {name: [getattr(row, name) for row in items] for name in schema.names}
    return pa.table(columns, schema=schema)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file to be written so that a reader or a kill sees the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a whole file as ``replacing`` does."""
    with replacing(path) as file:
        file.write(data)


GROUP_BYTES = 2**25
"""Size of the columns from which a row group of a table is written, and the next one begins."""


def write_rows(path: Path, row_type: type[Row], rows: Iterable[Row]) -> int:
    """Write one Parquet file atomically, holding the columns of one row group, and return the number of rows."""
    count = 0
    with (
        replacing(path) as file,
        pq.ParquetWriter(file, schema_of(row_type), compression="zstd") as writer,
    ):
        for group in _groups(row_type, rows):
            writer.write_table(group)
            count += group.num_rows
    return count


def _groups(row_type: type[Row], rows: Iterable[Row]) -> Iterator[pa.Table]:
    """Yield one table at least, each of ``GROUP_BYTES`` or the rest."""
    left = iter(rows)
    group = schema_of(row_type).empty_table()
    while some := list(islice(left, 1024)):
        group = pa.concat_tables([group, to_arrow(row_type, some)])
        if group.nbytes > GROUP_BYTES:
            yield group
            group = schema_of(row_type).empty_table()
    yield group


ROWS_AT_ONCE = 100_000


def write_stream(path: Path, row_type: type[Row], rows: Iterable[Row]) -> int:
    """Write as ``write_rows``, holding only ``ROWS_AT_ONCE`` rows; the file is opened before the first is asked for.

    Raises:
        DataError: the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    left, count = iter(rows), 0
    try:
        with _writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise IsADirectoryError(0, "it is a folder")
            writer = pq.ParquetWriter(temporary, schema_of(row_type), compression="zstd")
        with writer:
            while some := list(islice(left, ROWS_AT_ONCE)):
                with _writing(path):
                    writer.write_table(to_arrow(row_type, some))
                count += len(some)
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink()
    return count


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise DataError(
            f"{path} cannot be written ({reason}); name another file or free its disk."
        ) from error


def read_columns(paths: Sequence[Path], row_type: type[Any], columns: Collection[str] = ()) -> pa.Table:
    """Read the parts of a table, in order, as columns: the way for numeric work.

    A column that is newer than the file, and whose field has a default, holds that default.

    Args:
        paths: the parts.
        row_type: of the table.
        columns: names of those that are needed; empty: all. They come in the order of the row type.

    Raises:
        DataError: a file is missing, not Parquet, or lacks another of the columns.
    """
    schema = pa.schema([field for field in schema_of(row_type) if not columns or field.name in columns])
    tables = []
    for path in paths:
        try:
            found = pq.ParquetFile(path).read(columns=schema.names)
            tables.append(_with_newer_columns(found, row_type, schema).cast(schema))
        except (OSError, ValueError, pa.ArrowException) as error:
            raise DataError(f"{path} is not a readable {row_type.__name__} table ({error})") from error
    return pa.concat_tables(tables) if tables else schema.empty_table()


def _with_newer_columns(table: pa.Table, row_type: type[Any], schema: pa.Schema) -> pa.Table:
    defaults = {field.name: field.default for field in dataclasses.fields(row_type)}
    for place, field in enumerate(schema):
        default = defaults[field.name]
        if field.name not in table.column_names and default is not dataclasses.MISSING:
            table = table.add_column(place, field, pa.array([default] * table.num_rows, field.type))
    return table


def read_rows(paths: Sequence[Path], row_type: type[Row]) -> list[Row]:
    """Read the parts of a table, in order, as rows.

    Raises:
        DataError: as ``read_columns``.
    """
    return to_rows(read_columns(paths, row_type), row_type)


def find_columns(
    paths: Iterable[Path],
    row_type: type[Any],
    key: str,
    values: Sequence[str],
    columns: Collection[str] = (),
) -> pa.Table:
    """Read the rows that have one of some values in a text column, a file at a time: a few of a table of millions.

    Args:
        paths: the parts of the table.
        row_type: of the table.
        key: the text column.
        values: those that are wanted.
        columns: names of the columns that are needed; empty: all.

    Raises:
        DataError: as ``read_columns``.
    """
    wanted = pa.array(values, pa.string())
    found = [read_columns([], row_type, columns)]
    for path in paths:
        mask = pc.is_in(read_columns([path], row_type, [key]).column(0), value_set=wanted)
        if pc.any(mask).as_py():
            found.append(read_columns([path], row_type, columns).filter(mask))
    return pa.concat_tables(found)


def find_rows(paths: Sequence[Path], row_type: type[Row], key: str, values: Sequence[str]) -> list[Row]:
    """Read as ``find_columns``, as rows.

    Raises:
        DataError: as ``read_columns``.
    """
    return to_rows(find_columns(paths, row_type, key, values), row_type)


class TasksOfTable:
    """A table of a stage that is read for some tasks at a time: of its rows only the ids of their tasks are held.

    Args:
        paths: the parts of the table.
        row_type: of the table.
        columns: names of the columns that are needed; empty: all.
        key: the column that names a row's task.

    Raises:
        DataError: as ``read_columns``.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        row_type: type[Any],
        columns: Collection[str] = (),
        key: str = "task_id",
    ) -> None:
        self._files, self._row_type, self._columns, self._key = paths, row_type, columns, key
        self._paths: dict[str, tuple[Path, ...]] = {}
        for path in paths:
            here = (path,)
            for task_id in read_columns([path], row_type, [key]).column(0).unique().to_pylist():
                self._paths[task_id] = (*self._paths[task_id], path) if task_id in self._paths else here

    @property
    def task_ids(self) -> list[str]:
        """Return the tasks that have a row, in the order in which they first appear."""
        return list(self._paths)

    def of(self, task_ids: Sequence[str]) -> pa.Table:
        """Read the rows of some tasks, in the order of the table.

        Raises:
            DataError: as ``read_columns``.
        """
        wanted = {path for task_id in task_ids for path in self._paths.get(task_id, ())}
        paths = [path for path in self._files if path in wanted]
        return find_columns(paths, self._row_type, self._key, task_ids, self._columns)


class RowsOfTable(Generic[Row]):
    """The rows of a table, read a file at a time whenever somebody goes through them.

    Args:
        paths: the parts of the table.
        row_type: of the table.

    Raises:
        DataError: as ``read_columns``, in the middle of the rows.
    """

    def __init__(self, paths: Sequence[Path], row_type: type[Row]) -> None:
        self._paths, self._row_type = paths, row_type

    def __iter__(self) -> Iterator[Row]:
        for path in self._paths:
            yield from read_rows([path], self._row_type)


def to_rows(table: pa.Table, row_type: type[Row]) -> list[Row]:
    """Turn an Arrow table with all columns of a row type into rows."""
    columns = [table.column(name).to_pylist() for name in schema_of(row_type).names]
    return [row_type(*values) for values in zip(*columns, strict=True)]
