from pathlib import Path

import pytest

from codedpo.evaluation.subjects import Subject


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("canonical", "canonical"),
        ("./runs/a b.jsonl", "runs-a-b.jsonl"),
        ("http://host:8000/v1", "http-host-8000-v1"),
        ("样本.jsonl", "样本.jsonl"),
    ],
)
def test_a_folder_has_the_name_of_the_subject(name, folder):
    assert Subject(name).folder_name == folder


def test_the_folder_where_one_stands_has_a_name_too(tmp_path, monkeypatch):
    (tmp_path / "weights").mkdir()
    monkeypatch.chdir(tmp_path / "weights")
    assert Subject(".").folder_name.endswith(f"{tmp_path.name}-weights")
    assert Subject("..").folder_name.endswith(tmp_path.name)
    monkeypatch.chdir(Path("/"))
    assert Subject(".").folder_name == "root"
