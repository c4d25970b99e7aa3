"""``codedpo exec`` as a person meets it: a real process on published data."""

import functools
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from codedpo.cli import app
from codedpo.core import progress
from codedpo.core.records import Execution
from codedpo.core.tables import read_rows
from codedpo.rankings.files import read_matrices

COMMAND = [sys.executable, "-W", "error", "-m", "codedpo", "exec"]
TASKS = 20


def execute(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, env=os.environ, check=False
    )


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def humaneval(data_folder: Path) -> list[dict[str, Any]]:
    with gzip.open(data_folder / "humaneval" / "HumanEval.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def solutions(humaneval: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published solution of some tasks, and one that does nothing, as evalplus writes them."""
    rows = [
        {"task_id": row["task_id"], "solution": row["prompt"] + body}
        for row in humaneval[:TASKS]
        for body in (row["canonical_solution"], "    return None\n")
    ]
    return write(tmp_path_factory.mktemp("exec") / "solutions.jsonl", rows)


def test_published_solutions_pass_the_published_tests(
    data_folder: Path, solutions: Path, tmp_path: Path
) -> None:
    """The tests' file is HumanEval's own, gzipped, as it was published."""
    out = tmp_path / "matrix.parquet"
    tests = data_folder / "humaneval" / "HumanEval.jsonl.gz"
    done = execute(solutions, tests, "--output", out, "--cpu-seconds", "3", "--workers", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{2 * TASKS} solutions of {TASKS} tasks" in done.stdout
    assert f"{164 - TASKS} tasks have tests and no solution" in done.stdout
    rows = read_rows([out], Execution)
    assert [row.outcome == "passed" for row in rows] == [True, False] * TASKS
    assert {row.oracle for row in rows} == {"in_process"}
    assert (
        f"{2 * TASKS} of {2 * TASKS} cells were judged beside the solution, which could forge" in done.stdout
    )
    assert min(row.isolation_level for row in rows) >= 2
    assert all(row.cpu_ns > 0 for row in rows)


@pytest.fixture(scope="module")
def codet(
    data_folder: Path, humaneval: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """CodeT's samples of three tasks: ten completions a task, and single assertions that CodeGen wrote."""
    heads = {row["task_id"]: row["prompt"] for row in humaneval}
    folder = tmp_path_factory.mktemp("codet")
    paths = []
    for kind in ("code_solutions", "test_cases"):
        name = f"HumanEval_codegen16B_temp0.8_{kind}_even_tasks.jsonl.gz"
        with gzip.open(data_folder / "codet" / name, "rt") as lines:
            published = [json.loads(line) for line, _ in zip(lines, range(3), strict=False)]
        rows = []
        for row in published:
            task = row["task_id"]
            if kind == "code_solutions":
                rows += [{"task_id": task, "code": heads[task] + text} for text in row["samples"][:10]]
            else:
                claims = [f"assert {line}" for text in row["samples"] for line in text.split("\n")[:1]]
                rows += [{"task_id": task, "code": text} for text in dict.fromkeys(claims)]
        paths.append(write(folder / f"{kind}.jsonl", rows))
    return paths


def test_written_solutions_against_written_tests(codet: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "matrix.parquet"
    done = execute(*codet, "-o", out, "--cpu-seconds", "0.2", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    rows = read_rows([out], Execution)
    assert summary["cells"] == sum(summary["outcomes"].values()) == len(rows) > 500
    assert (summary["tasks"], summary["solutions"], summary["idle_tasks"]) == (3, 30, 0)
    assert {"passed", "failed", "error"} <= set(summary["outcomes"])
    assert {row.oracle for row in rows} == {"split", "in_process"}
    assert summary["in_process"] == sum(row.oracle == "in_process" for row in rows)
    assert sum(bool(row.value_digest) for row in rows) > 100
    # What comes out is what the ranking of files takes in.
    assert sum(matrix.passed.size for matrix in read_matrices(out)) == len(rows)


def test_a_second_command_with_a_cache_executes_nothing(codet: list[Path], tmp_path: Path) -> None:
    options = [
        *codet,
        "--cpu-seconds",
        "0.2",
        "--json",
        f"resources.execution_cache={tmp_path / 'cells.sqlite'}",
    ]
    first, second = (
        json.loads(execute(*options, "-o", tmp_path / f"{name}.parquet").stdout) for name in ("1", "2")
    )
    cells = first["cells"]
    assert first["counters"] == {"cells_from_cache": 0, "cells_executed": cells}
    assert second["counters"] == {"cells_from_cache": cells, "cells_executed": 0}
    assert first["sandbox"] == second["sandbox"]
    assert (tmp_path / "1.parquet").read_bytes() == (tmp_path / "2.parquet").read_bytes()


def test_the_limits_are_those_of_the_command(tmp_path: Path) -> None:
    work = "def f(n):\n    x = 0\n    while n:\n        n -= 1\n        x += n\n    return x >= 0"
    solutions = write(
        tmp_path / "s.jsonl",
        [
            {"task_id": "time", "code": work},
            {"task_id": "memory", "code": "def f(n):\n    return len(bytes(n)) == n"},
        ],
    )
    tests = write(
        tmp_path / "t.jsonl",
        [
            {"task_id": "time", "call": "f(3_000_000)", "expected": True},
            {"task_id": "memory", "call": f"f({300 << 20})", "expected": True},
        ],
    )

    def outcomes(*options: object) -> list[str]:
        done = execute(solutions, tests, "-o", tmp_path / "m.parquet", *options)
        assert done.returncode == 0, done.stderr
        return [row.outcome for row in read_rows([tmp_path / "m.parquet"], Execution)]

    assert outcomes("--cpu-seconds", 5, "--memory-mib", 1024) == ["passed", "passed"]
    assert outcomes("--cpu-seconds", 0.02, "--memory-mib", 64) == ["timeout", "memory"]
    assert outcomes("sandbox.cpu_seconds=0.02", "sandbox.memory_mib=64") == ["timeout", "memory"]


@pytest.mark.parametrize(
    ("option", "sentence"),
    [(("--minimum-level", 4), "sandbox.minimum_level is 4"), (("--workers", -1), "resources.workers is -1")],
)
def test_short_options_are_those_of_the_config(
    codet: list[Path], tmp_path: Path, option: tuple[str, int], sentence: str
) -> None:
    done = execute(*codet, "-o", tmp_path / "m.parquet", *option)
    assert done.returncode == 2
    assert sentence in done.stderr


@pytest.mark.parametrize("quiet", [False, True])
def test_progress_is_said_unless_it_is_quiet(
    quiet: bool, codet: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    arguments = ["exec", *map(str, codet), "-o", str(tmp_path / "m.parquet")]
    done = CliRunner().invoke(app, [*arguments, *(["--quiet"] if quiet else [])])
    assert done.exit_code == 0
    assert ("solutions: " in done.stderr) != quiet


def test_the_audit_finds_verdicts_that_depend_on_their_order(tmp_path: Path) -> None:
    """A published HumanEval head with bodies that remember what they were asked before."""
    head = "def add(x, y, seen=[]):\n"
    rows = [
        {"task_id": "HumanEval/53", "solution_id": "pure", "code": head + "    return x + y"},
        {
            "task_id": "HumanEval/53",
            "solution_id": "remembers",
            "code": head + "    seen.append(x)\n    return x + y if len(seen) < 3 else 0",
        },
    ]
    solutions = write(tmp_path / "s.jsonl", rows)
    calls = [(0, 1), (1, 0), (2, 3), (5, 7)]
    tests = write(
        tmp_path / "t.jsonl",
        [{"task_id": "HumanEval/53", "code": f"assert add({x}, {y}) == {x + y}"} for x, y in calls],
    )
    done = execute(solutions, tests, "-o", tmp_path / "m.parquet", "--audit", 5, "--json")
    audit = json.loads(done.stdout)["audit"]
    assert (audit["solutions"], audit["cells"]) == (2, 8)
    found = [(one["solution_id"], one["test_id"], one["fresh"][:6]) for one in audit["findings"]]
    assert found == [("remembers", f"HumanEval/53/a0{n}", "passed") for n in (2, 3)]
    text = execute(solutions, tests, "-o", tmp_path / "m.parquet", "--audit", 2, "-q").stdout
    assert "audit: 2 solutions again, a process a test: 2 of 8 cells depend on what ran before" in text
    assert "remembers on HumanEval/53/a02: failed" in text
    one = json.loads(execute(solutions, tests, "-o", tmp_path / "m.parquet", "--audit", 1, "--json").stdout)[
        "audit"
    ]
    assert (one["solutions"], one["cells"]) == (1, 4)
    assert (
        json.loads(execute(solutions, tests, "-o", tmp_path / "m.parquet", "--json").stdout)["audit"] is None
    )


def test_real_samples_do_not_depend_on_their_order(codet: list[Path], tmp_path: Path) -> None:
    done = execute(*codet, "-o", tmp_path / "m.parquet", "--cpu-seconds", "0.5", "--audit", 6, "--json")
    audit = json.loads(done.stdout)["audit"]
    assert audit["solutions"] == 6
    assert audit["cells"] > 50
    assert audit["findings"] == []


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap: install the package bubblewrap")
def test_the_launcher_is_chosen_on_the_command_line(codet: list[Path], tmp_path: Path) -> None:
    options = ["--cpu-seconds", "0.5", "--json"]
    execute(*codet, "-o", tmp_path / "1.parquet", *options)
    wrapped = execute(*codet, "-o", tmp_path / "2.parquet", *options, "sandbox.launcher.kind=bubblewrap")
    if wrapped.returncode == 4:
        pytest.skip(f"bubblewrap does not start on this kernel: {wrapped.stderr}")
    assert json.loads(wrapped.stdout)["sandbox"].startswith("bubblewrap")
    rows = [read_rows([tmp_path / f"{name}.parquet"], Execution) for name in ("1", "2")]
    assert [row.outcome for row in rows[0]] == [row.outcome for row in rows[1]]


def test_modules_are_preloaded_by_config_and_a_refused_import_is_named(tmp_path: Path) -> None:
    """Numpy, whose threads would keep a process out of user namespaces, at the level that is reached without it."""
    code = "import numpy as np\ndef f(n):\n    return int(np.linalg.inv(np.eye(n)).sum())"
    solutions = write(
        tmp_path / "s.jsonl", [{"task_id": "a", "code": code}, {"task_id": "a", "code": "import nowhere"}]
    )
    tests = write(tmp_path / "t.jsonl", [{"task_id": "a", "code": "assert f(90) == 90"}])
    options = [solutions, tests, "-o", tmp_path / "m.parquet", "--json"]
    plain = json.loads(execute(*options).stdout)
    preloaded = json.loads(execute(*options, "sandbox.modules=[numpy, no_such_module]").stdout)
    assert plain["refused_imports"] == {"numpy": 1, "nowhere": 1}
    assert preloaded["refused_imports"] == {"nowhere": 1}
    assert preloaded["outcomes"] == {"passed": 1, "not_loaded": 1}
    assert preloaded["isolation_level"] == plain["isolation_level"]
    assert any("no_such_module" in problem for problem in preloaded["problems"])
    text = execute(*options[:-1]).stdout
    assert "import refused: numpy in 1 solutions; if it is installed, add it to sandbox.modules" in text


WEAK = """
from codedpo.sandbox.local import LocalSandbox


class Weak(LocalSandbox):
    @classmethod
    def from_config(cls, section, resources):
        return cls(1, section.minimum_level, layers=("seccomp",))
"""


def test_weak_isolation_is_taken_on_request_only_and_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel without Landlock and namespaces, as far as the sandbox is told."""
    (tmp_path / "weak.py").write_text(WEAK)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    rows = write(tmp_path / "rows.jsonl", [{"task_id": n, "code": "assert 1 == 1"} for n in range(100)])
    options = [rows, rows, "-o", tmp_path / "m.parquet", "sandbox.kind=plugin", "sandbox.path=weak:Weak"]
    refused = execute(*options)
    assert refused.returncode == 4
    assert "reaches isolation level 1 on this machine and 2 is required" in refused.stderr
    taken = execute(*options, "--minimum-level", 1)
    assert taken.returncode == 0
    assert taken.stderr.count("weak isolation: level 1, as sandbox.minimum_level=1 allows") == 1
    assert {row.isolation_level for row in read_rows([tmp_path / "m.parquet"], Execution)} == {1}
    assert execute(rows, rows, "-o", tmp_path / "m.parquet", "--minimum-level", 1).stderr == ""


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("absent.jsonl",), 2, "absent.jsonl cannot be read"),
        (("torn.jsonl",), 2, "Line 2 of torn.jsonl is not JSON"),
        (("lacking.jsonl",), 2, "Line 1 of lacking.jsonl has no text 'code' or 'solution'"),
        (("other.jsonl",), 2, "The task b of other.jsonl has no test in tests.jsonl"),
        (("good.jsonl", "--minimum-level", "4"), 2, "sandbox.minimum_level is 4"),
        (("good.jsonl", "--cpu-seconds", "0"), 2, "the command line: sandbox.cpu_seconds is 0"),
        (("good.jsonl", "sandbox.memory=1"), 2, "there is no option sandbox.memory"),
        (
            ("good.jsonl", "pairs.kinds=[]"),
            2,
            "codedpo exec has no use for pairs.kinds; it takes sandbox.KEY",
        ),
        (("good.jsonl", "-o", "m.csv"), 2, "m.csv does not end in .parquet"),
        (("good.jsonl", "-o", "absent/m.parquet"), 2, "the folder absent of m.parquet does not exist"),
        (("good.jsonl", "sandbox.kind=plane"), 2, "there is no sandbox of kind plane"),
        (("good.jsonl", "sandbox.launcher.kind=ssh"), 2, "the launcher ssh needs host"),
    ],
)
def test_bad_input_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("good.jsonl"), [{"task_id": "a", "code": "x = 1"}])
    write(Path("other.jsonl"), [{"task_id": "b", "code": "x = 1"}])
    write(Path("lacking.jsonl"), [{"task_id": "a"}])
    Path("torn.jsonl").write_text('{"task_id": "a", "code": "x"}\n{"task_id": "a", "co')
    write(Path("tests.jsonl"), [{"task_id": "a", "code": "assert x"}])
    done = execute(arguments[0], "tests.jsonl", "-o", "m.parquet", *arguments[1:])
    (line,) = done.stderr.strip().splitlines()
    assert (done.returncode, done.stdout) == (code, "")
    assert line.startswith("error: ")
    assert sentence in line
    assert not [path for path in Path().iterdir() if path.suffix != ".jsonl"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_behind_when_it_is_stopped(tmp_path: Path, how: signal.Signals) -> None:
    loop = "def f(n):\n    while True:\n        n += 1"
    solutions = write(tmp_path / "s.jsonl", [{"task_id": n, "code": loop} for n in range(500)])
    tests = write(tmp_path / "t.jsonl", [{"task_id": n, "call": "f(1)", "expected": 1} for n in range(500)])
    out = tmp_path / "m.parquet"
    # A suite that runs in the background of a shell ignores Ctrl-C, and so would its children.
    listens = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    command = [*COMMAND, *map(str, (solutions, tests, "-o", out))]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, preexec_fn=listens)
    running = psutil.Process(process.pid)
    deadline = time.monotonic() + 60
    while len(family := running.children(recursive=True)) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(how)
    _, said = process.communicate()
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []
    assert not out.exists()
    if how is signal.SIGINT:
        assert process.returncode == 130
        assert b"interrupted; no matrix is written, and the same command begins again" in said
        assert {path.name for path in tmp_path.iterdir()} == {"s.jsonl", "t.jsonl"}
