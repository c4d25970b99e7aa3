import json
from dataclasses import replace
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest

from codedpo.context import StageContext
from codedpo.core.config import Config, ModelConfig, PairsConfig, Plugin, RankingsConfig
from codedpo.core.errors import ConfigError, DataError
from codedpo.core.progress import Voice
from codedpo.core.records import (
    Execution,
    Oracle,
    Outcome,
    Pair,
    Reject,
    Seed,
    Solution,
    SolutionScore,
    Task,
    Test,
    Text,
    TextKind,
    Timing,
)
from codedpo.core.stage import StageFolder
from codedpo.core.tables import read_rows, write_rows
from codedpo.pairs.export import EXPORTS
from codedpo.pairs.inputs import user_message
from codedpo.pairs.stage import run
from codedpo.sandbox.base import TimingResult
from codedpo.sandbox.local import LocalSandbox

CORRECTNESS = PairsConfig(kinds=("correctness",), validation_share=0.5)
"""Holds out t000001, which has a pair, and t000003, which has none."""
# each solution's passes on two tests, and its rank
TASKS = {
    "t000001": [((1, 1), 1), ((0, 1), 2), (None, 3), ((0, 0), 3)],
    "t000002": [((0, 1), 1), ((0, 1), 1)],
    "t000003": [((1, 1), 1), (None, 2)],
    "t000004": [((0, 0), 2), ((1, 1), 1)],
}
SURENESS = {"t000001": 0.6, "t000002": 0.9, "t000003": 0.9, "t000004": 0.9}


def rows_of(task_id, solutions, codes=()):
    prompt = json.dumps([{"role": "user", "content": f"Solve {task_id}."}])
    number = task_id.lstrip("t0")
    yield Seed(f"s{number}", "f", "", "boltons==25.0.0" if number < "4" else "mine", "f.py", "mit", 1, 2, "")
    yield Task(task_id, f"s{number}", [], f"Solve {task_id}.", "def f(x):", "f")
    for number, (passes, rank) in enumerate(solutions):
        solution_id = f"{task_id}/s{number:02d}"
        code = codes[number] if codes else f"def f(x):\n    return {number}\n"
        yield Text(f"{solution_id}/x", TextKind.SOLUTION.value, task_id, number, prompt, "", "stop", 1, 1)
        yield Solution(solution_id, task_id, f"{solution_id}/x", code)
        score = 1.0 if rank == 1 else 0.5 / rank
        yield SolutionScore(task_id, solution_id, "self_validation", score, rank)
        yield SolutionScore(
            task_id, solution_id, "consensus", score, rank, SURENESS.get(task_id, 0.9) * score
        )
        yield SolutionScore(task_id, solution_id, "random", 1.0, 1)
        for test, passed in enumerate(passes or (None, None)):
            outcome = {1: Outcome.PASSED, 0: Outcome.FAILED, None: Outcome.NOT_LOADED}[passed]
            yield Execution(
                task_id,
                solution_id,
                f"{task_id}/a{test:02d}",
                outcome.value,
                "",
                "",
                0,
                0,
                Oracle.SPLIT.value,
                3,
            )
    for test in range(2):
        yield Test(f"{task_id}/a{test:02d}", task_id, "x", f"assert f({test}) == 1", f"f({test})", "1")


def stage_of(folder, name):
    """Return the folder of a finished stage before, which dropped rows because they repeat a benchmark."""
    stage = StageFolder(folder / name).open({"stage": name, "model": "recorded/0123/weights"})
    drops = [Reject("f", "same_code", "humaneval HumanEval/1")] * (3 if name == "seeds" else 0)
    stage.write_part(0, {}, [*drops, Reject("g", "no_docstring", "")])
    stage.finish()
    return stage.path


def context_of(folder, section, tasks=TASKS, strategy="self_validation", codes=(), rows=(), services=None):
    rows = rows or [row for task_id, solutions in tasks.items() for row in rows_of(task_id, solutions, codes)]
    inputs = {}
    for row_type in (Seed, Task, Text, Solution, SolutionScore, Execution, Test):
        inputs[row_type] = [folder / f"{row_type.__name__}.parquet"]
        write_rows(inputs[row_type][0], row_type, [row for row in rows if isinstance(row, row_type)])
    return StageContext(
        name="pairs",
        config=Config(
            name="test",
            shard_size=3,
            pairs=section,
            rankings=RankingsConfig(strategy=Plugin(kind=strategy), compare=()),
        ),
        folder=StageFolder(folder / "6-pairs").open({"stage": "pairs"}),
        inputs=inputs,
        stage_folders={name: stage_of(folder, name) for name in ("seeds", "tasks", "candidates")},
        services=services,
        voice=Voice(quiet=True),
    )


def pairs_of(context):
    return read_rows(context.folder.parts_of(Pair), Pair)


def test_best_against_worst_that_loads_and_a_reason_for_every_task_without_pair(tmp_path):
    context = context_of(tmp_path, CORRECTNESS)
    run(context)
    first, last = pairs_of(context)
    assert (first.chosen_solution_id, first.rejected_solution_id) == ("t000001/s00", "t000001/s03")
    assert first.prompt == "Solve t000001."
    assert first.chosen == "```python\ndef f(x):\n    return 0\n```"
    assert (last.chosen_solution_id, last.rejected_solution_id) == ("t000004/s01", "t000004/s00")
    rejects = {row.row_id: row.reason for row in read_rows(context.folder.parts_of(Reject), Reject)}
    assert rejects == {"t000002/correctness": "all_equal", "t000003/correctness": "too_few_load"}
    assert read_rows(context.folder.parts_of(Timing), Timing) == []


def test_exports_are_written_and_split_by_task(tmp_path):
    context = context_of(tmp_path, CORRECTNESS)
    run(context)
    assert sorted(pair.split for pair in pairs_of(context)) == ["train", "validation"]
    for split in ("train", "validation"):
        (line,) = (context.folder.path / "export" / "preferences" / f"{split}.jsonl").read_text().splitlines()
        assert json.loads(line)["split"] == split


def test_rows_of_every_export_have_the_name_that_a_file_gave_the_task(tmp_path):
    rows = [
        replace(row, source_id="HumanEval/4") if isinstance(row, Task) and row.task_id == "t000004" else row
        for task_id, solutions in TASKS.items()
        for row in rows_of(task_id, solutions)
    ]
    context = context_of(tmp_path, CORRECTNESS, rows=rows)
    run(context)
    for export in EXPORTS:
        files = sorted((context.folder.path / "export" / export).glob("*.parquet"))
        found = {
            (row["task_id"], row["source_id"]) for file in files for row in pq.read_table(file).to_pylist()
        }
        assert found == {("t000001", None), ("t000004", "HumanEval/4")}


def test_the_card_counts_kinds_licences_sources_and_decontamination(tmp_path):
    context = context_of(tmp_path, CORRECTNESS)
    run(context)
    card = (context.folder.path / "export" / "README.md").read_text()
    assert "| correctness | 1 | 1 |" in card
    assert "| mit | 2 | 2 |" in card
    assert "| boltons==25.0.0 | mit | 1 | 1 |" in card
    assert "| mine | mit | 1 | 1 |" in card
    assert "2 functions of 4 drawn led to a pair" in card
    assert "Against humaneval: 3 seeds and tasks" in card
    assert "| seeds | same_code | 3 |" in card
    assert "no_docstring" not in card
    assert "least_margin: 0.0" in card


def test_the_card_says_what_a_recording_says_of_itself(tmp_path):
    context = context_of(tmp_path, CORRECTNESS)
    model = ModelConfig(kind="recorded", path="answers.jsonl")
    context.config = context.config.model_copy(update={"model": model})
    run(context)
    card = (context.folder.path / "export" / "README.md").read_text()
    assert "Tasks, solutions and tests: `recorded/0123/weights` (kind `recorded`)." in card
    assert "qwen" not in card


def test_a_program_is_not_paired_with_itself_whatever_its_ranks(tmp_path):
    codes = [f"def f(x):\n    return {value}\n" for value in ("1", "2", "1  ")]
    tasks = {"t000001": [((1, 1), 1), ((1, 1), 2), ((1, 1), 3)], "t000002": [((1, 1), 1), ((1, 1), 1)]}
    context = context_of(tmp_path, CORRECTNESS, tasks, codes=codes)
    run(context)
    (pair,) = pairs_of(context)
    assert (pair.chosen_solution_id, pair.rejected_solution_id) == ("t000001/s00", "t000001/s01")


def test_a_task_without_a_mistake_to_choose_leaves_a_reject_and_no_other_is_lost(tmp_path):
    options = {"kinds": ("correctness",), "rejected": "hardest", "share_kept": 0.9}
    tasks = TASKS | {"t000001": [((1, 1), 1), ((1, 1), 2)]}
    context = context_of(tmp_path, PairsConfig(**options), tasks, strategy="consensus")
    run(context)
    assert [pair.task_id for pair in pairs_of(context)] == ["t000004"]
    rejects = {row.row_id: row.reason for row in read_rows(context.folder.parts_of(Reject), Reject)}
    assert rejects["t000001/correctness"] == "all_equal"


SUMS = (
    "def f(n):\n    return n * (n + 1) // 2\n",
    "def f(n):\n    total = 0\n    for i in range(n + 1):\n        total += i\n    return total\n",
)


@pytest.mark.parametrize(
    ("options", "factors"),
    [({"slow_inputs": 0}, []), ({"slow_input_factor": 16}, [16]), ({"slow_input_ms": 1e-6}, [4])],
)
def test_efficiency_pairs_are_timed_on_grown_inputs(tmp_path, options, factors):
    section = PairsConfig(kinds=("efficiency",), validation_share=0.0, **options)
    with LocalSandbox(workers=1) as sandbox:
        tasks = {"t000001": [((1, 1), 1), ((1, 1), 1)]}
        services = SimpleNamespace(sandbox=sandbox)
        context = context_of(tmp_path, section, tasks, codes=SUMS, services=services)
        run(context)
    timings = read_rows(context.folder.parts_of(Timing), Timing)
    assert [int(label.rpartition(" x ")[2]) for label in timings[0].inputs if " x " in label] == factors
    (marker,) = context.folder.part_markers()
    assert marker["counters"]["timed_on_grown_inputs"] == len(factors)
    if options.get("slow_input_factor"):
        (pair,) = pairs_of(context)
        assert (pair.chosen_solution_id, pair.rejected_solution_id) == ("t000001/s00", "t000001/s01")
        assert 1.1 < pair.speed_ratio_low <= pair.speed_ratio <= pair.speed_ratio_high


def test_a_smaller_margin_makes_no_pair(tmp_path):
    context = context_of(tmp_path, PairsConfig(kinds=("correctness",), least_margin=0.8))
    run(context)
    assert [pair.task_id for pair in pairs_of(context)] == ["t000001"]


@pytest.mark.parametrize(
    ("share", "validation", "said"),
    [
        (0.0, 0, ""),
        (0.1, 0, "none of the 1 held-out tasks has a pair, so there is no validation pair; raise"),
        (0.5, 1, ""),
        (1.0, 2, "all tasks with a pair are among the 4 held-out ones, so there is no training pair; lower"),
    ],
)
def test_the_share_of_the_config_is_for_validation(tmp_path, capsys, share, validation, said):
    context = context_of(tmp_path, PairsConfig(kinds=("correctness",), validation_share=share))
    context.voice = Voice()
    run(context)
    splits = [pair.split for pair in pairs_of(context)]
    assert (len(splits), splits.count("validation")) == (2, validation)
    shown = capsys.readouterr().err
    assert said in shown
    assert ("so there is no" in shown) == bool(said)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_held_out_does_not_depend_on_who_has_a_pair(tmp_path, seed):
    splits: list[dict[str, str]] = []
    for folder, strategy, options in (
        ("all", "self_validation", {}),
        ("sure", "consensus", {"least_probability": 0.65}),
        ("apart", "self_validation", {"least_margin": 0.8}),
    ):
        (tmp_path / folder).mkdir()
        section = PairsConfig(kinds=("correctness",), validation_share=0.3, **options)
        tasks = {f"t{number:06d}": TASKS[f"t00000{1 + number % 4}"] for number in range(1, 13)}
        context = context_of(tmp_path / folder, section, tasks, strategy)
        context.config = context.config.model_copy(update={"seed": seed})
        run(context)
        splits.append({pair.task_id: pair.split for pair in pairs_of(context)})
    assert len({frozenset(of_one) for of_one in splits}) > 1
    for one in splits:
        for other in splits:
            assert all(one[task_id] == other[task_id] for task_id in one.keys() & other.keys())


# the first and second solution pass both tests; two fail alike, one fails otherwise and is worse
SEVERAL = {"t000001": [((1, 1), 1), ((1, 1), 2), ((0, 1), 3), ((0, 1), 3), ((0, 0), 4)]}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [("s00", "s04")]),
        ({"pairs_per_task": 2}, [("s00", "s04"), ("s01", "s02")]),
        ({"rejected": "hardest"}, [("s00", "s02")]),
        ({"least_chosen_score": 0.5, "pairs_per_task": 2}, [("s00", "s04")]),
        ({"least_rejected_score": 0.15}, []),
        ({"least_rejected_score": 0.15, "rejected": "hardest"}, [("s00", "s02")]),
    ],
)
def test_which_programs_are_paired(tmp_path, options, expected):
    context = context_of(tmp_path, PairsConfig(kinds=("correctness",), **options), SEVERAL)
    run(context)
    found = [(pair.chosen_solution_id, pair.rejected_solution_id) for pair in pairs_of(context)]
    assert found == [(f"t000001/{chosen}", f"t000001/{rejected}") for chosen, rejected in expected]


SUMS = (
    "def f(n):\n    return n * (n + 1) // 2",
    "def f(n):\n    return sum(range(n + 1))",
    "def f(n):\n    total = 0\n    for i in range(n + 1):\n        total += i\n    return total",
)


@pytest.mark.parametrize(
    ("least_speed_ratio", "rejects"), [(1.5, {}), (1e6, {"t000001/efficiency": "speed_not_apart"})]
)
def test_solutions_are_measured_so_often_and_paired_above_the_least_ratio(
    tmp_path, least_speed_ratio, rejects
):
    rows = list(rows_of("t000001", [((1, 1), 1)] * 3))
    codes = iter(SUMS)
    rows = [replace(row, code=next(codes)) if isinstance(row, Solution) else row for row in rows]
    rows = [
        replace(row, call="f(4000)", expected="8002000") if isinstance(row, Test) else row for row in rows
    ]
    section = PairsConfig(
        kinds=("efficiency",),
        slow_inputs=0,
        timing_repeats=3,
        decisive_repeats=7,
        least_speed_ratio=least_speed_ratio,
    )
    with LocalSandbox(workers=1) as sandbox:
        context = context_of(tmp_path, section, rows=rows, services=SimpleNamespace(sandbox=sandbox))
        run(context)
    timings = read_rows(context.folder.parts_of(Timing), Timing)
    assert [(row.solution_id[-3:], row.repeats) for row in timings] == [("s00", 7), ("s01", 3), ("s02", 7)]
    found = [
        (pair.kind, pair.chosen_solution_id, pair.rejected_solution_id, pair.speed_ratio_low > 1.5)
        for pair in pairs_of(context)
    ]
    assert found == ([] if rejects else [("efficiency", "t000001/s00", "t000001/s02", True)])
    assert {row.row_id: row.reason for row in read_rows(context.folder.parts_of(Reject), Reject)} == rejects


class BreaksOffWhenDecisive:
    """A sandbox whose solutions finish the first measurement alone."""

    def __init__(self, repeats):
        self.repeats = repeats

    def time(self, jobs):
        for job in jobs:
            finished = job.repeats < self.repeats
            samples = (
                tuple(1e6 * position for _ in range(job.repeats)) if finished else ()
                for position in range(1, len(job.solutions) + 1)
            )
            yield TimingResult(job.job_id, tuple(samples))


def test_samples_that_chose_the_two_extremes_never_decide(tmp_path):
    section = PairsConfig(kinds=("efficiency",), slow_inputs=0)
    services = SimpleNamespace(sandbox=BreaksOffWhenDecisive(section.decisive_repeats))
    context = context_of(tmp_path, section, {"t000001": [((1, 1), 1)] * 4}, services=services)
    run(context)
    assert [row.repeats for row in read_rows(context.folder.parts_of(Timing), Timing)] == [5, 5]
    (reject,) = read_rows(context.folder.parts_of(Reject), Reject)
    assert reject.reason == "too_few_timed"


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"share_kept": 0.5}, "below_share_kept"), ({"least_probability": 0.65}, "low_probability")],
)
def test_unsure_pairs_are_left_out(tmp_path, options, reason):
    section = PairsConfig(kinds=("correctness",), validation_share=0.0, **options)
    context = context_of(tmp_path, section, strategy="consensus")
    run(context)
    (pair,) = pairs_of(context)
    assert pair.task_id == "t000004"
    assert pair.probability == pytest.approx(0.9 * (1 - 0.9 * 0.25))
    rejects = {row.row_id: row.reason for row in read_rows(context.folder.parts_of(Reject), Reject)}
    assert rejects["t000001/correctness"] == reason
    (line,) = (context.folder.path / "export" / "preferences" / "train.jsonl").read_text().splitlines()
    assert json.loads(line)["probability"] == pair.probability


def test_a_strategy_without_probabilities_cannot_be_thresholded(tmp_path):
    section = PairsConfig(kinds=("correctness",), share_kept=0.5)
    with pytest.raises(ConfigError, match="kind to consensus"):
        run(context_of(tmp_path, section))


def test_a_prompt_that_is_not_one_user_message_is_refused():
    conversation = json.dumps(
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi."}]
    )
    with pytest.raises(DataError, match="task t1 were asked with 2 messages"):
        user_message(conversation, "t1")


def test_parts_before_a_damaged_task_are_kept(tmp_path):
    tasks = dict.fromkeys(TASKS, TASKS["t000001"])
    rows = [row for task_id, solutions in tasks.items() for row in rows_of(task_id, solutions)]
    damaged = [row for row in rows if getattr(row, "test_id", "") != "t000004/a00" or isinstance(row, Test)]
    damaged.append(next(row for row in rows if getattr(row, "test_id", "") == "t000004/a00"))
    context = context_of(tmp_path, CORRECTNESS, rows=damaged)
    with pytest.raises(DataError, match="executions of task t000004"):
        run(context)
    assert [pair.task_id for pair in pairs_of(context)] == ["t000001", "t000002", "t000003"]
