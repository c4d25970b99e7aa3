"""Held-out tasks as the stage asks, runs and compares them, on real problems of HumanEval."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from codedpo.benchmarks import load_benchmark
from codedpo.benchmarks.humaneval import HumanEval
from codedpo.candidates.stage import solution_request
from codedpo.context import StageContext
from codedpo.core.config import CandidatesConfig, Config, EvaluationConfig, PairsConfig, ResourcesConfig
from codedpo.core.errors import DataError
from codedpo.core.progress import Voice
from codedpo.core.records import HELD_OUT, TESTS_PASSED, Metric, Pair, Sample, Task, Test
from codedpo.core.stage import StageFolder
from codedpo.core.tables import read_rows, write_rows
from codedpo.evaluation import held_out, stage
from codedpo.llm.base import Reply
from codedpo.llm.cache import CachedGenerator
from codedpo.sandbox.local import LocalSandbox

TASK_IDS = ("t0", "t1", "t2")
RIGHT = "def double(x):\n    return 2 * x"
WRONG = "def double(x):\n    return x * x"


def task(task_id):
    return Task(task_id, "s", ["c"], f"Double x, said {task_id}.", "def double(x):", "double")


def request_of(task_id):
    return solution_request(task(task_id), CandidatesConfig(), 0).messages[0].content


def own_tests(task_id):
    calls = ((0, 0), (2, 4), (3, 6), (5, 7))
    return [
        Test(f"{task_id}/a{number}", task_id, "text", f"assert double({x}) == {y}", f"double({x})", str(y))
        for number, (x, y) in enumerate(calls)
    ]


def pair(task_id, split):
    sides = (f"```python\n{RIGHT}\n```", f"```python\n{WRONG}\n```")
    return Pair(
        f"{task_id}/p",
        task_id,
        "correctness",
        request_of(task_id),
        *sides,
        "s0",
        "s1",
        1.0,
        0.0,
        *[0.0] * 4,
        split,
    )


CONFIG = Config(name="e", pairs=PairsConfig(validation_share=0.7))
"""Holds out t1 and t2."""


def held_out_of(folder, pairs, tests):
    inputs = {}
    for row_type, rows in {Pair: pairs, Task: [task(one) for one in TASK_IDS], Test: tests}.items():
        inputs[row_type] = [folder / f"{row_type.__name__}.parquet"]
        write_rows(inputs[row_type][0], row_type, rows)
    own = StageFolder(folder / "8-evaluation")
    return held_out.tasks_of(StageContext("evaluation", CONFIG, own, inputs, {}, None, Voice(quiet=True)))


@pytest.mark.parametrize(
    "pairs", [[], [pair("t0", "train")], [pair(one, "validation") for one in ("t1", "t2", "t1")]]
)
def test_held_out_tasks_are_the_same_whoever_has_a_pair(tmp_path, pairs):
    found = held_out_of(tmp_path, pairs, [test for task_id in TASK_IDS for test in own_tests(task_id)])
    assert [one.task_id for one in found] == ["t1", "t2"]
    assert found[0].prompt == request_of("t1")
    assert [test.test_id for test in found[0].tests] == ["t1/a0", "t1/a1", "t1/a2", "t1/a3"]


def test_a_held_out_task_without_tests_is_not_asked(tmp_path):
    found = held_out_of(tmp_path, [], own_tests("t2"))
    assert [one.task_id for one in found] == ["t2"]


def test_pairs_of_another_prompt_are_refused(tmp_path):
    pairs = [replace(pair("t1", "validation"), prompt="Please double.")]
    with pytest.raises(DataError, match="held-out task t1: the prompt of its pairs is not the message"):
        held_out_of(tmp_path, pairs, own_tests("t1"))


class Replayed:
    """Published solutions for HumanEval; of the held-out tasks the trained model gets the second one right too."""

    asked: list[str] = []

    def __init__(self, name, problems):
        self.after = name.endswith("model")
        self.identity = f"replayed {self.after}"
        self.solutions = {HumanEval().request(one): one.canonical_solution for one in problems}

    def generate(self, requests):
        for request in requests:
            self.asked.append(f"{request.request_id} {self.after}")
            text = request.messages[0].content
            code = self.solutions.get(text) or (RIGHT if self.after or "said t1." in text else WRONG)
            answer = "no program" if "said t2." in text and not self.after else f"```python\n{code}\n```"
            yield Reply(request.request_id, 0, answer, "stop", 1, 1)

    def close(self):
        pass


@pytest.fixture
def context_in(data_folder, tmp_path, replay):
    replay(Replayed)
    tables = {
        Pair: [pair("t0", "train"), pair("t1", "validation"), pair("t2", "validation")],
        Task: [task(one) for one in TASK_IDS],
        Test: [test for task_id in TASK_IDS for test in own_tests(task_id)],
    }
    for row_type, rows in tables.items():
        write_rows(tmp_path / f"{row_type.__name__}.parquet", row_type, rows)

    with LocalSandbox() as sandbox:

        def make(*, asked=True, benchmarks=("humaneval",)):
            section = EvaluationConfig(limit=2, held_out_tasks=asked, benchmarks=benchmarks)
            config = Config(
                name="e",
                evaluation=section,
                pairs=CONFIG.pairs,
                shard_size=2,
                resources=ResourcesConfig(data_folder=str(data_folder)),
            )
            services = SimpleNamespace(
                weights=SimpleNamespace(name="base"),
                cached=lambda inner: CachedGenerator(inner, tmp_path / "requests.sqlite"),
                sandbox_for=lambda benchmark: sandbox,
                sandbox=sandbox,
                sandbox_counters={},
                benchmark=lambda name: load_benchmark(name, data_folder),
            )
            inputs = {row_type: [tmp_path / f"{row_type.__name__}.parquet"] for row_type in tables}
            own = StageFolder(tmp_path / "8-evaluation").open({"stage": "evaluation"})
            folders = {"training": tmp_path / "7-training"}
            return StageContext("evaluation", config, own, inputs, folders, services, Voice(quiet=True))

        yield make


def figures(context):
    rows = read_rows(context.folder.parts_of(Metric), Metric)
    return {row.model: row for row in rows if (row.benchmark, row.name) == (HELD_OUT, TESTS_PASSED)}


def test_the_share_of_tests_that_answers_pass_is_compared(context_in):
    context = context_in()
    stage.run(context)
    found = figures(context)
    # Of four tests, one of them wrong, the right program passes three; no program passes none.
    assert {model: row.value for model, row in found.items()} == {
        "before": 0.375,
        "after": 0.75,
        "difference": 0.375,
    }
    assert {row.count for row in found.values()} == {2}
    assert found["difference"].low <= 0.375 <= found["difference"].high
    assert {row.benchmark for row in read_rows(context.folder.parts_of(Sample), Sample)} == {"humaneval"}


def test_without_benchmarks_they_alone_are_asked(context_in):
    context = context_in(benchmarks=())
    stage.run(context)
    assert {model: row.value for model, row in figures(context).items()} == {
        "before": 0.375,
        "after": 0.75,
        "difference": 0.375,
    }
    assert {request.partition(" ")[0] for request in Replayed.asked} == {f"{HELD_OUT}/t1", f"{HELD_OUT}/t2"}
    assert len(Replayed.asked) == 2 * 2
    assert read_rows(context.folder.parts_of(Sample), Sample) == []


def test_where_no_task_was_held_out_the_stage_says_so(context_in, tmp_path, capsys):
    write_rows(tmp_path / "Test.parquet", Test, own_tests("t0"))
    context = replace(context_in(benchmarks=()), voice=Voice(json_lines=True))
    stage.run(context)
    assert figures(context) == {}
    assert (
        "no task with a test was held out, so none is asked; raise pairs.validation_share"
        in capsys.readouterr().err
    )


class Refusing(Replayed):
    """The untrained model gives no answer to one of them."""

    def generate(self, requests):
        for reply in super().generate(requests):
            lost = not self.after and reply.request_id.startswith(f"{HELD_OUT}/t2 ")
            yield replace(reply, text="HTTP 500", finish_reason="refused") if lost else reply


def test_a_task_that_one_model_did_not_answer_counts_for_neither(context_in, replay, capsys):
    replay(Refusing)
    context = replace(context_in(), voice=Voice(json_lines=True))
    stage.run(context)
    found = figures(context)
    assert {model: (row.value, row.count) for model, row in found.items()} == {
        "before": (0.75, 1),
        "after": (0.75, 1),
        "difference": (0.0, 1),
    }
    assert "1 of 2 held-out tasks are left out: a model did not answer them" in capsys.readouterr().err


def test_they_are_asked_with_the_benchmarks_and_not_again_after_a_stop(context_in, monkeypatch):
    metrics_of = held_out.metrics_of

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(held_out, "metrics_of", stop)
    with pytest.raises(KeyboardInterrupt):
        stage.run(context_in())
    asked = list(Replayed.asked)
    assert len(asked) == len(set(asked)) == 2 * (2 + 2)
    monkeypatch.setattr(held_out, "metrics_of", metrics_of)
    context = context_in()
    stage.run(context)
    assert Replayed.asked == asked
    assert figures(context)["difference"].value == 0.375


def test_without_the_option_no_task_is_asked(context_in):
    context = context_in(asked=False)
    stage.run(context)
    assert figures(context) == {}
    assert not any(HELD_OUT in one for one in Replayed.asked)
    assert json.dumps(context.folder.part_markers()[0]["counters"]).count("new_replies") == 1
