"""The scripts as a person starts them, and a small run whose tables they read."""

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from codedpo.core.config import Config
from codedpo.core.records import Metric, Pair, Sample, Task, Test, TrainingStep
from codedpo.core.stage import StageFolder
from codedpo.stages import stage_path

ROOT = Path(__file__).resolve().parents[2]
RIGHT = "```python\ndef total(values):\n    return sum(values)\n```"
LOOP = """```python
def total(values):
    found = 0
    for value in values:  # add
        found += value
    return found
```"""
WRONG = "```python\ndef total(values):\n    return 0\n```"
PROMPT = "Add up the values."


@pytest.fixture
def tables():
    """Return the folder of the committed tables."""
    return ROOT / "experiments" / "small"


@pytest.fixture
def globals_of(monkeypatch):
    """Return a function that loads a script without starting it."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return lambda name: runpy.run_path(str(ROOT / "scripts" / f"{name}.py"))


@pytest.fixture
def start(monkeypatch, capsys):
    """Return a function that starts a script; it returns exit code, output and errors."""
    monkeypatch.syspath_prepend(ROOT / "scripts")

    def run(name, *arguments):
        path = str(ROOT / "scripts" / f"{name}.py")
        monkeypatch.setattr(sys, "argv", [path, *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(path, run_name="__main__")
        out, err = capsys.readouterr()
        return SimpleNamespace(code=stopped.value.code, out=out, err=err)

    return run


@pytest.fixture
def refusal(start):
    """Return a function that starts a script with what it cannot use; it returns the sentence."""

    def run(name, *arguments):
        done = start(name, *arguments)
        assert done.code == 2
        assert (done.out, done.err.count("\n")) == ("", 1)
        assert done.err.endswith(".\n")
        return done.err.removeprefix("error: ")

    return run


def write_stage(run, name, tables):
    stage = StageFolder(stage_path(run, name)).open({"stage": name})
    stage.write_part(0, tables)
    stage.finish()


def pair(task_id, split, number=0, kind="correctness", chosen=LOOP, rejected=WRONG, probability=0.7):
    return Pair(
        f"{task_id}/{kind}/{number}", task_id, kind, PROMPT, chosen, rejected, "s0", "s1", 1.0, 0.0, *[0.0] * 4,
        split, probability=probability,
    )  # fmt: skip


@pytest.fixture
def run(tmp_path):
    """Return a run of two tasks, each with one pair and two tests, and one that was trained and evaluated."""
    folder = tmp_path / "somewhere" / "tiny"
    names = ("t1", "t2")
    tests = (("total([1, 2])", "3"), ("total([])", "0"))
    write_stage(
        folder, "tasks", {Task: [Task(name, "", [], PROMPT, "def total(values):", "total") for name in names]}
    )
    write_stage(
        folder,
        "candidates",
        {
            Test: [
                Test(f"{name}/a{number}", name, "", f"assert {call} == {value}", call, value)
                for name in names
                for number, (call, value) in enumerate(tests)
            ]
        },
    )
    pairs = [
        pair("t1", "train"),
        pair("t2", "validation", probability=0.3),
        pair("t1", "train", 1, "efficiency"),
    ]
    write_stage(folder, "pairs", {Pair: pairs})
    write_stage(folder, "training", {TrainingStep: [TrainingStep(1, 0.5, "train", "loss", 0.25)]})
    samples = [
        Sample(
            f"{model}/humaneval/HumanEval/0/0", model, "humaneval", "HumanEval/0", 0, "", "", "stop", 9, code, outcome,
            "", 7, "",
        )
        for model, code, outcome in (
            ("before", "def f():\n    return [x for x in ()]\n", "failed"),
            ("after", "", "not_loaded"),
        )
    ]  # fmt: skip
    write_stage(folder, "evaluation", {Sample: samples, Metric: []})
    config = Config(name="tiny", resources={"workers": 1})
    (folder / "config.resolved.json").write_text(config.model_dump_json())
    (folder / "run.json").write_text("{}")
    return folder
