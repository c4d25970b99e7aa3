"""The stage in the sandbox that the config describes: programs that meet each limit, and one from elsewhere."""

import gc
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pytest

from codedpo.context import StageContext
from codedpo.core.config import Config
from codedpo.core.errors import BackendError
from codedpo.core.progress import Voice
from codedpo.core.records import Execution, Reject, Solution, Task, Test
from codedpo.core.stage import StageFolder
from codedpo.core.tables import read_rows, write_rows
from codedpo.executions.stage import run
from codedpo.sandbox.base import Check, Job, Matrix
from codedpo.sandbox.local import LocalSandbox
from codedpo.services import Services

DOUBLE = "def f(x):\n    return 2 * x"
SLOW = "def f(x):\n    sum(range(10**7))\n    return 2 * x"
LARGE = "def f(x):\n    return len(bytearray(2**26)) and 2 * x"
LOOP = "def f(x):\n    while True:\n        pass"


class Weak(LocalSandbox):
    """Somebody's own sandbox, which reaches isolation level 1 only."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options, layers=("seccomp",))


def tables_of(folder: Path, solutions: list[str], tests: int, tasks: int) -> dict[type, list[Path]]:
    ids = [f"t{number:06d}" for number in range(tasks)]
    rows: dict[type, list[Any]] = {
        Task: [Task(task, "s000000", [], "Double x.", "def f(x):", "f") for task in ids],
        Solution: [
            Solution(f"{task}/s{number:02d}", task, "x", code)
            for task in ids
            for number, code in enumerate(solutions)
        ],
        Test: [
            Test(f"{task}/a{number:02d}", task, "x", f"assert f({number}) == {2 * number}",
                 f"f({number})", str(2 * number))
            for task in ids
            for number in range(tests)
        ],
    }  # fmt: skip
    paths = {row_type: [folder / f"{row_type.__name__}.parquet"] for row_type in rows}
    for row_type, items in rows.items():
        write_rows(paths[row_type][0], row_type, items)
    return paths


def stage_of(
    folder: Path, solutions: list[str], tests: int = 1, tasks: int = 1, **sections: Any
) -> StageFolder:
    config = Config.model_validate({"name": "test", **sections})
    inputs = tables_of(folder, solutions, tests, tasks)
    stage = StageFolder(folder / "4-executions").open({"stage": "executions"})
    voice = Voice(quiet=True)
    services = Services(config, folder, voice)
    try:
        run(StageContext("executions", config, stage, inputs, {}, services, voice))
    finally:
        services.close()
    return stage


def outcomes(stage: StageFolder) -> list[str]:
    return [row.outcome for row in read_rows(stage.parts_of(Execution), Execution)]


def test_every_cell_is_a_row_and_equal_programs_share_a_run(tmp_path: Path) -> None:
    stage = stage_of(tmp_path, [DOUBLE, "def f(x):\n    return x", DOUBLE], tests=2)
    assert outcomes(stage) == ["passed", "passed", "passed", "failed", "passed", "passed"]
    assert stage.finish().counters["programs_run"] == 2


def test_a_task_without_tests_is_a_reject(tmp_path: Path) -> None:
    stage = stage_of(tmp_path, [DOUBLE], tests=0)
    (reject,) = read_rows(stage.parts_of(Reject), Reject)
    assert (reject.row_id, reject.reason) == ("t000000", "no_tests")


@pytest.mark.parametrize(
    ("key", "tight", "loose", "solution"),
    [("cpu_seconds", 0.05, 5.0, SLOW), ("memory_mib", 32, 512, LARGE)],
)
def test_a_limit_of_the_config_is_felt(
    tmp_path: Path, key: str, tight: float, loose: float, solution: str
) -> None:
    (refused,) = outcomes(stage_of(tmp_path / "tight", [solution], sandbox={key: tight}))
    assert refused != "passed"
    assert outcomes(stage_of(tmp_path / "loose", [solution], sandbox={key: loose})) == ["passed"]


@pytest.mark.parametrize("most", [1, 3])
def test_after_so_many_time_outs_the_rest_is_not_run(tmp_path: Path, most: int) -> None:
    stage = stage_of(tmp_path, [LOOP], 4, sandbox={"cpu_seconds": 0.05, "timeouts_per_solution": most})
    assert outcomes(stage) == ["timeout"] * most + ["not_run"] * (4 - most)


def test_a_sandbox_from_elsewhere_runs_where_its_level_is_accepted(tmp_path: Path) -> None:
    section = {"kind": "plugin", "path": f"{__name__}:Weak"}
    weak = stage_of(tmp_path / "weak", [DOUBLE], sandbox=section | {"minimum_level": 1})
    assert [row.isolation_level for row in read_rows(weak.parts_of(Execution), Execution)] == [1]
    with pytest.raises(BackendError, match="isolation level 1 on this machine and 2 is required"):
        stage_of(tmp_path / "strong", [DOUBLE], sandbox=section | {"minimum_level": 2})


class OneByOne(LocalSandbox):
    """Reads no job ahead, and counts the solutions that are held when it reads one."""

    held: ClassVar[list[int]] = []

    def run(self, jobs: Iterable[Job]) -> Iterator[Matrix]:
        for number, job in enumerate(jobs):
            if number % 20 == 0:
                self.held.append(sum(type(one) is Solution for one in gc.get_objects()))
            yield from super().run([job])


def test_solutions_of_finished_parts_are_let_go(tmp_path: Path) -> None:
    section = {"kind": "plugin", "path": f"{__name__}:OneByOne"}
    stage = stage_of(tmp_path, [DOUBLE], tasks=200, shard_size=4, sandbox=section)
    assert outcomes(stage) == ["passed"] * 200
    assert len(OneByOne.held) == 10
    assert max(OneByOne.held) < 150


@pytest.mark.parametrize("workers", [1, 3])
def test_so_many_workers_are_started(tmp_path: Path, workers: int) -> None:
    config = Config.model_validate({"name": "test", "resources": {"workers": workers}})
    services = Services(config, tmp_path, Voice(quiet=True))
    before = oracles()
    try:
        jobs = [Job(str(number), (DOUBLE,) * 20, (Check("", "f(1)", "2"),)) for number in range(6)]
        assert len(list(services.sandbox.run(jobs))) == 6
        assert len(oracles() - before) == workers
    finally:
        services.close()


def oracles() -> set[int]:
    """Return the processes below this one that judge programs, one a worker."""
    processes = psutil.Process(os.getpid()).children(recursive=True)
    return {process.pid for process in processes if "codedpo.sandbox.oracle" in " ".join(process.cmdline())}
