"""Tasks of a file: read, checked, and refused with the line that is wrong."""

import json
from pathlib import Path

import pytest

from codedpo.context import StageContext
from codedpo.core.config import Config, ResourcesConfig, TasksConfig
from codedpo.core.errors import DataError
from codedpo.core.progress import Voice
from codedpo.core.records import Reject, Task
from codedpo.core.stage import StageFolder
from codedpo.core.tables import read_rows
from codedpo.services import Services
from codedpo.tasks.given import read_tasks
from codedpo.tasks.stage import check, run

EVEN = {
    "prompt": "Given integers, return the sum of the even ones.",
    "signature": "def even(values: List[int]) -> int:",
}
ODD = {
    "prompt": "Say whether a word reads the same from both ends.",
    "signature": "def mirror(word)",
    "task_id": 7,
}
HUMAN_EVAL = {
    "prompt": "Check if in given list of numbers, are any two numbers closer to each other than given threshold.",
    "signature": "def near_elements(numbers: list[float], threshold: float) -> bool:\n    ...",
}


def written(folder: Path, *rows: object) -> Path:
    path = folder / "tasks.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return path


def test_tasks_are_read_with_plain_hints_and_their_own_names(tmp_path: Path) -> None:
    even, mirror = read_tasks(
        written(tmp_path, EVEN, "", ODD | {"difficulty": "easy", "concepts": ["texts"]})
    )
    assert (even.task_id, even.seed_id, even.source_id, even.entry_point) == ("t000000", "", "", "even")
    assert even.signature == "def even(values: list[int]) -> int:"
    assert (mirror.task_id, mirror.source_id, mirror.concepts) == ("t000001", "7", ["texts"])
    assert mirror.signature == "def mirror(word):"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2: Invalid JSON"),
        ("[1]", "line 2: Input should be an object"),
        ({"prompt": "x"}, "line 2: signature: Field required"),
        (EVEN | {"prompt": " \n"}, "line 2: prompt: String should have at least 1 character"),
        (
            EVEN | {"signature": "class A:"},
            "line 2: signature 'class A:' is not the first line of a function",
        ),
    ],
)
def test_a_line_that_is_no_task_is_named(tmp_path: Path, line: object, words: str) -> None:
    with pytest.raises(DataError, match=words.replace("(", r"\(")):
        read_tasks(written(tmp_path, EVEN, line))


def test_a_name_that_repeats_is_refused_with_both_lines(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 4: task_id '7' is that of line 2 too; give every task its own"):
        read_tasks(written(tmp_path, EVEN, ODD, "", EVEN | {"task_id": "7"}))
    assert len(read_tasks(written(tmp_path, EVEN, EVEN | {"task_id": ""}))) == 2


def test_a_file_without_tasks_or_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no task"):
        read_tasks(written(tmp_path, ""))
    config = Config(name="test", tasks=TasksConfig(file=str(tmp_path / "none.jsonl")))
    with pytest.raises(DataError, match="cannot be read"):
        check(Services(config, tmp_path, Voice(quiet=True)))


def test_repeats_and_benchmark_problems_are_dropped(tmp_path: Path, data_folder: Path) -> None:
    again = EVEN | {"prompt": EVEN["prompt"].replace("Given integers", "Given some integers")}
    config = Config(
        name="test",
        tasks=TasksConfig(file=str(written(tmp_path, EVEN, ODD, again, HUMAN_EVAL))),
        resources=ResourcesConfig(data_folder=str(data_folder)),
    )
    stage = StageFolder(tmp_path / "2-tasks").open({"stage": "tasks"})
    voice = Voice(quiet=True)
    run(StageContext("tasks", config, stage, {}, {}, Services(config, tmp_path, voice), voice))
    assert [task.entry_point for task in read_rows(stage.parts_of(Task), Task)] == ["even", "mirror"]
    rejects = {reject.row_id: reject.reason for reject in read_rows(stage.parts_of(Reject), Reject)}
    assert rejects == {"t000002": "near_duplicate", "t000003": "shared_10_gram"}
