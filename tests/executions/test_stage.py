"""The stage on solutions and assertions that CodeGen wrote, as CodeT published them."""

import gzip
import json
from pathlib import Path

import pytest

from codedpo.context import Part, StageContext
from codedpo.core.config import Config, ResourcesConfig, SandboxConfig
from codedpo.core.progress import Voice
from codedpo.core.records import Execution, Reject, Solution, Task, Test
from codedpo.core.stage import StageFolder, StageSummary
from codedpo.core.tables import read_rows, write_rows
from codedpo.executions.stage import run
from codedpo.pipeline import identity_of
from codedpo.sandbox.files import split_assertion
from codedpo.services import Services
from codedpo.stages import STAGES

TABLES = (Task, Solution, Test)
STAGE = next(stage for stage in STAGES if stage.name == "executions")


@pytest.fixture(scope="module")
def tables(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[type, list[Path]]:
    """Three tasks, eight programs each (some equal), the first assertion of thirty samples; a task without tests."""
    with gzip.open(data_folder / "humaneval" / "HumanEval.jsonl.gz", "rt") as lines:
        heads = {row["task_id"]: row["prompt"] for row in map(json.loads, lines)}
    rows: dict[type, list] = {
        Task: [Task("t000003", "s", [], "Nothing tests this.", "def g():", "g")],
        Solution: [Solution("t000003/s00", "t000003", "x", "def g():\n    return 1")],
        Test: [],
    }
    for kind in ("code_solutions", "test_cases"):
        path = data_folder / "codet" / f"HumanEval_codegen16B_temp0.8_{kind}_even_tasks.jsonl.gz"
        with gzip.open(path, "rt") as lines:
            published = [json.loads(line) for line, _ in zip(lines, range(3), strict=False)]
        for number, row in enumerate(published):
            task = f"t{number:06d}"
            if kind == "code_solutions":
                rows[Task].append(Task(task, "s", [], heads[row["task_id"]], "", ""))
                texts = [*row["samples"][:7], row["samples"][0]]
                codes = [heads[row["task_id"]] + text for text in texts]
                rows[Solution] += [Solution(f"{task}/s{n:02d}", task, "x", c) for n, c in enumerate(codes)]
            else:
                firsts = ["assert " + text.split("\n")[0] for text in row["samples"][:30]]
                for n, code in enumerate(dict.fromkeys(firsts)):
                    rows[Test].append(Test(f"{task}/a{n:02d}", task, "x", code, *split_assertion(code)))
    folder = tmp_path_factory.mktemp("tables")
    for row_type in TABLES:
        write_rows(folder / f"{row_type.__name__}.parquet", row_type, rows[row_type])
    return {row_type: [folder / f"{row_type.__name__}.parquet"] for row_type in TABLES}


def execute(
    tables: dict[type, list[Path]], folder: Path, cache: str = ""
) -> tuple[list[Execution], StageSummary, dict]:
    config = Config(
        name="test",
        shard_size=2,
        sandbox=SandboxConfig(cpu_seconds=0.2),
        resources=ResourcesConfig(workers=1, execution_cache=cache),
    )
    services = Services(config, folder, Voice(quiet=True))
    identity = identity_of(STAGE, config, services, {})
    stage = StageFolder(folder / "4-executions").open(identity)
    try:
        run(StageContext("executions", config, stage, tables, {}, services, Voice(quiet=True)))
    finally:
        services.close()
    assert [row.reason for row in read_rows(stage.parts_of(Reject), Reject)] == ["no_tests"]
    return read_rows(stage.parts_of(Execution), Execution), stage.finish(), identity


def verdicts(rows: list[Execution]) -> list[tuple[str, ...]]:
    return [(row.solution_id, row.test_id, row.outcome, row.value_digest, row.oracle) for row in rows]


def test_a_second_run_executes_nothing_and_no_identity_changes(
    tables: dict[type, list[Path]], tmp_path: Path
) -> None:
    cache = str(tmp_path / "cache" / "executions.sqlite")
    plain, plain_summary, identity = execute(tables, tmp_path / "plain")
    first, first_summary, first_identity = execute(tables, tmp_path / "first", cache)
    second, second_summary, second_identity = execute(tables, tmp_path / "second", cache)
    assert identity == first_identity == second_identity
    assert verdicts(plain) == verdicts(first)
    assert first == second
    assert first_summary.fingerprint == second_summary.fingerprint
    programs = {(row.task_id, row.solution_id) for row in first}
    assert len(programs) == 24
    cells = first_summary.counters["cells_executed"]
    assert 100 < cells < len(first)
    assert first_summary.counters["cells_from_cache"] == 0
    assert second_summary.counters["cells_executed"] == 0
    assert second_summary.counters["cells_from_cache"] == cells
    assert "cells_executed" not in plain_summary.counters


def test_equal_programs_share_their_cells(tables: dict[type, list[Path]], tmp_path: Path) -> None:
    rows, _, _ = execute(tables, tmp_path)
    by_solution: dict[str, list[tuple[str, int]]] = {}
    for row in rows:
        by_solution.setdefault(row.solution_id, []).append((row.outcome, row.cpu_ns))
    for task in ("t000000", "t000001", "t000002"):
        assert by_solution[f"{task}/s00"] == by_solution[f"{task}/s07"]


def test_a_stop_between_parts_costs_no_part_twice(
    tables: dict[type, list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, _, _ = execute(tables, tmp_path / "plain")
    write, written = Part.write, []

    def write_and_stop(part: Part, *rows: object) -> None:
        write(part, *rows)
        written.append(part.index)
        if len(written) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Part, "write", write_and_stop)
    with pytest.raises(KeyboardInterrupt):
        execute(tables, tmp_path / "stopped")
    again, _, _ = execute(tables, tmp_path / "stopped")
    assert written == [0, 1]
    assert verdicts(again) == verdicts(plain)
