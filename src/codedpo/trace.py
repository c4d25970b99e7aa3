"""One task through all tables: what ``codedpo trace`` prints."""

from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text as Line

from codedpo.core.errors import ConfigError
from codedpo.core.records import (
    Execution,
    Outcome,
    Pair,
    Reject,
    Seed,
    Solution,
    SolutionScore,
    Task,
    Test,
    TestScore,
    Text,
    Timing,
)
from codedpo.core.stage import StageFolder
from codedpo.core.tables import find_rows, read_columns
from codedpo.stages import STAGES, stage_path

SYMBOLS = {
    Outcome.PASSED: ("+", "green"),
    Outcome.FAILED: ("-", "red"),
    Outcome.ERROR: ("e", "yellow"),
    Outcome.TIMEOUT: ("t", "magenta"),
    Outcome.MEMORY: ("m", "magenta"),
    Outcome.CRASHED: ("c", "magenta"),
    Outcome.NOT_LOADED: ("x", "bright_black"),
    Outcome.OPAQUE: ("o", "cyan"),
    Outcome.NOT_RUN: (".", "bright_black"),
}


def _parts(run: Path, row_type: type[Any]) -> list[Path]:
    """List the files of a table, from whichever stages of a run wrote it; none where none has yet."""
    folders = [StageFolder(stage_path(run, stage.name)) for stage in STAGES if row_type in stage.writes]
    return [path for folder in folders for path in folder.parts_of(row_type)]


def trace_of(run: Path, task_id: str) -> dict[str, Any]:
    """Collect every row that belongs to a task, by table.

    Args:
        run: the run folder.
        task_id: the run's own id of the task or, where no task has it, what ``tasks.file`` calls the task.

    Raises:
        ConfigError: there is no such run, or no such task in it; of a dropped task the sentence says why.
    """
    if not (run / "run.json").exists():
        raise ConfigError(f"{run} is not a run folder; name one such as runs/quickstart.")
    parts = _parts(run, Task)
    found = find_rows(parts, Task, "task_id", [task_id])
    if not found and task_id:
        found = find_rows(parts, Task, "source_id", [task_id])
    if not found:
        known = read_columns(parts, Task, ["task_id"]).column(0).to_pylist()
        raise ConfigError(_no_task(run, task_id, known))
    task = found[0]
    task_id = task.task_id

    def of_task(row_type: type[Any]) -> list[dict[str, Any]]:
        return [asdict(row) for row in find_rows(_parts(run, row_type), row_type, "task_id", [task_id])]

    texts = find_rows(_parts(run, Text), Text, "parent_id", [task_id, task.seed_id])
    seeds = find_rows(_parts(run, Seed), Seed, "seed_id", [task.seed_id])
    return {
        "seed": asdict(seeds[0]) if seeds else None,
        "task": asdict(task),
        "texts": [asdict(text) for text in texts],
        "solutions": of_task(Solution),
        "tests": of_task(Test),
        "executions": of_task(Execution),
        "solution_scores": of_task(SolutionScore),
        "test_scores": of_task(TestScore),
        "timings": of_task(Timing),
        "pairs": of_task(Pair),
        "rejects": _rejects(run, task_id),
    }


def _no_task(run: Path, task_id: str, tasks: Collection[str]) -> str:
    """Say that a task was dropped and why, or which tasks there are."""
    dropped = _rejects(run, task_id) or _rejects(
        run, f"s{task_id[1:]}"
    )  # what gave no task has its seed's id
    if dropped:
        first = dropped[0]
        detail = " ".join(f": {first['detail']}".split()) if first["detail"] else ""
        return (
            f"{run} has no task {task_id}: it was dropped in stage {first['stage']} ({first['reason']}{detail}); name "
            "a task that was kept."
        )
    known = f"they go from {min(tasks)} to {max(tasks)}" if tasks else "it has none yet"
    return f"{run} has no task {task_id}; {known}."


def _rejects(run: Path, task_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for stage in STAGES:
        folder = StageFolder(stage_path(run, stage.name))
        for path in folder.parts_of(Reject):
            rows = read_columns([path], Reject)
            names = rows.column("row_id")
            mine = rows.filter(pc.or_(pc.equal(names, task_id), pc.starts_with(names, f"{task_id}/")))
            found.extend({"stage": stage.name, **row} for row in mine.to_pylist())
    return found


def _code(code: str) -> Syntax:
    return Syntax(code.rstrip(), "python", theme="ansi_dark", background_color="default", word_wrap=True)


def _matrix(trace: dict[str, Any]) -> Table:
    """Draw solutions x tests, best score first, one sign a cell."""
    scores = {
        row["solution_id"]: row
        for row in trace["solution_scores"]
        if row["strategy"] == trace["solution_scores"][0]["strategy"]
    }
    cells = {(row["solution_id"], row["test_id"]): Outcome(row["outcome"]) for row in trace["executions"]}
    solutions = sorted(
        trace["solutions"],
        key=lambda row: (-scores.get(row["solution_id"], {"score": 0})["score"], row["solution_id"]),
    )
    table = Table(box=None, pad_edge=False, title="pass matrix", title_justify="left")
    table.add_column("solution", overflow="fold")
    table.add_column("score", justify="right")
    table.add_column(
        "tests " + " ".join(row["test_id"].rpartition("/")[2] for row in trace["tests"]), no_wrap=False
    )
    for solution in solutions:
        line = Line()
        for test in trace["tests"]:
            outcome = cells.get((solution["solution_id"], test["test_id"]), Outcome.NOT_RUN)
            symbol, colour = SYMBOLS[outcome]
            line.append(f"{symbol:^4}", style=colour)
        score = scores.get(solution["solution_id"])
        table.add_row(solution["solution_id"], f"{score['score']:.3f}" if score else "-", line)
    return table


def _panel(title: str, *content: RenderableType) -> Panel:
    """Frame what a person or a model wrote: nothing in it is markup."""
    return Panel(Group(*content), title=Line(title))


def _pair(pair: dict[str, Any]) -> Panel:
    faster = f", {pair['speed_ratio']:.2f} x faster" if pair["speed_ratio"] else ""
    return _panel(
        f"pair {pair['pair_id']}{faster}",
        Line("chosen", style="green"),
        Line(pair["chosen"]),
        Line("rejected", style="red"),
        Line(pair["rejected"]),
    )


def print_trace(trace: dict[str, Any]) -> None:
    """Print a trace for a person, every text as it is: brackets are no markup and colons no emoji."""
    console = Console(highlight=False, markup=False, emoji=False)
    seed, task = trace["seed"], trace["task"]
    if seed:
        place = f"{seed['repo_name']} {seed['path']}:{seed['first_line']} ({seed['license']})"
        console.print(_panel(f"seed {seed['seed_id']}  {place}", _code(seed["code"])))
    console.print(
        _panel(
            f"task {task['task_id']}" + (f"  {task['source_id']}" if task["source_id"] else ""),
            Line(f"concepts: {', '.join(task['concepts'])}", style="dim"),
            Line(task["prompt"]),
            _code(task["signature"]),
        )
    )
    for solution in trace["solutions"]:
        console.print(_panel(f"solution {solution['solution_id']}", _code(solution["code"])))
    test_scores = {row["test_id"]: row["score"] for row in trace["test_scores"]}
    tests = Table(box=None, pad_edge=False, title="tests", title_justify="left", show_header=False)
    tests.add_column("test", overflow="fold")
    for test in trace["tests"]:
        score = test_scores.get(test["test_id"])
        tests.add_row(test["test_id"], f"{score:.3f}" if score is not None else "-", _code(test["code"]))
    console.print(tests)
    if trace["executions"]:
        console.print(_matrix(trace))
        legend = ", ".join(
            f"{symbol} {outcome.value.replace('_', ' ')}" for outcome, (symbol, _) in SYMBOLS.items()
        )
        console.print(legend, style="dim")
    for pair in trace["pairs"]:
        console.print(_pair(pair))
    for reject in trace["rejects"]:
        console.print(
            f"rejected in {reject['stage']}: {reject['row_id']} {reject['reason']} {reject['detail']}"
        )
