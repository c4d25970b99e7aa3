import csv
import gzip
import json
from dataclasses import asdict

import pytest
from tests.scripts.conftest import RIGHT, ROOT, WRONG, pair, write_stage

from codedpo.benchmarks import load_benchmark
from codedpo.core.config import Config
from codedpo.core.config_files import load_config
from codedpo.core.records import Pair, Sample
from codedpo.llm.base import Message, Request, Sampling

BENCHMARKS = ("humanevalplus", "humaneval", "mbppplus", "mbpp")


def write_run(folder, splits):
    """Write a run that stores nothing but one pair of every task, in the given split."""
    write_stage(folder, "pairs", {Pair: [pair(task_id, split) for task_id, split in splits.items()]})


def test_a_variant_that_trains_on_held_out_tasks_is_refused(refusal, tmp_path):
    run = tmp_path / "run"
    write_run(run, {"t1": "train", "t2": "validation", "t3": "validation"})
    write_run(run / "alike", {"t1": "train", "t3": "validation"})
    write_run(run / "other", {"t1": "validation", "t2": "train", "t3": "validation"})
    config = Config(name="run", variants={"alike": {}, "other": {}}, evaluation={"benchmarks": BENCHMARKS})
    (run / "config.resolved.json").write_text(config.model_dump_json())
    sentence = refusal("side_by_side", "pack", run, tmp_path / "packed")
    assert "other would train on 1 of the 2 held-out tasks" in sentence
    assert "t2 is one" in sentence
    assert not (tmp_path / "packed").exists()


def test_a_run_of_other_benchmarks_and_a_variant_without_pairs_are_refused(refusal, run, tmp_path):
    sentence = refusal("side_by_side", "pack", run, tmp_path / "packed")
    assert f"{run} is not evaluated on humanevalplus, mbppplus, mbpp; add that" in sentence
    config = Config(name="run", variants={"sure": {}}, evaluation={"benchmarks": BENCHMARKS})
    (run / "config.resolved.json").write_text(config.model_dump_json())
    sentence = refusal("side_by_side", "pack", run, tmp_path / "packed")
    assert f"{run / 'sure'} has no finished stage pairs" in sentence
    assert not (tmp_path / "packed").exists()


def rows_of(path, without=()):
    with path.open(newline="") as file:
        rows = [{name: row[name] for name in row if name not in without} for row in csv.DictReader(file)]
    return sorted(rows, key=lambda row: row["model"])


def test_the_committed_tables_of_trainings(globals_of, tables, tmp_path):
    functions = globals_of("side_by_side")
    rows = functions["_results"](tables / "grid")
    functions["_write_trainings"](tmp_path, [row for row in rows if row["kind"] == "training"])
    # Peaks were counted over the whole process then, and most were taken out of the committed table.
    for name, without in (("trainings.csv", ["peak_gib"]), ("validation_steps.csv", [])):
        assert rows_of(tmp_path / name, without) == rows_of(tables / "grid" / name, without)


def test_the_committed_figures(globals_of, tables):
    """From the committed outcomes; that order of problems draws other bootstrap samples, so intervals are left out."""
    functions = globals_of("side_by_side")
    lines = gzip.decompress((tables / "grid" / "outcomes.csv.gz").read_bytes()).decode().splitlines()
    samples = [
        (row["group"], sample_of(row["model"], row["benchmark"], row["problem_id"], row["outcome"]))
        for row in csv.DictReader(lines)
    ]
    order = ["untrained", *load_config(ROOT / "configs" / "experiments" / "grid.yaml", []).variants]
    found = [row[:6] + row[8:] for row in functions["_figures"](samples, order, 1)]
    with (tables / "grid" / "figures.csv").open() as file:
        committed = [
            (*row[:4], row[4] == "True", float(row[5]), int(row[8]))
            for row in list(csv.reader(file))[1:]
            if row[3] != "pass@1 without extraction"
        ]
    assert sorted(found) == sorted(committed)


def sample_of(model, benchmark, problem_id, outcome):
    return Sample("", model, benchmark, problem_id, 0, "", "", "", 0, "", outcome, "", 0, "")


@pytest.fixture
def answered(run, data_folder, tmp_path):
    """Return what ``pack`` and ``train`` leave of two models that answered a problem and the run's tasks."""
    config = Config.model_validate_json((run / "config.resolved.json").read_text())
    evaluation = config.evaluation.model_copy(update={"benchmarks": ("humaneval",)})
    resources = config.resources.model_copy(update={"data_folder": str(data_folder)})
    config = config.model_copy(update={"evaluation": evaluation, "resources": resources})
    (run / "config.resolved.json").write_text(config.model_dump_json())
    problem = load_benchmark("humaneval", data_folder).problems()[0]
    requests = {
        "greedy": [Request(f"humaneval/{problem.problem_id}", (Message("user", "0"),), Sampling())],
        "validation": [Request("validation/t2", (Message("user", "2"),), Sampling())],
        "train": [Request("train/t1", (Message("user", "1"),), Sampling())],
    }
    packed, results = tmp_path / "packed", tmp_path / "results"
    packed.mkdir()
    rows = {name: [asdict(request) for request in some] for name, some in requests.items()}
    (packed / "requests.json").write_text(json.dumps(rows))
    (packed / "order.json").write_text(json.dumps(["untrained", "tuned"]))
    results.mkdir()
    texts = {"0": {"untrained": "no", "tuned": problem.canonical_solution}}
    texts |= {"1": {"untrained": WRONG}, "2": {"untrained": WRONG, "tuned": RIGHT}}
    keys = {request.messages[0].content: request.key for (request,) in requests.values()}
    for model in ("untrained", "tuned"):
        replies = [
            {"kind": "reply", "model": model, "key": keys[name], "position": 0, "text": own[model]}
            | {"finish_reason": "stop", "prompt_tokens": 1, "completion_tokens": 5}
            for name, own in texts.items()
            if model in own
        ]
        lines = "".join(json.dumps(row) + "\n" for row in replies)
        (results / f"results-{model}.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    return packed, results


def test_answers_are_judged_and_set_beside_the_untrained_ones(start, run, answered, tmp_path, tables):
    done = start("side_by_side", "judge", run, *answered, tmp_path / "tables")
    assert done.code == 0, done.err
    text = gzip.decompress((tmp_path / "tables" / "outcomes.csv.gz").read_bytes()).decode()
    assert text.splitlines()[1:] == [
        "greedy,tuned,humaneval,HumanEval/0,0,passed,5",
        "greedy,untrained,humaneval,HumanEval/0,0,not_loaded,5",
    ]
    figures = (tmp_path / "tables" / "figures.csv").read_text().splitlines()
    assert figures[0] == (tables / "grid" / "figures.csv").read_text().splitlines()[0]
    assert [line.rsplit(",", 3)[0] for line in figures[1:] if "extraction" not in line] == [
        "greedy,untrained,humaneval,pass@1,False,0.0",
        "greedy,tuned,humaneval,pass@1,False,1.0",
        "greedy,tuned,humaneval,pass@1,True,1.0",
        "greedy,tuned,humaneval,mcnemar_p,True,1.0",
    ]


def test_answers_to_tasks_of_the_run_are_set_beside_the_sides_of_its_pairs(
    start, run, answered, tmp_path, tables
):
    done = start("side_by_side", "own-tasks", run, *answered, tmp_path / "tables")
    assert done.code == 0, done.err
    head, *rows = (tmp_path / "tables" / "own_tasks.csv").read_text().splitlines()
    assert head == (tables / "grid" / "own_tasks.csv").read_text().splitlines()[0]
    assert rows == [
        "train,untrained,t1,False,True,1,2",
        "validation,untrained,t2,False,True,1,2",
        "validation,tuned,t2,True,False,2,2",
    ]


@pytest.mark.parametrize("command", ["judge", "own-tasks"])
def test_results_that_are_not_there_or_torn_are_refused(refusal, run, answered, tmp_path, command):
    packed, results = answered
    arguments = ("side_by_side", command, run, packed)
    assert f"{packed} has no results-*.jsonl.gz" in refusal(*arguments, packed, tmp_path / "tables")
    path = results / "results-tuned.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-9])
    assert f"{path} is torn" in refusal(*arguments, results, tmp_path / "tables")
    assert not (tmp_path / "tables").exists()
