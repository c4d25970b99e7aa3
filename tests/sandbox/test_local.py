"""The local sandbox as a caller sees it: refusals, limits, and what its options do."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from codedpo.core.config import ResourcesConfig, SandboxConfig
from codedpo.core.errors import BackendError
from codedpo.core.records import Oracle, Outcome
from codedpo.sandbox import local
from codedpo.sandbox.base import Check, Job, Limits, Matrix
from codedpo.sandbox.local import ALL_LAYERS, LocalSandbox
from codedpo.sandbox.worker import start

DOUBLE = "def f(x):\n    return 2 * x\n"
CHECK = Check("assert f(2) == 4", "f(2)", "4")


def outcomes(matrix: Matrix) -> list[list[str]]:
    return [[cell.outcome.value for cell in row] for row in matrix.cells]


def run_one(sandbox: LocalSandbox, solution: str, checks: tuple[Check, ...], limits: Limits) -> list[str]:
    (matrix,) = sandbox.run([Job("one", (solution,), checks, limits)])
    return outcomes(matrix)[0]


@pytest.mark.parametrize(
    ("layers", "level"),
    [(("namespaces", "landlock"), 1), (("seccomp",), 1), ((), 0), (("landlock", "seccomp"), 2)],
)
def test_the_level_is_what_holds(layers: tuple[str, ...], level: int) -> None:
    with LocalSandbox(workers=1, minimum_level=0, layers=layers) as sandbox:
        isolation = sandbox.probe()
        assert isolation.level == level
        assert isolation.layers == ("limits", *layers)
        (matrix,) = sandbox.run([Job("weak", (DOUBLE,), (CHECK,))])
        assert matrix.isolation_level == level
        assert outcomes(matrix) == [["passed"]]


def test_a_level_below_the_minimum_is_refused() -> None:
    sandbox = LocalSandbox(workers=1, layers=("seccomp",))
    with pytest.raises(BackendError, match="reaches isolation level 1 on this machine and 2 is required"):
        sandbox.probe()
    with pytest.raises(BackendError, match="level 1"):
        list(sandbox.run([Job("refused", (DOUBLE,), (CHECK,))]))


def test_no_row_claims_more_isolation_than_the_weakest_worker_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the kernel has no further user namespace to give when one of them starts."""
    layers = [("landlock", "seccomp"), ALL_LAYERS, ALL_LAYERS]
    monkeypatch.setattr(local, "start", lambda _, *rest: start(layers.pop(0), *rest))
    waits = "import time\ndef f(x):\n    time.sleep(0.1)\n    return 2 * x"
    with LocalSandbox(workers=2, child_per="solution") as sandbox:
        assert sandbox.probe().level == 2
        levels = {matrix.isolation_level for matrix in sandbox.run([Job("a", (waits,), (CHECK,))] * 8)}
    assert len(layers) == 1
    assert levels == {2}


def test_the_identity_names_what_can_change_a_verdict() -> None:
    plain = LocalSandbox().identity
    assert f"{sys.version_info.major}.{sys.version_info.minor}" in plain
    assert plain != LocalSandbox(preload=["math"]).identity
    assert plain != LocalSandbox(child_per="test").identity


def test_a_missing_preload_is_named_and_a_refused_import_too() -> None:
    with LocalSandbox(workers=1, preload=["math", "no_such_module"]) as sandbox:
        assert "no_such_module" in sandbox.probe().problems[0]
        (matrix,) = sandbox.run([Job("import", ("import statistics",), (CHECK,))])
    cell = matrix.cells[0][0]
    assert (cell.outcome, cell.error_type) == (Outcome.NOT_LOADED, "ImportRefused: statistics")


def test_nothing_to_run_gives_nothing(level_3: LocalSandbox) -> None:
    assert list(level_3.run([])) == []
    for job in (Job("no solution", (), (CHECK,)), Job("no test", (DOUBLE, DOUBLE), ())):
        (matrix,) = level_3.run([job])
        assert [len(row) for row in matrix.cells] == [len(job.checks)] * len(job.solutions)


def test_an_expectation_that_is_no_literal_runs_beside_the_solution(level_3: LocalSandbox) -> None:
    check = Check("assert f(2) == f(1) * 2", "f(2)", "f(1) * 2")
    (matrix,) = level_3.run([Job("form", (DOUBLE,), (check,))])
    assert (matrix.cells[0][0].outcome, matrix.cells[0][0].oracle) == (Outcome.PASSED, Oracle.IN_PROCESS)


def test_a_reference_gives_the_expectations(level_3: LocalSandbox) -> None:
    checks = (Check(call="f(1.0)", tolerance=1e-6), Check(call="f('a')"), Check(call="f(None)"))
    solutions = (DOUBLE, "def f(x):\n    return x * 2.0000000001 if x == 1 else 'b'")
    (matrix,) = level_3.run([Job("reference", solutions, checks, reference=DOUBLE)])
    assert outcomes(matrix) == [["passed", "passed", "error"], ["passed", "failed", "failed"]]


@pytest.mark.parametrize(
    ("tight", "loose", "source"),
    [
        (Limits(cpu_seconds=0.05), Limits(cpu_seconds=5), "def f(x):\n    sum(range(10**7))\n    return 4"),
        (Limits(memory_mib=32), Limits(memory_mib=512), "def f(x):\n    return len(bytearray(2**26)) and 4"),
        # More than the processes beside the child may use themselves.
        (Limits(memory_mib=32), Limits(memory_mib=4096), "def f(x):\n    return len(bytearray(2**26)) and 4"),
        (Limits(output_kib=16), Limits(output_kib=8192), "def f(x):\n    return 'a' * (2 << 20)"),
        (
            Limits(cpu_seconds=0.1, wall_factor=1),
            Limits(cpu_seconds=0.1, wall_factor=30),
            "import time\ndef f(x):\n    time.sleep(0.6)\n    return 4",
        ),
        (
            Limits(threads=2),
            Limits(threads=12),
            "import threading, time\ndef f(x):\n    ts = [threading.Thread(target=time.sleep, args=(0.1,)) for _ in"
            " range(8)]\n    [t.start() for t in ts]\n    [t.join() for t in ts]\n    return 4",
        ),
    ],
    ids=["cpu", "memory", "large memory", "output", "wall", "threads"],
)
def test_a_limit_is_felt(sandbox: LocalSandbox, tight: Limits, loose: Limits, source: str) -> None:
    value = "'a' * (2 << 20)" if "'a'" in source else "4"
    check = (Check("", "f(2)", value if "'a'" not in source else repr("a" * (2 << 20))),)
    assert run_one(sandbox, source, check, tight) != ["passed"]
    assert run_one(sandbox, source, check, loose) == ["passed"]


def test_output_of_a_program_is_limited(sandbox: LocalSandbox) -> None:
    checks = (Check(stdin="", expected="x" * 100_000),)
    source = "print('x' * 100_000)"
    assert run_one(sandbox, source, checks, Limits(output_kib=64)) != ["passed"]
    assert run_one(sandbox, source, checks, Limits(output_kib=256)) == ["passed"]


def test_after_so_many_time_outs_the_rest_is_not_run(level_3: LocalSandbox) -> None:
    source = "def f(x):\n    while True:\n        pass"
    for most in (1, 3):
        limits = Limits(cpu_seconds=0.05, timeouts_per_solution=most)
        for solutions in ((source,), (source, DOUBLE)):
            (matrix,) = level_3.run([Job("loops", solutions, (CHECK,) * 4, limits)])
            assert outcomes(matrix)[0] == ["timeout"] * most + ["not_run"] * (4 - most)


def test_peak_memory_is_reported(level_3: LocalSandbox) -> None:
    source = "import sys\ndef f(x):\n    return len(bytearray(b'a') * (64 << 20)) and 4"
    (matrix,) = level_3.run([Job("peak", (source, DOUBLE), (CHECK,))])
    assert matrix.cells[0][0].peak_kib > 60_000 > matrix.cells[1][0].peak_kib > 1000


def test_random_and_hashes_repeat_themselves(level_3: LocalSandbox) -> None:
    source = "import random\ndef f(x):\n    return [random.random(), hash('a'), str({'a', 'b', 'c'})]"
    clock = "import time\ndef f(x):\n    return [time.tzname, time.localtime(0).tm_hour]"
    digests = set()
    for _ in range(2):
        with LocalSandbox(workers=1) as fresh:
            (matrix,) = fresh.run([Job("random", (source, source, clock), (Check(call="f(1)"),) * 2)])
        digests.add(tuple(cell.value_digest for row in matrix.cells for cell in row))
    ((a, b, c, d, *_),) = digests
    assert a == b == c == d


def test_programs_read_and_write(sandbox: LocalSandbox) -> None:
    checks = (
        Check(stdin="3\n1 2 3\n", expected="6\n"),
        Check(stdin="1\n5", expected="5.0"),
        Check(stdin="", expected=""),
    )
    sources = {
        "n = input()\nprint(sum(map(int, input().split())))": ["passed", "passed", "error"],
        "import sys\nn, *a = sys.stdin.read().split() or [0]\nprint(sum(map(int, a)) if n else '')\nsys.exit(0)": (
            ["passed"] * 3
        ),
        "import os, io\nos.read(0, os.fstat(0).st_size + 1)\nos.write(1, b'6 \\n\\n')\nos._exit(0)": [
            "passed",
            "failed",
            "failed",
        ],
        "import sys\nfor line in open(0):\n    pass\nprint(line if line else '')": [
            "failed",
            "passed",
            "error",
        ],
        "import threading\nthreading.Thread(target=lambda: print(sum(map(int, open(0).read().split()[1:])))).start()": [
            "passed",
            "passed",
            "failed",
        ],
        "print(6)\nexit()": ["passed", "failed", "failed"],
        "print(6)\nquit(0)": ["passed", "failed", "failed"],
        "print(6)\nexit(1)": ["error"] * 3,
        "import atexit\nlines = ['6']\natexit.register(lambda: print(*lines))": [
            "passed",
            "failed",
            "failed",
        ],
        "import sys\nsys.__stdout__.write(sys.__stdin__.read()[:0] + '6')": ["passed", "failed", "failed"],
        "import sys\nprint(6)\nsys.stdout.close()": ["passed", "failed", "failed"],
        "raise SystemExit(1)": ["error"] * 3,
        "print(": ["error"] * 3,
        "import os, signal\nprint(6, flush=True)\nos.abort()": ["crashed"] * 3,
    }
    (matrix,) = sandbox.run([Job("programs", tuple(sources), checks)])
    assert dict(zip(sources, outcomes(matrix), strict=True)) == sources


def test_few_open_files_are_enough() -> None:
    code = (
        "from codedpo.sandbox.local import LocalSandbox\n"
        "with LocalSandbox(1, 0) as sandbox: print(sandbox.probe().level)"
    )
    command = f"ulimit -n 256; exec {sys.executable} -c '{code}'"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 0


def test_another_system_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.delattr(os, "sched_getaffinity")
    with pytest.raises(BackendError, match="needs Linux; .*inside a Linux container"):
        LocalSandbox().probe()


@pytest.mark.parametrize(("child_per", "seen"), [("group", 2), ("solution", 2), ("test", 1)])
def test_the_config_says_what_shares_a_child(child_per: str, seen: int) -> None:
    counter = "calls = []\ndef f():\n    calls.append(1)\n    return len(calls)"
    checks = (Check("", "f()", "1"), Check("", "f()", "1"))
    section = SandboxConfig(child_per=child_per)
    with LocalSandbox.from_config(section, ResourcesConfig(workers=1)) as sandbox:
        assert f"child per {child_per} " in sandbox.identity
        (matrix,) = sandbox.run([Job("one", (counter, counter), checks)])
    wanted = "passed" if seen == 1 else "failed"
    assert outcomes(matrix) == [["passed", wanted]] * 2


def test_modules_of_the_config_can_be_imported_and_absent_ones_are_named() -> None:
    section = SandboxConfig(modules=("numpy", "no_such_module"))
    job = Job(
        "m", ("import numpy\ndef f(): return int(numpy.arange(4).sum())",), (Check(call="f()", expected="6"),)
    )
    with LocalSandbox.from_config(section, ResourcesConfig(workers=1)) as sandbox:
        (matrix,) = sandbox.run([job])
        assert matrix.cells[0][0].outcome is Outcome.PASSED
        assert sandbox.probe().missing_modules == ("no_such_module",)
    with LocalSandbox.from_config(SandboxConfig(), ResourcesConfig(workers=1)) as sandbox:
        (matrix,) = sandbox.run([job])
        assert matrix.cells[0][0].error_type == "ImportRefused: numpy"


@pytest.mark.parametrize("name", ["pyarrow", "torch"])
def test_libraries_that_would_start_threads_cost_no_namespaces(name: str) -> None:
    """Their threads are switched off in the environment of the helper that loads them."""
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"needs {name}")
    with LocalSandbox(workers=1, preload=(name,)) as sandbox:
        isolation = sandbox.probe()
    assert isolation.missing_modules == ()
    assert isolation.level == 3


def test_a_module_that_starts_threads_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process with threads can enter no user namespace."""
    folder = tmp_path / "some-packages"
    folder.mkdir()
    (folder / "threaded.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
    )
    monkeypatch.syspath_prepend(folder)
    with LocalSandbox(workers=1, preload=("threaded",)) as sandbox:
        isolation = sandbox.probe()
    assert isolation.level == 2
    assert any("a preloaded module has started threads" in problem for problem in isolation.problems)
