import json
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codedpo.core.config import Plugin
from codedpo.core.errors import DataError
from codedpo.rankings.files import rank_file, read_matrices

PASSED = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]], dtype=bool)
STRATEGY = Plugin(kind="number_passed")


def cells(**more):
    for task in ("a", "b"):
        for solution in range(3):
            for test in range(3):
                yield {
                    "task_id": task,
                    "solution_id": f"{task}{solution}",
                    "test_id": f"{task}-{test}",
                    "passed": bool(PASSED[solution, test]),
                } | {name: of[solution][test] for name, of in more.items()}


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_npz(tmp_path):
    np.savez(tmp_path / "mine.npz", passed=PASSED, values=np.array([[1, 1, 2], [1, 1, 2], [3, 3, -1]]))
    (matrix,) = read_matrices(tmp_path / "mine.npz")
    assert matrix.task_id == "mine"
    assert matrix.call_of_test.tolist() == [0, 1, 2]
    scores = list(rank_file(tmp_path / "mine.npz", STRATEGY))
    assert [(row.score, row.rank) for row in scores] == [(1.0, 1), (0.5, 2), (0.0, 3)]


def test_json_lines_of_two_tasks(tmp_path):
    path = write_lines(tmp_path / "mine.jsonl", cells())
    assert [row.solution_id for row in rank_file(path, STRATEGY)] == ["a0", "a1", "a2", "b0", "b1", "b2"]
    assert [row.rank for row in rank_file(path, STRATEGY)] == [1, 2, 3] * 2


def test_parquet_with_values(tmp_path):
    rows = list(cells(value_digest=[["x", "y", ""], ["x", "z", None], ["w", "z", ""]]))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "mine.parquet")
    first, _ = read_matrices(tmp_path / "mine.parquet")
    assert first.values[0, 0] == first.values[1, 0] != first.values[2, 0]
    assert first.values[:, 2].tolist() == [-1, -1, -1]
    assert len(list(rank_file(tmp_path / "mine.parquet", Plugin(kind="consensus")))) == 6


def test_json_lines_have_the_columns_of_all_lines_and_others_are_left_alone(tmp_path):
    rows = list(cells(value_digest=[["x", "y", "z"], ["x", "z", "z"], ["w", "z", "y"]]))
    first, *others = rows
    del first["value_digest"]
    mixed = [row | {"other": number} for number, row in enumerate(others)]
    matrix, _ = read_matrices(write_lines(tmp_path / "mine.jsonl", [first | {"other": "text"}, *mixed]))
    assert matrix.values[0, 0] == -1
    assert matrix.values[1, 2] == matrix.values[0, 2] >= 0


@pytest.mark.parametrize("cuts", [(9,), (4,), (4, 13)])
def test_parts_of_a_folder_are_one_table_wherever_they_are_cut(tmp_path, cuts):
    rows = [row | {"other": "x"} for row in cells()]
    folder = tmp_path / "cells"
    folder.mkdir()
    for number, (start, stop) in enumerate(pairwise([0, *cuts, len(rows)])):
        pq.write_table(pa.Table.from_pylist(rows[start:stop]), folder / f"part-{number}.parquet")
    whole = write_lines(tmp_path / "mine.jsonl", rows)
    assert list(rank_file(folder, STRATEGY)) == list(rank_file(whole, STRATEGY))


def test_ids_and_values_of_other_types_are_written_as_python_does(tmp_path):
    names = {"task_id": [7] * 4, "solution_id": [1.5, 1.5, 2.0, 2.0], "test_id": [0, 1, 0, 1]}
    digests = pa.array([True, None, False, None])
    table = pa.table(names | {"passed": [1, 0, 1, 1], "value_digest": digests})
    pq.write_table(table, tmp_path / "mine.parquet")
    (matrix,) = read_matrices(tmp_path / "mine.parquet")
    assert (matrix.task_id, matrix.solution_ids, matrix.test_ids) == ("7", ("1.5", "2.0"), ("0", "1"))
    assert matrix.passed.tolist() == [[True, False], [True, True]]
    assert matrix.values[0, 0] != matrix.values[1, 0]
    assert matrix.values[:, 1].tolist() == [-1, -1]


@pytest.mark.parametrize("name", ["passed", "outcome"])
def test_the_first_cell_that_is_none_is_named(tmp_path, name):
    rows = [row | {name: "passed" if name == "outcome" else True} for row in cells()]
    rows[11][name] = "fine" if name == "outcome" else None
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "mine.parquet")
    with pytest.raises(DataError, match="cell 12"):
        list(read_matrices(tmp_path / "mine.parquet"))


VALUES_OF_A = {"s0": ("10", "20"), "s1": ("10", "21"), "s2": ("11", "20"), "s3": ("12", "22")}


def cells_of_two_tasks(test_id):
    """Task a asks two calls, task b the same call twice; ``test_id(task, number)`` names the tests."""
    for solution, digests in VALUES_OF_A.items():
        for number, digest in enumerate(digests):
            yield {"task_id": "a", "solution_id": solution, "test_id": test_id("a", number)} | {
                "passed": digest in ("10", "20"),
                "value_digest": digest,
                "call": f"f({number})",
            }
    for solution in ("s0", "s1"):
        for number in range(2):
            yield {"task_id": "b", "solution_id": solution, "test_id": test_id("b", number)} | {
                "passed": True,
                "value_digest": "x",
                "call": "g(1)",
            }


def test_tasks_whose_tests_have_the_same_ids_keep_their_own_calls(tmp_path):
    repeated = write_lines(tmp_path / "repeated.jsonl", cells_of_two_tasks(lambda task, number: str(number)))
    distinct = write_lines(
        tmp_path / "distinct.jsonl", cells_of_two_tasks(lambda task, number: f"{task}{number}")
    )
    first, second = read_matrices(repeated)
    assert (first.call_of_test.tolist(), second.call_of_test.tolist()) == ([0, 1], [0, 0])
    for kind in ("consensus", "minimum_bayes_risk", "agreement"):
        assert list(rank_file(repeated, Plugin(kind=kind))) == list(rank_file(distinct, Plugin(kind=kind)))


def test_a_test_with_two_calls_is_refused(tmp_path):
    rows = list(cells_of_two_tasks(lambda task, number: str(number)))
    rows[0]["call"] = "f(7)"
    with pytest.raises(DataError, match=r"test 0 of task a has the calls 'f\(7\)' and 'f\(0\)'"):
        list(read_matrices(write_lines(tmp_path / "mine.jsonl", rows)))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.csv", b"", "name a file that ends in"),
        ("x.npz", b"no zip", "not a readable npz"),
        ("x.jsonl", b"{", "cannot be read as jsonl"),
        ("x.jsonl", b'{"task_id": "a"}\n', "no column solution_id, test_id, passed"),
        ("x.parquet", b"PAR", "cannot be read as parquet"),
    ],
)
def test_other_files_are_refused_in_one_sentence(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words):
        list(read_matrices(tmp_path / name))


@pytest.mark.parametrize("name", ["none", "none.npz", "none.jsonl", "none.parquet"])
def test_a_matrix_that_is_not_there_is_said_to_be_missing(tmp_path, name):
    with pytest.raises(DataError, match=f"{name} does not exist; name a file or a folder"):
        list(read_matrices(tmp_path / name))


def test_an_npz_without_passes(tmp_path):
    np.savez(tmp_path / "x.npz", values=PASSED)
    with pytest.raises(DataError, match="no array called passed"):
        list(read_matrices(tmp_path / "x.npz"))
