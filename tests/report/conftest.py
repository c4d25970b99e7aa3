"""A small run whose matrices, scores and pairs are real: its programs are executed, ranked and timed."""

import importlib
from types import SimpleNamespace

import pytest

from codedpo.context import StageContext
from codedpo.core.config import Config, SandboxConfig
from codedpo.core.progress import Voice
from codedpo.core.records import (
    HELD_OUT,
    TESTS_PASSED,
    Metric,
    Reject,
    Sample,
    Seed,
    Solution,
    Speed,
    SpeedFigure,
    Task,
    Test,
    Text,
    TrainingStep,
)
from codedpo.core.stage import StageFolder, write_json
from codedpo.sandbox.local import LocalSandbox
from codedpo.stages import STAGES, stage_path

RIGHT = "def total(values):\n    return sum(values)"
SLOW = """def total(values):
    result = 0
    for value in values:
        for _ in range(50):
            pass
        result += value
    return result"""
WRONG = "def total(values):\n    return sum(values) + 1  # </script><script>alert(1)</script>"
RAISES = "def total(values):\n    return values + 1"
LOOPS = "def total(values):\n    while True:\n        pass"
BROKEN = "def total(values):\n    return undefined\nraise ValueError('no')"
TESTS = (
    ("total([1, 2])", "3"),
    ("total([])", "0"),
    ("total(list(range(300)))", "44850"),
    ("total([5])", "9"),
)
TASKS = {
    "t000000": ("total", (RIGHT, SLOW, WRONG, RAISES, LOOPS, BROKEN)),
    "t000001": ("total_again", (WRONG, RIGHT)),
    "t000002": ("always_the_same", (RIGHT, RIGHT)),
}
PROMPT = '[{"role": "user", "content": "Add up the values."}]'


def write_stage(folder, name, tables, rejects=(), counters=None):
    stage = StageFolder(stage_path(folder, name)).open({"stage": name})
    stage.write_part(0, tables, rejects, counters or {}, 12.5, 8.0)
    stage.finish()


def context_of(folder, config, name, services):
    stage = next(stage for stage in STAGES if stage.name == name)
    earlier = STAGES[: STAGES.index(stage)]
    inputs = {
        row_type: [
            path
            for other in earlier
            if row_type in other.writes
            for path in StageFolder(stage_path(folder, other.name)).parts_of(row_type)
        ]
        for row_type in stage.reads
    }
    own = StageFolder(stage_path(folder, name)).open({"stage": name})
    folders = {other.name: stage_path(folder, other.name) for other in earlier}
    return StageContext(name, config, own, inputs, folders, services, Voice(quiet=True))


def inputs_of_the_run(folder):
    seeds, tasks, texts, solutions, tests = [], [], [], [], []
    for number, (task_id, (name, codes)) in enumerate(TASKS.items()):
        seeds.append(Seed(f"s{number:06d}", name, RIGHT, "package==1.0", "sums.py", "mit", 3, 4, "0" * 64))
        tasks.append(
            Task(
                task_id,
                f"s{number:06d}",
                ["sums"],
                "Add up the <values>.",
                "def total(values) -> int:",
                "total",
            )
        )
        texts.append(Text(f"{task_id}/x0", "solution", task_id, 0, PROMPT, RIGHT, "stop", 20, 30))
        solutions += [
            Solution(f"{task_id}/s{index:02d}", task_id, f"{task_id}/x0", code)
            for index, code in enumerate(codes)
        ]
        tests += [
            Test(
                f"{task_id}/a{index:02d}",
                task_id,
                f"{task_id}/x0",
                f"assert {call} == {expected}",
                call,
                expected,
            )
            for index, (call, expected) in enumerate(TESTS)
        ]
    dropped = [Reject(f"r{index}", "no_docstring", "") for index in range(7)]
    write_stage(folder, "seeds", {Seed: seeds}, dropped)
    write_stage(folder, "tasks", {Text: [], Task: tasks}, counters={"new_completion_tokens": 90})
    counters = {"new_prompt_tokens": 60, "cached_prompt_tokens": 4, "cached_replies": 2, "refused_replies": 1}
    write_stage(folder, "candidates", {Text: texts, Solution: solutions, Test: tests}, dropped[:2], counters)


def training_steps():
    names = {
        "loss": -0.01,
        "logps/chosen": 0.5,
        "logps/rejected": -0.7,
        "rewards/chosen": 0.1,
        "grad_norm": 0.2,
    }
    names |= {"probe/right": 0.1, "probe/wrong": -0.2}
    return [
        TrainingStep(step, step / 10, split, name, 0.69 + slope * step)
        for step in range(1, 301)
        for name, slope in names.items()
        for split in (("train", "validation") if step % 30 == 0 else ("train",))
    ]


def samples_and_metrics():
    rows = []
    for model, passed in (("before", (1, 0, 1)), ("after", (1, 1, 0))):
        for number, ok in enumerate(passed):
            outcome = "passed" if ok else "failed"
            name = f"HumanEval/{number}"
            rows.append(
                Sample(
                    f"{model}/humaneval/{name}/0", model, "humaneval", name, 0, PROMPT, RIGHT, "stop", 40, RIGHT,
                    outcome, "", 1000, outcome,
                )
            )  # fmt: skip
    metrics = [
        Metric("before", "humaneval", "pass@1", 2 / 3, 0.2, 0.9, 3),
        Metric("after", "humaneval", "pass@1", 2 / 3, 0.2, 0.9, 3),
        Metric("difference", "humaneval", "pass@1", 0.0, -0.6, 0.6, 3),
        Metric("difference", "humaneval", "mcnemar_p", 1.0, 1.0, 1.0, 2),
        Metric("before", HELD_OUT, TESTS_PASSED, 0.4, 0.3, 0.5, 32),
        Metric("after", HELD_OUT, TESTS_PASSED, 0.45, 0.35, 0.55, 32),
        Metric("difference", HELD_OUT, TESTS_PASSED, 0.05, 0.01, 0.09, 32),
    ]
    return rows, metrics


def speeds_and_metrics():
    """Return the speeds of four problems that both models solve, two of them timed, and their figures."""

    def speed(number, ratio, low, high, note="", taken=()):
        ids = (f"{model}/humaneval/HumanEval/{number}/0" for model in ("before", "after"))
        before = [ratio * one for one in taken]
        return Speed("humaneval", f"HumanEval/{number}", *ids, 7, 1, before, [*taken], ratio, low, high, note)

    rows = [
        speed(0, 1.5, 1.4, 1.6, taken=(100.0, 110.0)),
        speed(4, 0.9, 0.8, 1.2, taken=(100.0, 110.0)),
        speed(5, 1.0, 1.0, 1.0, "same_program"),
        speed(6, 0.0, 0.0, 0.0, "no_call"),
    ]
    figures = {
        SpeedFigure.MEAN: (1.13, 0.97, 1.33),
        SpeedFigure.MEDIAN: (1.0, 0.9, 1.5),
        SpeedFigure.FASTER: (1 / 3, 0.06, 0.79),
        SpeedFigure.SLOWER: (0.0, 0.0, 0.56),
        SpeedFigure.MEAN_BY_EXPERIMENT: (1.13, 1.11, 1.16),
    }
    return rows, [Metric("difference", "humaneval", name, *of_one, 3) for name, of_one in figures.items()]


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    """Return the folder of a whole run, page included."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    config = Config(
        name="small",
        description="A run of <three> tasks.",
        runs_folder=str(folder.parent),
        sandbox=SandboxConfig(cpu_seconds=0.3),
    )
    inputs_of_the_run(folder)
    sandbox = LocalSandbox.from_config(config.sandbox, config.resources)
    services = SimpleNamespace(run_folder=folder, sandbox=sandbox, config=config, sandbox_counters={})
    try:
        for name in ("executions", "rankings", "pairs"):
            context = context_of(folder, config, name, services)
            importlib.import_module(f"codedpo.{name}.stage").run(context)
            context.folder.finish()
    finally:
        sandbox.close()
    samples, metrics = samples_and_metrics()
    write_stage(folder, "training", {TrainingStep: training_steps()})
    speeds, speed_metrics = speeds_and_metrics()
    write_stage(folder, "evaluation", {Sample: samples, Speed: speeds, Metric: metrics + speed_metrics})
    attempt = {"argv": ["run", "small.yaml"], "started": "2026-01-02T03:04:05+00:00", "commit": "abc"}
    attempt |= {
        "packages": {"numpy": "2"},
        "python": "3.11",
        "platform": "Linux",
        "cpu": "a processor, 2 cores",
    }
    weights = {"generator": "recorded answers", "origin": "made by hand", "digest": "f" * 64}
    write_json(folder / "run.json", {"attempts": [attempt], "weights": weights})
    write_json(folder / "config.resolved.json", config.model_dump(mode="json"))
    context = context_of(folder, config, "report", services)
    importlib.import_module("codedpo.report.stage").run(context)
    context.folder.finish()
    return folder
