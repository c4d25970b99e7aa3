"""The command line as a person or a program meets it: a real process, its output, its exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def codedpo(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "codedpo", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **environment}, check=False
    )


def test_config_prints_every_value_and_takes_overrides() -> None:
    done = codedpo("config", "configs/quickstart.yaml", "training.beta=0.2", "--json")
    values = json.loads(done.stdout)
    assert values["training"]["beta"] == 0.2
    assert values["candidates"]["solutions"] >= 1
    assert "nll_weight: " in codedpo("config", "configs/quickstart.yaml").stdout


def test_config_output_is_a_config(tmp_path: Path) -> None:
    path = tmp_path / "whole.yaml"
    path.write_text(codedpo("config", "configs/quickstart.yaml").stdout)
    assert codedpo("config", path).stdout == path.read_text()


def test_dry_run_does_nothing(tmp_path: Path) -> None:
    done = codedpo("run", "configs/quickstart.yaml", f"runs_folder={tmp_path}", "--dry-run", "--json")
    assert json.loads(done.stdout)["total"]["executions"] > 1000
    assert list(tmp_path.iterdir()) == []


def test_list_names_every_extension_point() -> None:
    points = json.loads(codedpo("list", "--json").stdout)
    assert set(points) == {"generator", "sandbox", "ranking strategy", "benchmark"}
    assert "self_validation" in points["ranking strategy"]
    assert "humaneval" in codedpo("list").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["run", "configs/none.yaml"], 2, "the config configs/none.yaml cannot be read"),
        (
            ["run", "configs/quickstart.yaml", "seeds.sources=[]", "--until", "nothing"],
            2,
            "there is no stage nothing",
        ),
        (["run", "configs/quickstart.yaml", "foo=1"], 2, "there is no option foo"),
        (["trace", "runs/none", "t000000"], 2, "is not a run folder"),
        (["show", "runs/none"], 2, "is not a run folder"),
    ],
)
def test_bad_input_gets_one_sentence_and_its_exit_code(
    arguments: list[str], code: int, sentence: str
) -> None:
    done = codedpo(*arguments)
    assert done.returncode == code
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert sentence in line
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("training.model=nonexistent", "the model 'nonexistent' is unknown"),
        ("rankings.strategy={kind: foo}", "there is no ranking strategy of kind foo"),
        ("rankings.strategy={kind: hits, options: {damping: 1}}", "was given options"),
    ],
)
def test_what_a_late_stage_lacks_is_said_before_the_first(
    override: str, sentence: str, tmp_path: Path
) -> None:
    done = codedpo("run", "configs/quickstart.yaml", f"runs_folder={tmp_path}", override)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert not list(tmp_path.glob("quickstart/1-seeds"))


def test_wrong_arguments_are_a_usage_error() -> None:
    assert codedpo("run").returncode == 2
    assert codedpo("nothing").returncode == 2


def test_version() -> None:
    assert codedpo("--version").stdout.startswith("codedpo 0.")
