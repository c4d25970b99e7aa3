"""The stage with answers given for its own requests: one of every fate."""

import json
from pathlib import Path
from typing import Any

import pytest

from codedpo.context import StageContext
from codedpo.core.config import Config, ModelConfig, ResourcesConfig, SamplingConfig, TasksConfig
from codedpo.core.errors import TooManyRejectsError
from codedpo.core.progress import Voice
from codedpo.core.records import Reject, Seed, Task, Text
from codedpo.core.stage import StageFolder
from codedpo.core.tables import read_rows, write_rows
from codedpo.llm.replay_server import ReplayServer
from codedpo.services import Services
from codedpo.tasks.stage import concepts_request, examples, run, task_request

EVEN = (
    "Task: Given integers, return the sum of the even ones, 0 for an empty list.\n"
    "Signature: def even(values: list[int]) -> int:"
)
HUMAN_EVAL = (
    "Task: Check if in given list of numbers, are any two numbers closer to each other than given threshold.\n"
    "Signature: def near_elements(numbers: list[float], threshold: float) -> bool:"
)
ANSWERS = {
    "a": ("Concepts: sums, lists", EVEN),
    "b": ("Concepts: functions, algorithms", None),
    "c": ("Concepts: lists", examples()[0]),
    "d": ("Concepts: filters", EVEN.replace("Given integers", "Given some integers")),
    "e": ("Concepts: comparison", HUMAN_EVAL),
    "f": ("Concepts: files", "I would rather not."),
}


def seed(number: int, name: str) -> Seed:
    code = f"def {name}(values):\n    return values"
    return Seed(f"s{number:06d}", name, code, "toolz==1.0.0", "x.py", "bsd-3-clause", 1, 2, "0" * 64)


def recording(seeds: list[Seed], config: Config) -> list[dict[str, Any]]:
    """Return the answers to what the stage asks for these seeds."""
    rows: list[dict[str, Any]] = []
    for item in seeds:
        concepts, task = ANSWERS[item.name]
        requests = [(concepts_request(item, config), concepts)]
        if task is not None:
            requests.append(
                (task_request(item, concepts.removeprefix("Concepts: ").split(", "), config), task)
            )
        rows += [
            {"model": "m", "key": request.key, "position": 0, "text": text, "finish_reason": "stop"}
            for request, text in requests
        ]
    return rows


def run_stage(folder: Path, data_folder: Path, names: str, url: str = "", **settings: Any) -> StageFolder:
    seeds = [seed(number, name) for number, name in enumerate(names)]
    folder.mkdir(exist_ok=True)
    path = folder / "recording.jsonl"
    config = Config(
        name="test",
        model=ModelConfig(kind="openai", url=url) if url else ModelConfig(kind="recorded", path=str(path)),
        tasks=TasksConfig(**settings),
        resources=ResourcesConfig(data_folder=str(data_folder)),
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in recording(seeds, config)))
    write_rows(folder / "seeds.parquet", Seed, seeds)
    stage = StageFolder(folder / "2-tasks").open({"stage": "tasks"})
    voice = Voice(quiet=True)
    services = Services(config, folder, voice)
    try:
        run(StageContext("tasks", config, stage, {Seed: [folder / "seeds.parquet"]}, {}, services, voice))
    finally:
        services.close()
    return stage


def test_every_seed_becomes_a_task_or_a_reject(tmp_path: Path, data_folder: Path) -> None:
    stage = run_stage(tmp_path, data_folder, "abcdef")
    (task,) = read_rows(stage.parts_of(Task), Task)
    assert (task.task_id, task.seed_id, task.entry_point) == ("t000000", "s000000", "even")
    assert task.concepts == ["sums", "lists"]
    rejects = {reject.row_id: reject.reason for reject in read_rows(stage.parts_of(Reject), Reject)}
    assert rejects == {
        "s000001": "no_concepts",
        "t000002": "copies_example",
        "t000003": "near_duplicate",
        "t000004": "shared_10_gram",
        "s000005/task-00": "no_signature",
    }
    texts = read_rows(stage.parts_of(Text), Text)
    assert [text.kind for text in texts] == ["concepts"] * 6 + ["task"] * 5


def test_the_threshold_of_near_duplicates_counts(tmp_path: Path, data_folder: Path) -> None:
    stage = run_stage(tmp_path, data_folder, "ad", near_duplicate_threshold=1.0)
    assert len(read_rows(stage.parts_of(Task), Task)) == 2


def test_the_sampling_of_both_calls_reaches_the_model(tmp_path: Path, data_folder: Path) -> None:
    settings = {
        "concepts_sampling": SamplingConfig(temperature=0.3, top_p=0.6, max_tokens=40),
        "task_sampling": SamplingConfig(temperature=0.9, top_p=0.8, max_tokens=200),
    }
    config = Config(name="test", tasks=TasksConfig(**settings))
    with ReplayServer(recording([seed(0, "a")], config), model=config.model.name) as server:
        stage = run_stage(tmp_path, data_folder, "a", server.url, **settings)
    assert len(read_rows(stage.parts_of(Task), Task)) == 1
    asked = [(call["temperature"], call["top_p"], call["max_tokens"]) for call in server.calls]
    assert asked == [(0.3, 0.6, 40), (0.9, 0.8, 200)]


def test_too_many_rejects_stop_the_stage(tmp_path: Path, data_folder: Path) -> None:
    for _ in range(2):  # The same command again stops too.
        with pytest.raises(
            TooManyRejectsError, match=r"2 of 3 rows .* 1 of them as no_concepts, .*--redo tasks"
        ):
            run_stage(tmp_path / "strict", data_folder, "abf", largest_reject_share=0.5)
        rejects = read_rows(StageFolder(tmp_path / "strict" / "2-tasks").parts_of(Reject), Reject)
        assert [(reject.reason, reject.detail) for reject in rejects] == [
            ("no_concepts", "Concepts: functions, algorithms"),
            ("no_signature", "I would rather not."),
        ]
    stage = run_stage(tmp_path / "lax", data_folder, "abf", largest_reject_share=0.7)
    assert len(read_rows(stage.parts_of(Task), Task)) == 1


def test_refused_replies_keep_what_the_endpoint_said(tmp_path: Path, data_folder: Path) -> None:
    def fault(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes] | None:
        if "def b(values)" not in json.dumps(body):
            return None
        return 400, {}, b'{"error": {"message": "this is against our policy"}}'

    seeds = [seed(number, name) for number, name in enumerate("ab")]
    config = Config(name="test")
    with ReplayServer(recording(seeds, config), model=config.model.name, fault=fault) as server:
        stage = run_stage(tmp_path, data_folder, "ab", url=server.url)
    (reject,) = read_rows(stage.parts_of(Reject), Reject)
    assert (reject.row_id, reject.reason) == ("s000001/concepts-00", "refused")
    assert "this is against our policy" in reject.detail
