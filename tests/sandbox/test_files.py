import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from codedpo.core.errors import DataError
from codedpo.core.records import Execution
from codedpo.core.tables import read_rows
from codedpo.sandbox.files import execute_files, read_workload, split_assertion
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
    counts = execute_files(level_3, read_workload(solutions, tests), tmp_path / "out.parquet")
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


def test_the_field_names_of_evalplus_and_humaneval_are_known(level_3: LocalSandbox, tmp_path: Path) -> None:
    solutions, tests = tmp_path / "solutions", tmp_path / "tests.jsonl"
    row = {"task_id": 7, "solution": "def f(x):\n    return x", "prompt": "unused"}
    solutions.write_bytes(gzip.compress(json.dumps(row).encode()))
    write(
        tests,
        {"task_id": "7", "test": "def check(candidate):\n    assert candidate(1) == 1", "entry_point": "f"},
        {"task_id": "7", "test": "def check(candidate):\n    assert candidate(1) == 2", "entry_point": "f"},
        {"task_id": 8, "test": "assert g(1)"},
    )
    workload = read_workload(solutions, tests)
    assert (workload.solutions, workload.idle_tasks) == (1, ["8"])
    assert execute_files(level_3, workload, tmp_path / "out.parquet") == {"passed": 1, "failed": 1}


@pytest.mark.parametrize(
    ("expected", "outcome"),
    [
        (0, "passed"),
        ("0", "passed"),
        (None, "failed"),
        ([], "failed"),
        ("int()", "passed"),
        ("len('a')", "failed"),
    ],
)
def test_what_is_expected_may_be_json_and_is_never_ignored(
    level_3: LocalSandbox, tmp_path: Path, expected: Any, outcome: str
) -> None:
    """JSON's null is None; what is no literal runs as an assertion."""
    solutions = write(tmp_path / "solutions.jsonl", {"task_id": "a", "code": "def f(x):\n    return x"})
    tests = write(tmp_path / "tests.jsonl", {"task_id": "a", "call": "f(0)", "expected": expected})
    counts = execute_files(level_3, read_workload(solutions, tests), tmp_path / "out.parquet")
    assert counts == {outcome: 1}


def test_without_an_expectation_any_value_passes(level_3: LocalSandbox, tmp_path: Path) -> None:
    solutions = write(tmp_path / "solutions.jsonl", {"task_id": "a", "code": "def f(x):\n    return x"})
    tests = write(tmp_path / "tests.jsonl", {"task_id": "a", "call": "f(0)"})
    counts = execute_files(level_3, read_workload(solutions, tests), tmp_path / "out.parquet")
    assert counts == {"passed": 1}


@pytest.mark.parametrize(
    ("rows", "tests", "message"),
    [
        ([{"task_id": "a"}], [], "Line 1 of .*has no text 'code' or 'solution'"),
        ([{"task_id": "a", "code": 1}], [], "Line 1 of .*has no text 'code'"),
        ([{"code": "x"}], [], "Line 1 of .*has no text 'task_id'"),
        ([{"task_id": True, "code": "x"}], [], "Line 1 of .*has no text 'task_id'"),
        ([{"task_id": "a", "code": "x"}], [], "task a of .* has no test"),
        (
            [{"task_id": "a", "code": "x"}, {"task_id": 2, "code": "x"}],
            [],
            r"has no test.*\(nor have 1 others\)",
        ),
        ([{"task_id": "a", "code": "x"}], [{"task_id": "a"}], "Line 1 of .*tests.* neither code, test, call"),
        ([], [{"task_id": "a", "code": "x", "tolerance": "1"}], "'tolerance' that is not a number"),
        ([], [{"task_id": "a", "code": ["x"]}], "has no text 'code' or 'test'"),
        (
            [{"task_id": "a", "code": "x", "solution_id": "s"}] * 2,
            [],
            "Line 2 of .*repeats the solution_id s",
        ),
        ([[1]], [], "Line 1 of .*is not a JSON object"),
        ([], [{"task_id": "a", "stdin": "1"}], "'stdin' without a text 'expected'"),
        ([], [{"task_id": "a", "code": "x", "test_id": "\ud800"}], "Line 1 of .*half a character"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, rows: list[Any], tests: list[Any], message: str) -> None:
    files = write(tmp_path / "solutions.jsonl", *rows), write(tmp_path / "tests.jsonl", *tests)
    with pytest.raises(DataError, match=message):
        read_workload(*files)


def test_a_missing_or_torn_file_is_named(tmp_path: Path) -> None:
    good = '{"task_id": "a", "code": "x"}\n'
    (tmp_path / "line").write_text(good + '{"task_id": ')
    (tmp_path / "latin").write_bytes(good.encode() + b'{"task_id": "\xe4"}')
    (tmp_path / "zipped").write_bytes(gzip.compress(good.encode() * 1000)[:-20])
    for name, message in (
        ("absent", "cannot be read"),
        ("line", "Line 2 of .*line is not JSON"),
        ("latin", "Line 2 of .*latin is not JSON in UTF-8"),
        ("zipped", r"zipped is torn after line \d+"),
    ):
        with pytest.raises(DataError, match=message):
            read_workload(tmp_path / name, tmp_path / name)


def test_nothing_runs_where_the_output_cannot_be_written(level_3: LocalSandbox, tmp_path: Path) -> None:
    rows = write(tmp_path / "rows.jsonl", {"task_id": "a", "code": "x"})
    told: list[Any] = []
    for out in (tmp_path, rows / "out.parquet"):
        with pytest.raises(DataError, match="cannot be written"):
            execute_files(level_3, read_workload(rows, rows), out, finished=told.append)
    assert told == []
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


@pytest.mark.parametrize(
    ("code", "parts"),
    [
        ("assert f(1) == 2", ("f(1)", "2")),
        ("assert sorted(f(1)) == [2]", ("sorted(f(1))", "[2]")),
        ("assert f(1)", ("", "")),
        ("assert f(1) == 2 and f(2) == 3", ("", "")),
        ("x = 1\nassert f(x) == 2", ("", "")),
        ("assert (", ("", "")),
        (f"assert f(1) == {'1 + ' * 3000}1", ("", "")),
    ],
)
def test_only_a_call_against_a_value_is_split(code: str, parts: tuple[str, str]) -> None:
    assert split_assertion(code) == parts
