import json
from pathlib import Path
from typing import Any

import pytest

from codedpo.core.errors import DataError
from codedpo.core.records import Execution
from codedpo.core.tables import read_rows
from codedpo.sandbox.files import execute_files, split_assertion
from codedpo.sandbox.local import LocalSandbox


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_files_become_one_table(level_3: LocalSandbox, tmp_path: Path) -> None:
    solutions = write(
        tmp_path / "solutions.jsonl",
        {"task_id": "a", "code": "def f(x):\n    return 2 * x"},
        {"task_id": "a", "solution_id": "mine", "code": "def f(x):\n    return x"},
        {"task_id": "b", "code": "print(input())"},
    )
    tests = write(
        tmp_path / "tests.jsonl",
        {"task_id": "a", "code": "assert f(2) == 4"},
        {"task_id": "a", "call": "f(0.1)", "expected": "0.2000001", "tolerance": 1e-3},
        {"task_id": "a", "test_id": "sum", "code": "assert f(1) + f(2) == 6"},
        {"task_id": "b", "stdin": "hello", "expected": "hello"},
    )
    counts = execute_files(level_3, solutions, tests, tmp_path / "out.parquet")
    assert counts == {"passed": 4, "failed": 3}
    rows = read_rows([tmp_path / "out.parquet"], Execution)
    assert [(row.solution_id, row.test_id, row.outcome, row.oracle) for row in rows] == [
        ("a/s00", "a/a00", "passed", "split"),
        ("a/s00", "a/a01", "passed", "split"),
        ("a/s00", "sum", "passed", "in_process"),
        ("mine", "a/a00", "failed", "split"),
        ("mine", "a/a01", "failed", "split"),
        ("mine", "sum", "failed", "in_process"),
        ("b/s00", "b/a00", "passed", "split"),
    ]
    assert {row.isolation_level for row in rows} == {3}


@pytest.mark.parametrize(
    ("rows", "tests", "message"),
    [
        ([{"task_id": "a"}], [], "Line 1 of .*has no text 'code'"),
        ([{"code": "x"}], [], "Line 1 of .*has no text 'task_id'"),
        ([{"task_id": "a", "code": "x"}], [], "task a of .* has no test"),
        ([{"task_id": "a", "code": "x"}], [{"task_id": "a"}], "neither code, call nor stdin"),
        (
            [{"task_id": "a", "code": "x", "solution_id": "s"}] * 2,
            [],
            "Line 2 of .*repeats the solution_id s",
        ),
        ([[1]], [], "Line 1 of .*is not a JSON object"),
    ],
)
def test_a_bad_line_is_named(
    level_3: LocalSandbox, tmp_path: Path, rows: list[Any], tests: list[Any], message: str
) -> None:
    files = write(tmp_path / "solutions.jsonl", *rows), write(tmp_path / "tests.jsonl", *tests)
    with pytest.raises(DataError, match=message):
        execute_files(level_3, *files, tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


def test_a_missing_or_torn_file_is_named(level_3: LocalSandbox, tmp_path: Path) -> None:
    (tmp_path / "torn").write_text('{"task_id": ')
    for name, message in (("absent", "cannot be read"), ("torn", "is not JSONL")):
        with pytest.raises(DataError, match=message):
            execute_files(level_3, tmp_path / name, tmp_path / name, tmp_path / "out.parquet")


@pytest.mark.parametrize(
    ("code", "parts"),
    [
        ("assert f(1) == 2", ("f(1)", "2")),
        ("assert sorted(f(1)) == [2]", ("sorted(f(1))", "[2]")),
        ("assert f(1)", ("", "")),
        ("assert f(1) == 2 and f(2) == 3", ("", "")),
        ("x = 1\nassert f(x) == 2", ("", "")),
        ("assert (", ("", "")),
    ],
)
def test_only_a_call_against_a_value_is_split(code: str, parts: tuple[str, str]) -> None:
    assert split_assertion(code) == parts
