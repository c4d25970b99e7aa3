import dataclasses
import inspect
import string

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codedpo.core import records, tables
from codedpo.core.errors import DataError
from codedpo.core.records import Convergence, Reject, Task, Timing
from codedpo.core.tables import (
    RowsOfTable,
    TasksOfTable,
    find_rows,
    read_columns,
    read_rows,
    replacing,
    schema_of,
    table_name,
    to_arrow,
    write_rows,
    write_stream,
)

ROW_TYPES = [
    item
    for _, item in inspect.getmembers(records, dataclasses.is_dataclass)
    if item.__module__ == records.__name__
]
words = st.text(alphabet=string.printable + "äß漢", max_size=40)


@pytest.mark.parametrize("row_type", ROW_TYPES, ids=lambda row_type: row_type.__name__)
def test_every_row_type_has_a_schema_and_a_table_name(row_type: type) -> None:
    assert schema_of(row_type).names == [field.name for field in dataclasses.fields(row_type)]
    assert table_name(row_type).islower()


def test_table_names_are_unique() -> None:
    assert len({table_name(row_type) for row_type in ROW_TYPES}) == len(ROW_TYPES)
    assert table_name(Convergence) == "convergence"


@given(st.lists(st.builds(Task, words, words, st.lists(words, max_size=3), words, words, words), max_size=5))
def test_rows_survive_parquet(tmp_path_factory: pytest.TempPathFactory, rows: list[Task]) -> None:
    path = tmp_path_factory.mktemp("rows") / "part.parquet"
    assert write_rows(path, Task, rows) == len(rows)
    assert read_rows([path], Task) == rows


@given(st.lists(st.sampled_from("abcd"), max_size=12), st.sets(st.sampled_from("abce")), st.integers(0, 12))
def test_rows_are_found_by_a_column_in_their_order(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], wanted: set[str], cut: int
) -> None:
    rows = [Reject(f"{name}{number}", name, "") for number, name in enumerate(names)]
    folder = tmp_path_factory.mktemp("rows")
    paths = [folder / "part-0.parquet", folder / "part-1.parquet"]
    for path, some in zip(paths, (rows[:cut], rows[cut:]), strict=True):
        write_rows(path, Reject, some)
    assert find_rows(paths, Reject, "reason", sorted(wanted)) == [row for row in rows if row.reason in wanted]


def test_parts_are_read_in_order_and_as_columns(tmp_path) -> None:
    paths = []
    for index in range(3):
        path = tmp_path / f"part-{index}.parquet"
        write_rows(path, Timing, [Timing("t000000", f"t000000/s{index:02d}", 1.5, 5, [2.0, 1.5], [], False)])
        paths.append(path)
    assert read_columns(paths, Timing).column("solution_id").to_pylist() == [
        f"t000000/s{i:02d}" for i in range(3)
    ]
    assert read_columns([], Timing).num_rows == 0


def test_rows_of_some_tasks_are_read_from_the_files_that_hold_them(tmp_path) -> None:
    tasks = ["b", "a"], ["d", "a"], ["c"]
    paths = [tmp_path / f"part-{index}.parquet" for index in range(3)]
    for path, of_part in zip(paths, tasks, strict=True):
        write_rows(
            path, Reject, [Reject(f"{task}{n}", task, path.stem) for task in of_part for n in range(2)]
        )
    table = TasksOfTable(paths, Reject, ["row_id", "detail"], key="reason")
    assert table.task_ids == ["b", "a", "d", "c"]
    paths[2].unlink()
    found = table.of(["a", "b", "none"])
    assert found.column_names == ["row_id", "detail"]
    assert found.column("row_id").to_pylist() == ["b0", "b1", "a0", "a1", "a0", "a1"]
    assert found.column("detail").to_pylist() == ["part-0"] * 4 + ["part-1"] * 2
    assert table.of([]).num_rows == 0
    assert table.of(["d", "b"]).column("row_id").to_pylist() == ["b0", "b1", "d0", "d1"]
    with pytest.raises(DataError, match="part-2.parquet is not a readable Reject table"):
        table.of(["c"])


def test_rows_are_read_a_file_at_a_time_and_anew(tmp_path) -> None:
    paths = [tmp_path / f"part-{index}.parquet" for index in range(2)]
    for path in paths:
        write_rows(path, Reject, [Reject(f"{path.stem}/{n}", "", "") for n in range(2)])
    rows = RowsOfTable(paths, Reject)
    assert [row.row_id for row in rows] == ["part-0/0", "part-0/1", "part-1/0", "part-1/1"]
    paths[1].unlink()
    found = iter(rows)
    assert [next(found).row_id for _ in range(2)] == ["part-0/0", "part-0/1"]
    with pytest.raises(DataError, match=r"part-1.parquet is not a readable Reject table"):
        next(found)


def test_a_file_that_breaks_is_the_old_one(tmp_path) -> None:
    with replacing(tmp_path / "file") as file:
        file.write(b"old")
    with pytest.raises(TypeError), replacing(tmp_path / "file") as file:
        file.writelines([b"new", "no bytes"])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"old"}


def test_a_large_table_is_written_in_groups_of_rows_and_a_small_one_whole(tmp_path, monkeypatch) -> None:
    rows = [Convergence(f"t{number}", number, 0.5, 1) for number in range(3000)]
    path, whole = tmp_path / "part.parquet", tmp_path / "whole.parquet"
    assert write_rows(path, Convergence, iter(rows)) == 3000
    pq.write_table(to_arrow(Convergence, rows), whole, compression="zstd")
    assert path.read_bytes() == whole.read_bytes()
    monkeypatch.setattr(tables, "GROUP_BYTES", 50_000)
    assert write_rows(path, Convergence, iter(rows)) == 3000
    assert pq.ParquetFile(path).num_row_groups == 2
    assert read_rows([path], Convergence) == rows


def test_a_torn_file_is_named(tmp_path) -> None:
    path = tmp_path / "part.parquet"
    path.write_bytes(b"PAR1 torn")
    with pytest.raises(DataError, match="part.parquet is not a readable Task table"):
        read_rows([path], Task)


def test_a_file_of_another_table_is_named(tmp_path) -> None:
    path = tmp_path / "part.parquet"
    write_rows(path, Timing, [])
    with pytest.raises(DataError, match="not a readable Task table"):
        read_rows([path], Task)


def test_a_column_that_is_newer_than_the_file_holds_its_default(tmp_path) -> None:
    path = tmp_path / "part.parquet"
    task = Task("t000000", "s000000", ["sums"], "Add.", "def add(a, b):", "add")
    write_rows(path, Task, [task])
    pq.write_table(pq.read_table(path).drop_columns(["source_id"]), path)
    assert read_rows([path], Task) == [task]
    some = read_columns([path], Task, ["source_id", "prompt"])
    assert some.to_pylist() == [{"prompt": "Add.", "source_id": ""}]
    pq.write_table(pq.read_table(path).drop_columns(["prompt"]), path)
    with pytest.raises(DataError, match="not a readable Task table"):
        read_rows([path], Task)


def test_no_temporary_file_is_left(tmp_path) -> None:
    write_rows(tmp_path / "part.parquet", Timing, [])
    assert [path.name for path in tmp_path.iterdir()] == ["part.parquet"]
    assert pq.read_metadata(tmp_path / "part.parquet").num_rows == 0


def test_a_stream_becomes_the_same_table_in_several_pieces(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tables, "ROWS_AT_ONCE", 10)
    rows = [Convergence(f"t{number}", number, 0.5, 1) for number in range(25)]
    assert write_stream(tmp_path / "new" / "stream.parquet", Convergence, iter(rows)) == 25
    assert read_rows([tmp_path / "new" / "stream.parquet"], Convergence) == rows
    assert pq.ParquetFile(tmp_path / "new" / "stream.parquet").num_row_groups == 3


def test_a_stream_that_breaks_leaves_the_old_file_and_nothing_else(tmp_path) -> None:
    path = tmp_path / "stream.parquet"
    write_stream(path, Convergence, [])

    def broken():
        yield Convergence("t", 1, 0.5, 1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_stream(path, Convergence, broken())
    assert read_rows([path], Convergence) == []
    assert list(tmp_path.iterdir()) == [path]
