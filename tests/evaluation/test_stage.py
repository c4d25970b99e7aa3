"""The stage on real problems, with recorded replies in the place of weights."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from codedpo.benchmarks import load_benchmark
from codedpo.benchmarks.humaneval import HumanEval
from codedpo.context import StageContext
from codedpo.core.config import Config, EvaluationConfig, ResourcesConfig
from codedpo.core.errors import BackendError
from codedpo.core.progress import Voice
from codedpo.core.records import Metric, Sample, Speed, SpeedFigure
from codedpo.core.stage import StageFolder
from codedpo.core.tables import read_rows
from codedpo.evaluation import stage
from codedpo.llm.base import Reply, Sampling
from codedpo.llm.cache import CachedGenerator
from codedpo.sandbox.local import LocalSandbox

LIMIT = 6
NO_CODE, MIXED = 2, 3


class Replayed:
    """Replies by problem: published solutions, spoilt for some problems of the model before training."""

    asked: list[str] = []
    dies_after = 10**9

    def __init__(self, name, problems):
        self.after = name.endswith("model")
        self.identity = f"replayed {self.after}"
        self.problems = problems

    def text(self, number):
        problem = self.problems[number]
        if number == NO_CODE:
            return "I would rather not."
        if number == MIXED:
            return f"```python\n{problem.canonical_solution}\nassert broken_example(1)\n```"
        if number == 0 and not self.after:
            return f"```python\n{problem.prompt}    return None\n```"
        return f"Sure:\n```python\n{problem.canonical_solution}\n```"

    def generate(self, requests):
        prompts = {HumanEval().request(problem): number for number, problem in enumerate(self.problems)}
        for request in requests:
            number = prompts[request.messages[0].content]
            if len(self.asked) >= self.dies_after:
                raise KeyboardInterrupt
            self.asked.append(f"{self.identity} {number}")
            for position in range(request.first, request.first + request.count):
                yield Reply(request.request_id, position, self.text(number), "stop", 10, 20)

    def close(self):
        pass


@pytest.fixture(scope="module")
def sandbox():
    with LocalSandbox() as sandbox:
        yield sandbox


@pytest.fixture
def context_in(data_folder, sandbox, replay):
    replay(Replayed)

    def make(folder, **options):
        section = EvaluationConfig(limit=LIMIT, **options)
        resources = ResourcesConfig(data_folder=str(data_folder))
        config = Config(name="e", seed=5, shard_size=4, evaluation=section, resources=resources)
        services = SimpleNamespace(
            weights=SimpleNamespace(name="base"),
            cached=lambda inner: CachedGenerator(inner, folder / "requests.sqlite"),
            sandbox_for=lambda benchmark: sandbox,
            benchmark=lambda name: load_benchmark(name, data_folder),
        )
        own = StageFolder(folder / "8-evaluation").open({"stage": "evaluation"})
        return StageContext(
            "evaluation", config, own, {}, {"training": folder / "7-training"}, services, Voice(quiet=True)
        )

    return make


def rows_of(context, row_type):
    return read_rows(context.folder.parts_of(row_type), row_type)


def without_time(context):
    return [(row.sample_id, row.outcome, row.solution, row.text) for row in rows_of(context, Sample)]


def test_both_models_are_asked_the_same_and_judged(context_in, tmp_path):
    context = context_in(tmp_path)
    stage.run(context)
    samples = rows_of(context, Sample)
    assert len(samples) == 2 * LIMIT
    assert len({row.prompt for row in samples}) == LIMIT
    outcome = {(row.model, row.problem_id): row for row in samples}
    assert outcome["before", "HumanEval/0"].outcome == "failed"
    assert outcome["after", "HumanEval/0"].outcome == "passed"
    nothing = outcome["after", f"HumanEval/{NO_CODE}"]
    assert (nothing.outcome, nothing.error_type, nothing.solution) == ("not_loaded", "no_code", "")
    mixed = outcome["after", f"HumanEval/{MIXED}"]
    assert (mixed.outcome, mixed.plain_outcome) == ("passed", "not_loaded")
    figures = {(row.model, row.name): row.value for row in rows_of(context, Metric)}
    assert figures["before", "pass@1"] == pytest.approx(4 / 6)
    assert figures["after", "pass@1"] == pytest.approx(5 / 6)
    assert figures["after", "pass@1 without extraction"] == pytest.approx(4 / 6)
    assert figures["difference", "pass@1"] == pytest.approx(1 / 6)


def test_a_refused_reply_is_left_out_of_figures_and_empty_in_the_samples_for_evalplus(
    context_in, tmp_path, monkeypatch
):
    generate = Replayed.generate

    def refusing(self, requests):
        for reply in generate(self, requests):
            refused = self.after and reply.request_id.startswith("humaneval/HumanEval/1 ")
            yield replace(reply, text="the prompt is too long", finish_reason="refused") if refused else reply

    monkeypatch.setattr(Replayed, "generate", refusing)
    context = context_in(tmp_path)
    stage.run(context)
    outcome = {(row.model, row.problem_id): row for row in rows_of(context, Sample)}
    refused = outcome["after", "HumanEval/1"]
    assert (refused.outcome, refused.error_type, refused.solution) == ("not_run", "no reply", "")
    assert (refused.plain_outcome, refused.text) == ("not_run", "the prompt is too long")
    figures = {(row.model, row.name): row for row in rows_of(context, Metric)}
    assert figures["before", "pass@1"].count == LIMIT
    assert (figures["after", "pass@1"].value, figures["after", "pass@1"].count) == (pytest.approx(4 / 5), 5)
    assert figures["difference", "pass@1"].count == 5
    counters = [marker["counters"] for marker in context.folder.part_markers()]
    assert sum(of_part.get("not_run", 0) for of_part in counters) == 1
    lines = (context.folder.path / "samples" / "humaneval-after.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["task_id"] for row in rows] == [f"HumanEval/{number}" for number in range(LIMIT)]
    assert rows[1]["solution"] == ""


def test_every_benchmark_of_the_config_is_asked(context_in, tmp_path):
    context = context_in(tmp_path, benchmarks=("humaneval", "humanevalplus"))
    stage.run(context)
    asked = {(row.model, row.benchmark) for row in rows_of(context, Sample)}
    assert asked == {(m, b) for m in ("before", "after") for b in ("humaneval", "humanevalplus")}
    assert {row.benchmark for row in rows_of(context, Metric)} == {"humaneval", "humanevalplus"}


@pytest.mark.parametrize("efficiency", [False, True])
def test_right_answers_are_timed_where_the_config_asks(efficiency, context_in, tmp_path, monkeypatch):
    slow = "    [sorted(range(2000)) for _ in range(5)]\n"
    body = Replayed.text

    def text(self, number):
        found = body(self, number)
        if number != 1 or self.after:
            return found
        head, _, rest = self.problems[1].canonical_solution.rpartition("    result = []\n")
        return f"```python\n{head}{slow}    result = []\n{rest}\n```"

    monkeypatch.setattr(Replayed, "text", text)
    context = context_in(tmp_path, efficiency=efficiency)
    stage.run(context)
    figures = {row.name: row for row in rows_of(context, Metric) if row.name in tuple(SpeedFigure)}
    speeds = {row.problem_id: row for row in rows_of(context, Speed)}
    assert bool(figures) == bool(speeds) == efficiency
    if efficiency:
        # Problem 0 is solved after training only, NO_CODE by nobody; the others have equal answers but for 1.
        assert list(speeds) == [f"HumanEval/{number}" for number in (1, 3, 4, 5)]
        assert speeds["HumanEval/4"].note == "same_program"
        assert speeds["HumanEval/1"].low > 2
        assert figures["at least 10% faster"].value == 0.25
        assert figures["speed-up"].value > 1.25
        assert figures["speed-up"].count == 4


def test_samples_are_written_for_evalplus(context_in, tmp_path):
    context = context_in(tmp_path)
    stage.run(context)
    lines = (context.folder.path / "samples" / "humaneval-after.jsonl").read_text().splitlines()
    assert [json.loads(line)["task_id"] for line in lines] == [
        f"HumanEval/{number}" for number in range(LIMIT)
    ]
    assert all(json.loads(line).keys() == {"task_id", "solution"} for line in lines)


def test_a_broken_run_goes_on_and_ends_with_the_same_rows(context_in, tmp_path, monkeypatch):
    whole = context_in(tmp_path / "whole")
    stage.run(whole)
    Replayed.asked.clear()
    monkeypatch.setattr(Replayed, "dies_after", LIMIT + 2)
    broken = context_in(tmp_path / "broken")
    with pytest.raises(KeyboardInterrupt):
        stage.run(broken)
    assert 0 < len(broken.folder.finished_parts()) < 3
    monkeypatch.setattr(Replayed, "dies_after", 10**9)
    again = context_in(tmp_path / "broken")
    stage.run(again)
    assert without_time(again) == without_time(whole)
    assert rows_of(again, Metric) == rows_of(whole, Metric)
    assert len(Replayed.asked) == len(set(Replayed.asked)) == 2 * LIMIT


def test_several_samples_and_their_temperature_reach_the_model(context_in, tmp_path, monkeypatch):
    seen = []
    original = stage.requests_of
    monkeypatch.setattr(
        stage, "requests_of", lambda *given: seen.extend(original(*given)) or original(*given)
    )
    context = context_in(tmp_path, samples=10, temperature=0.7, top_p=0.8, max_tokens=99)
    stage.run(context)
    assert len(rows_of(context, Sample)) == 2 * LIMIT * 10
    assert {(one.count, one.sampling) for one in seen} == {(10, Sampling(0.7, 0.8, 99))}
    assert "pass@10" in {row.name for row in rows_of(context, Metric)}


def test_a_harness_that_fails_published_solutions_judges_nobody(context_in, tmp_path, monkeypatch):
    program = HumanEval.job
    monkeypatch.setattr(
        HumanEval,
        "job",
        lambda self, problem, codes: program(self, problem, ["def nothing(): pass" for _ in codes]),
    )
    with pytest.raises(BackendError, match=r"6 published solutions of humaneval do not pass.*HumanEval/0"):
        stage.run(context_in(tmp_path))
    assert Replayed.asked == []


def test_the_engine_is_the_configured_kind_in_one_precision(context_in, tmp_path, monkeypatch):
    trained = tmp_path / "7-training" / "model"
    trained.mkdir(parents=True)
    (trained / "config.json").write_text('{"dtype": "float32"}')
    seen, usual = [], stage.load(None, "", "")

    def load(table, kind, what):
        class Kind:
            @staticmethod
            def from_config(section, resources):
                seen.append((kind, section.name == str(trained), section.options))
                return usual.from_config(section, resources)

        return Kind

    monkeypatch.setattr(stage, "load", load)
    stage.run(context_in(tmp_path, engine="transformers"))
    options = {"dtype": "float32"}
    assert seen == [("transformers", False, options), ("transformers", True, options)]
