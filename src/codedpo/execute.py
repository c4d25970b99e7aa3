"""Files of solutions and tests in, their pass matrix out (``codedpo exec``)."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from codedpo.core.config import Config
from codedpo.core.progress import Voice
from codedpo.sandbox.base import Limits, Matrix
from codedpo.sandbox.files import execute_files, read_workload
from codedpo.services import Services


@dataclass(frozen=True, slots=True)
class ExecutionSummary:
    """What was run, and with what result."""

    output: str
    tasks: int
    solutions: int
    cells: int
    outcomes: dict[str, int]
    """Cells by outcome, the most frequent first."""
    counters: dict[str, float]
    """Cells from the execution cache and cells executed, where ``resources.execution_cache`` is set."""
    idle_tasks: int
    """Tasks that have tests and no solution: they were left out."""
    isolation_level: int
    layers: tuple[str, ...]
    problems: tuple[str, ...]
    """What the isolation lacks and how to mend it."""
    sandbox: str
    wall_seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def execute(config: Config, solutions: Path, tests: Path, output: Path, voice: Voice) -> ExecutionSummary:
    """Run every solution of a file against the tests of its task, and write the matrix.

    Raises:
        DataError: a file cannot be read, used or written.
        BackendError: the sandbox cannot run, or is weaker than asked for.
    """
    workload = read_workload(solutions, tests)
    services = Services(config, config.run_folder, voice)
    start = time.monotonic()
    try:
        isolation = services.sandbox.probe()
        with voice.progress("solutions", workload.solutions) as advance:

            def finished(matrix: Matrix) -> None:
                advance(len(matrix.cells))

            outcomes = execute_files(
                services.sandbox, workload, output, Limits.from_config(config.sandbox), finished
            )
        return ExecutionSummary(
            output=str(output),
            tasks=len(workload.programs),
            solutions=workload.solutions,
            cells=sum(outcomes.values()),
            outcomes=outcomes,
            counters=services.sandbox_counters,
            idle_tasks=len(workload.idle_tasks),
            isolation_level=isolation.level,
            layers=isolation.layers,
            problems=isolation.problems,
            sandbox=services.sandbox.identity,
            wall_seconds=round(time.monotonic() - start, 2),
        )
    finally:
        services.close()


def print_summary(summary: ExecutionSummary) -> None:
    """Print a summary for a person."""
    console = Console(highlight=False)
    console.print(
        f"{summary.solutions:,} solutions of {summary.tasks:,} tasks, {summary.cells:,} cells in "
        f"{summary.wall_seconds:.1f} s at isolation level {summary.isolation_level} ({', '.join(summary.layers)})",
        soft_wrap=True,
    )
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column(justify="right")
    for outcome, count in summary.outcomes.items():
        table.add_row(outcome, f"{count:,}", f"{100 * count / summary.cells:.1f}%")
    console.print(table)
    for name, amount in summary.counters.items():
        console.print(f"{name.replace('_', ' ')}: {amount:,.0f}")
    if summary.idle_tasks:
        console.print(
            f"{summary.idle_tasks:,} tasks have tests and no solution and were left out", soft_wrap=True
        )
    for problem in summary.problems:
        console.print(f"missing: {problem}", soft_wrap=True, markup=False)
    console.print(f"pass matrix: {summary.output}", soft_wrap=True, markup=False)
