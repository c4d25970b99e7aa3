"""The command line as a person or a program meets it: a real process, its output, its exit code."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from codedpo.check import CheckResult, print_checks
from codedpo.cli import STAGE_WORDS
from codedpo.stages import STAGE_NAMES

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))


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


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_dry_run_of_every_shipped_config_does_nothing(path: Path, tmp_path: Path) -> None:
    done = codedpo("run", path, f"runs_folder={tmp_path}", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["total"]["executions"] > 1000
    assert list(tmp_path.iterdir()) == []
    assert "CPU-hours" in codedpo("run", path, f"runs_folder={tmp_path}", "--dry-run").stdout


def test_a_dry_run_ends_with_the_last_stage_asked_for() -> None:
    done = codedpo("run", "configs/quickstart.yaml", "--dry-run", "--until", "candidates", "--json")
    assert [stage["stage"] for stage in json.loads(done.stdout)["stages"]] == ["tasks", "candidates"]


CHAIN = ("tests/e2e/chain.yaml", "evaluation.benchmarks=[]")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the run ``short``, which has its first two stages."""
    folder = tmp_path_factory.mktemp("runs")
    done = codedpo("run", *CHAIN, f"runs_folder={folder}", "name=short", "--until", "tasks")
    assert done.returncode == 0, done.stderr
    return folder


def again(runs: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``short`` again."""
    done = codedpo("run", *CHAIN, f"runs_folder={runs}", "name=short", "--until", "tasks", *arguments)
    assert done.returncode == 0, done.stderr
    return done


def test_a_run_is_where_its_config_says_and_ends_with_the_last_stage_asked_for(runs: Path) -> None:
    assert [path.name for path in runs.iterdir()] == ["short"]
    assert sorted(path.name for path in (runs / "short").glob("[1-9]-*")) == ["1-seeds", "2-tasks"]
    assert json.loads((runs / "short" / "config.resolved.json").read_text())["name"] == "short"


def test_a_stage_that_is_redone_is_made_anew_and_those_before_are_not(runs: Path) -> None:
    stages = [runs / "short" / name / "stage.json" for name in ("1-seeds", "2-tasks")]
    before = [path.stat().st_mtime_ns for path in stages]
    done = again(runs, "--redo", "tasks")
    assert [line.strip() for line in done.stderr.splitlines() if "(done before)" in line] == [
        "seeds: 12 seeds; 14 rejected (done before)"
    ]
    after = [path.stat().st_mtime_ns for path in stages]
    assert after[0] == before[0]
    assert after[1] > before[1]


def test_logs_for_a_program_are_json_lines_of_plain_text(runs: Path) -> None:
    done = again(runs, "--redo", "tasks", "--json-logs")
    logged = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(line["event"], line["stage"]) for line in logged if "stage" in line] == [
        ("stage_reused", "seeds"),
        ("stage_started", "tasks"),
        ("stage_finished", "tasks"),
    ]
    assert [line["text"] for line in logged if line["event"] == "stage_started"] == ["tasks"]


def test_a_quiet_run_prints_its_summary_only(runs: Path) -> None:
    assert "seeds" in again(runs).stderr
    for flag in ("--quiet", "-q"):
        done = again(runs, flag)
        assert done.stderr == ""
        assert "12 tasks" in done.stdout


def test_what_is_printed_for_a_program_is_json(runs: Path, tmp_path: Path) -> None:
    run = runs / "short"
    stages = [stage["stage"] for stage in json.loads(again(runs, "--json").stdout)["stages"]]
    assert stages == [stage["stage"] for stage in json.loads(codedpo("show", run, "--json").stdout)["stages"]]
    assert json.loads(codedpo("show", run, "tasks", "--json").stdout)["rows"]["tasks"] == 12
    assert json.loads(codedpo("trace", run, "t000000", "--json").stdout)["task"]["task_id"] == "t000000"
    config = tmp_path / "chain.yaml"
    config.write_text(codedpo("config", *CHAIN).stdout)
    done = codedpo("check", config, "--json")
    found = {check["name"]: check["ok"] for check in json.loads(done.stdout)}
    assert found.keys() == {"settings", "sandbox", "model", "rankings", "training", "evaluation", "disk"}
    assert done.returncode == (0 if all(found.values()) else 4)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["data_only=true"], ["settings", "sandbox", "model", "rankings", "disk"]),
        (["--until", "pairs"], ["settings", "sandbox", "model", "rankings", "disk"]),
        (["--until", "candidates"], ["settings", "model", "disk"]),
        (["--until", "seeds"], ["settings", "disk"]),
    ],
)
def test_only_what_the_stages_need_is_checked(arguments: list[str], names: list[str]) -> None:
    done = codedpo("check", *CHAIN, "training.model=no_such_model", *arguments, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [check["name"] for check in json.loads(done.stdout)] == names


def test_what_is_checked_and_missing_is_exit_code_4() -> None:
    done = codedpo("check", *CHAIN, "training.model=no_such_model")
    assert done.returncode == 4
    assert "no_such_model" in done.stdout


def test_list_names_every_extension_point() -> None:
    points = json.loads(codedpo("list", "--json").stdout)
    assert set(points) == {"generator", "sandbox", "ranking strategy", "benchmark"}
    assert "self_validation" in points["ranking strategy"]
    lines = [line.split() for line in codedpo("list", COLUMNS="40").stdout.splitlines()]
    for kinds in points.values():
        for kind, target in kinds.items():
            assert any(line[-2:] == [kind, target] for line in lines)


def test_on_a_narrow_terminal_names_are_folded_and_not_cut() -> None:
    shown = codedpo("list", COLUMNS="80", FORCE_COLOR="1", TERM="xterm").stdout
    assert "agreement_times_self_validation" in shown
    assert "\N{HORIZONTAL ELLIPSIS}" not in shown


def test_what_a_check_has_found_is_printed_as_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    found = "pip install 'codedpo[train]' in /a/[bold]/b"
    print_checks([CheckResult("training", ok=False, found=found)])
    assert found in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["run", "configs/none.yaml"], 2, "the config configs/none.yaml cannot be read"),
        (
            ["run", "configs/quickstart.yaml", "seeds.sources=[]", "--until", "nothing"],
            2,
            "there is no stage nothing",
        ),
        (
            ["run", "configs/quickstart.yaml", "base_run=runs/none"],
            2,
            "base_run runs/none is not a run folder",
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


def test_a_folder_that_cannot_be_made_and_a_full_disk_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = codedpo("run", *CHAIN, f"runs_folder={tmp_path / 'file'}", "--until", "seeds")
    assert done.returncode == 1
    assert done.stderr == (
        f"error: {tmp_path / 'file' / 'chain'} cannot be read or written (Not a directory); "
        "mend the path or its permissions.\n"
    )
    command = [sys.executable, "-m", "codedpo", "run", *CHAIN, f"runs_folder={tmp_path}", "--until", "seeds"]
    limited = f"ulimit -f 0; exec {shlex.join(command)}"  # no file may have a byte
    done = subprocess.run(["bash", "-c", limited], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "error: a file of the run finds no room (File too large); free its disk and run again.\n"
    )


def test_wrong_arguments_are_a_usage_error() -> None:
    assert codedpo("run").returncode == 2
    assert codedpo("nothing").returncode == 2


def test_the_stages_that_help_names_are_those_there_are() -> None:
    assert STAGE_WORDS.split(", ") == list(STAGE_NAMES)


def test_version() -> None:
    assert codedpo("--version").stdout.startswith("codedpo 0.")
