"""The stage on real replies of the small model to MBPP tasks, replayed for the stage's own requests."""

import gzip
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest

from codedpo.candidates import stage as candidates
from codedpo.candidates.stage import run, solution_request, test_request
from codedpo.context import StageContext
from codedpo.core.config import CandidatesConfig, Config, ModelConfig, ResourcesConfig, SamplingConfig
from codedpo.core.errors import TooManyRejectsError
from codedpo.core.progress import Voice
from codedpo.core.records import Reject, Solution, Task, Test, Text
from codedpo.core.stage import StageFolder
from codedpo.core.tables import read_rows, write_rows
from codedpo.llm.base import Reply, Request
from codedpo.llm.recorded import RecordedGenerator, read_recording
from codedpo.llm.replay_server import ReplayServer
from codedpo.services import Services

CANDIDATES = CandidatesConfig(solutions=12, tests=15, tests_per_reply=3)


def lines(path: Path) -> list[Any]:
    with gzip.open(path, "rt") as file:
        return [json.loads(line) for line in file]


@pytest.fixture(scope="module")
def tasks(data_folder: Path) -> list[Task]:
    found = []
    wanted = {row["task"] for row in lines(data_folder / "qwen_mbpp" / "texts.jsonl.gz")}
    for row in lines(data_folder / "mbpp" / "mbpp.jsonl.gz"):
        if row["task_id"] in sorted(wanted)[:10]:
            (signature,) = re.findall(r"^def .*:", row["code"], re.MULTILINE)[-1:]
            name = signature.removeprefix("def ").partition("(")[0].strip()
            found.append(Task(f"t{row['task_id']:06d}", "s000001", [], row["text"], signature, name))
    return found


def recorded(
    path: Path, tasks: list[Task], texts: list[dict[str, Any]], config: CandidatesConfig = CANDIDATES
) -> Path:
    """Write a recording of the texts as answers to the stage's requests."""
    rows = []
    for task in tasks:
        requests = {
            "solution": solution_request(task, config, 5),
            "test": test_request(task, config, 5),
        }
        positions: Counter[str] = Counter()
        for text in texts:
            if f"t{text['task']:06d}" == task.task_id:
                row = {
                    "model": "qwen",
                    "key": requests[text["kind"]].key,
                    "position": positions[text["kind"]],
                }
                rows.append(
                    row
                    | {
                        "text": text["text"],
                        "finish_reason": "stop",
                        "prompt_tokens": 9,
                        "completion_tokens": 9,
                    }
                )
                positions[text["kind"]] += 1
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run_stage(folder: Path, tasks: list[Task], model: ModelConfig, **settings: Any) -> StageFolder:
    config = Config(
        name="test",
        seed=5,
        shard_size=4,
        model=model,
        candidates=CANDIDATES.model_copy(update=settings),
    )
    write_rows(folder / "tasks.parquet", Task, tasks)
    stage = StageFolder(folder / "3-candidates").open({"stage": "candidates"})
    voice = Voice(quiet=True)
    services = Services(config, folder, voice)
    try:
        run(
            StageContext("candidates", config, stage, {Task: [folder / "tasks.parquet"]}, {}, services, voice)
        )
    finally:
        services.close()
    return stage


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory, data_folder: Path, tasks: list[Task]) -> Path:
    texts = lines(data_folder / "qwen_mbpp" / "texts.jsonl.gz")
    return recorded(tmp_path_factory.mktemp("recording") / "recording.jsonl", tasks, texts)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, recording: Path, tasks: list[Task]) -> StageFolder:
    model = ModelConfig(kind="recorded", path=str(recording))
    return run_stage(tmp_path_factory.mktemp("run"), tasks, model)


def test_every_reply_is_kept_and_gives_a_row_or_a_reason(stage: StageFolder, tasks: list[Task]) -> None:
    texts = read_rows(stage.parts_of(Text), Text)
    solutions = read_rows(stage.parts_of(Solution), Solution)
    tests = read_rows(stage.parts_of(Test), Test)
    rejects = read_rows(stage.parts_of(Reject), Reject)
    assert len(texts) == len(tasks) * (12 + 5)
    for text in texts:
        made = [row for row in (*solutions, *tests) if row.text_id == text.text_id]
        assert made or any(reject.row_id.startswith(text.text_id) for reject in rejects)
    assert len(solutions) > 0.75 * 12 * len(tasks)
    assert len({row.solution_id for row in solutions}) == len(solutions)


def test_tests_of_a_task_differ_and_stay_below_the_limit(stage: StageFolder) -> None:
    tests = read_rows(stage.parts_of(Test), Test)
    counts = Counter(test.task_id for test in tests)
    assert max(counts.values()) <= 15
    assert len({(test.task_id, test.code) for test in tests}) == len(tests)
    assert sum(bool(test.call) for test in tests) > 0.9 * len(tests)
    reasons = {reject.reason for reject in read_rows(stage.parts_of(Reject), Reject)}
    assert {"no_tests", "beyond_limit"} <= reasons


def test_no_more_tests_are_kept_than_the_config_says(
    tmp_path: Path, tasks: list[Task], recording: Path
) -> None:
    model = ModelConfig(kind="recorded", path=str(recording))
    stage = run_stage(tmp_path, tasks, model, tests=2)
    counts = Counter(test.task_id for test in read_rows(stage.parts_of(Test), Test))
    assert max(counts.values()) == 2


def test_the_prompt_is_one_user_message_with_task_and_signature(
    stage: StageFolder, tasks: list[Task]
) -> None:
    text = read_rows(stage.parts_of(Text), Text)[0]
    (message,) = json.loads(text.prompt)
    assert message["role"] == "user"
    assert tasks[0].prompt in message["content"]
    assert tasks[0].signature in message["content"]


@pytest.mark.parametrize("samples_per_call", [0, 1])
def test_an_endpoint_with_the_same_answers_gives_the_same_tables(
    tmp_path: Path, tasks: list[Task], recording: Path, stage: StageFolder, samples_per_call: int
) -> None:
    with ReplayServer(read_recording(recording)) as server:
        options = {"samples_per_call": samples_per_call}
        live = run_stage(
            tmp_path, tasks, ModelConfig(kind="openai", name="recorded", url=server.url, options=options)
        )
    for row_type in (Text, Solution, Test, Reject):
        assert read_rows(live.parts_of(row_type), row_type) == read_rows(stage.parts_of(row_type), row_type)


class Own(RecordedGenerator):
    """Somebody's own generator."""

    @classmethod
    def from_config(cls, section: ModelConfig, resources: ResourcesConfig) -> "Own":
        return cls(section.options["recording"])


def test_a_generator_from_elsewhere_with_its_options_writes_the_candidates(
    tmp_path: Path, tasks: list[Task], recording: Path, stage: StageFolder
) -> None:
    model = ModelConfig(kind="plugin", path=f"{__name__}:Own", options={"recording": str(recording)})
    own = run_stage(tmp_path, tasks, model)
    for row_type in (Text, Solution, Test, Reject):
        assert read_rows(own.parts_of(row_type), row_type) == read_rows(stage.parts_of(row_type), row_type)


class Watched(RecordedGenerator):
    """Notes every reply that it is asked for."""

    seen: ClassVar[list[str]] = []

    @classmethod
    def from_config(cls, section: ModelConfig, resources: ResourcesConfig) -> "Watched":
        return cls(section.options["recording"])

    def generate(self, requests: Iterable[Request]) -> Iterator[Reply]:
        for reply in super().generate(requests):
            self.seen.append("given")
            yield reply


def test_a_reply_is_read_before_the_model_is_asked_for_the_next(
    tmp_path: Path, tasks: list[Task], recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def watched(read: Callable[..., Any], *text: Any) -> Any:
        Watched.seen.append("read")
        return read(*text)

    monkeypatch.setattr(Watched, "seen", [])
    for name in ("extract_code", "extract_tests"):
        monkeypatch.setattr(candidates, name, partial(watched, getattr(candidates, name)))
    options = {"recording": str(recording)}
    run_stage(tmp_path, tasks, ModelConfig(kind="plugin", path=f"{__name__}:Watched", options=options))
    assert Watched.seen == ["given", "read"] * (len(tasks) * (12 + 5))


def test_an_interrupt_while_a_reply_is_read_loses_no_reply(
    tmp_path: Path,
    tasks: list[Task],
    recording: Path,
    stage: StageFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with ReplayServer(read_recording(recording)) as server:
        model = ModelConfig(kind="openai", name="recorded", url=server.url)
        with monkeypatch.context() as patch:
            patch.setattr(candidates, "extract_tests", interrupted)
            with pytest.raises(KeyboardInterrupt):
                run_stage(tmp_path, tasks, model)
        again = run_stage(tmp_path, tasks, model)
    asked = Counter(json.dumps(call["messages"]) for call in server.calls)
    assert len(asked) == asked.total() == 2 * len(tasks), "no request is sent twice"
    for row_type in (Text, Solution, Test, Reject):
        assert read_rows(again.parts_of(row_type), row_type) == read_rows(stage.parts_of(row_type), row_type)


def test_a_model_that_writes_no_code_stops_the_stage(tmp_path: Path, tasks: list[Task]) -> None:
    texts = [
        {"task": int(task.task_id[1:]), "kind": kind, "text": "I cannot do that."}
        for task in tasks
        for kind, count in (("solution", 12), ("test", 5))
        for _ in range(count)
    ]
    model = ModelConfig(kind="recorded", path=str(recorded(tmp_path / "recording.jsonl", tasks, texts)))
    for _ in range(2):  # The same command again stops too.
        with pytest.raises(
            TooManyRejectsError,
            match=r"48 of them as no_code, .*candidates\.largest_reject_share=0.9 allows; .*--redo",
        ):
            run_stage(tmp_path, tasks, model)
    stage = StageFolder(tmp_path / "3-candidates")
    assert {reject.reason for reject in read_rows(stage.parts_of(Reject), Reject)} == {"no_code", "no_tests"}
    assert len(read_rows(stage.parts_of(Text), Text)) == 4 * (12 + 5), "what was written is kept"


def test_what_stopped_the_last_part_stops_the_same_command_again(
    tmp_path: Path, tasks: list[Task], recording: Path
) -> None:
    model = ModelConfig(kind="recorded", path=str(recording))
    for _ in range(2):
        with pytest.raises(TooManyRejectsError):
            run_stage(tmp_path, tasks[:4], model, largest_reject_share=0.01)
        assert StageFolder(tmp_path / "3-candidates").finished_parts() == [0]


def test_less_than_the_largest_share_of_useless_replies_may_stop_the_stage(
    tmp_path: Path, tasks: list[Task], recording: Path
) -> None:
    model = ModelConfig(kind="recorded", path=str(recording))
    with pytest.raises(TooManyRejectsError, match=r"candidates\.largest_reject_share=0.01 allows"):
        run_stage(tmp_path, tasks, model, largest_reject_share=0.01)


def test_counts_and_sampling_reach_the_model(tmp_path: Path, data_folder: Path, tasks: list[Task]) -> None:
    settings = {
        "solutions": 4,
        "tests": 5,
        "tests_per_reply": 4,
        "solution_sampling": SamplingConfig(temperature=0.7, top_p=0.6, max_tokens=222),
        "test_sampling": SamplingConfig(temperature=0.4, top_p=0.8, max_tokens=111),
    }
    texts = lines(data_folder / "qwen_mbpp" / "texts.jsonl.gz")
    config = CANDIDATES.model_copy(update=settings)
    path = recorded(tmp_path / "recording.jsonl", tasks[:3], texts, config)
    with ReplayServer(read_recording(path)) as server:
        model = ModelConfig(kind="openai", name="recorded", url=server.url)
        run_stage(tmp_path, tasks[:3], model, **settings)
    keys = ("n", "temperature", "top_p", "max_tokens")
    asked = Counter(tuple(call[key] for key in keys) for call in server.calls)
    assert asked == {(4, 0.7, 0.6, 222): 3, (2, 0.4, 0.8, 111): 3}
    prompts = [call["messages"][0]["content"] for call in server.calls if call["n"] == 2]
    assert all("Write 4 assertions" in prompt for prompt in prompts)
