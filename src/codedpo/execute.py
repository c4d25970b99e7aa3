"""Files of solutions and tests in, their pass matrix out (``codedpo exec``)."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from codedpo.core.config import Config
from codedpo.core.config_files import config_of
from codedpo.core.errors import ConfigError, DataError
from codedpo.core.progress import Voice
from codedpo.core.records import Oracle
from codedpo.core.rng import stream
from codedpo.sandbox.audit import differences
from codedpo.sandbox.base import IMPORT_REFUSED, Cell, Limits, Matrix
from codedpo.sandbox.files import Workload, execute_files, read_workload
from codedpo.services import Services

SECTIONS = ("sandbox", "resources", "seed")
"""Parts of the config that an execution uses."""
_SHOWN_FINDINGS = 10


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """A cell whose verdict or value was another with a process of its own."""

    task_id: str
    solution_id: str
    test_id: str
    usual: str
    """Outcome, error type and value digest in the pass matrix."""
    fresh: str
    """The same with a child of its own."""


@dataclass(frozen=True, slots=True)
class AuditSummary:
    """What running a sample again, a child a test, has shown."""

    solutions: int
    cells: int
    findings: tuple[AuditFinding, ...]


@dataclass(frozen=True, slots=True)
class ExecutionSummary:
    """What was run, and with what result."""

    output: str
    tasks: int
    solutions: int
    cells: int
    outcomes: dict[str, int]
    """Cells by outcome, the most frequent first."""
    in_process: int
    """Cells that were judged beside the solution, which could forge the verdict."""
    counters: dict[str, float]
    """Cells from the execution cache and cells executed, where ``resources.execution_cache`` is set."""
    idle_tasks: int
    """Tasks that have tests and no solution: they were left out."""
    refused_imports: dict[str, int]
    """Solutions that import a module which is not preloaded, by module."""
    isolation_level: int
    layers: tuple[str, ...]
    problems: tuple[str, ...]
    """What the isolation lacks and how to mend it."""
    sandbox: str
    wall_seconds: float
    audit: AuditSummary | None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def settings(overrides: Sequence[str]) -> Config:
    """Return the config of an execution: every default is the config's own.

    Args:
        overrides: ``section.key=value``, as ``codedpo run`` takes them, of ``SECTIONS`` only.

    Raises:
        ConfigError: a key or value is not allowed, or nothing of it would be used.
    """
    for override in overrides:
        name, equals, _ = override.partition("=")
        if equals and name.strip().partition(".")[0] not in SECTIONS:
            raise ConfigError(
                f"codedpo exec has no use for {name.strip()}; it takes sandbox.KEY=VALUE, resources.KEY=VALUE and "
                "seed=NUMBER."
            )
    return config_of({"name": "exec"}, list(overrides))


def _check_output(output: Path) -> None:
    """See, before any work, that the matrix can be written under its name.

    Raises:
        DataError: its ending is not that of Parquet, or its folder does not exist.
    """
    if output.suffix != ".parquet":
        raise DataError(f"{output} does not end in .parquet, and the matrix is a Parquet file; name one.")
    if not output.parent.is_dir():
        raise DataError(
            f"the folder {output.parent} of {output.name} does not exist; make it or name another."
        )


def execute(
    config: Config, solutions: Path, tests: Path, output: Path, voice: Voice, audit: int = 0
) -> ExecutionSummary:
    """Run every solution of a file against the tests of its task, and write the matrix.

    Args:
        config: sandbox, limits, workers, cache; its seed draws the sample of the audit.
        solutions: see ``sandbox.files.read_workload``.
        tests: likewise.
        output: the Parquet file to write, in a folder that exists.
        voice: shows progress.
        audit: so many solutions are run again with a child a test, and the cells that differ are reported.

    Raises:
        DataError: a file cannot be read, used or written.
        BackendError: the sandbox cannot run, or is weaker than asked for.
    """
    _check_output(output)
    workload = read_workload(solutions, tests)
    sample = _sample(workload, audit, config.seed)
    audited: dict[str, Matrix] = {}
    refused: Counter[str] = Counter()
    oracles: Counter[Oracle] = Counter()
    services = Services(config, config.run_folder, voice)
    start = time.monotonic()
    try:
        isolation = services.sandbox.probe()
        with voice.progress("solutions", workload.solutions) as advance:

            def finished(matrix: Matrix) -> None:
                advance(len(matrix.cells))
                oracles.update(cell.oracle for cells in matrix.cells for cell in cells)
                refused.update(name for cells in matrix.cells for name in _refused(cells))
                if matrix.job_id in sample:
                    audited[matrix.job_id] = replace(
                        matrix, cells=_taken(matrix.cells, sample[matrix.job_id])
                    )

            limits = Limits.from_config(config.sandbox)
            outcomes = execute_files(services.sandbox, workload, output, limits, finished)
        return ExecutionSummary(
            output=str(output),
            tasks=len(workload.programs),
            solutions=workload.solutions,
            cells=sum(outcomes.values()),
            outcomes=outcomes,
            in_process=oracles[Oracle.IN_PROCESS],
            counters=services.sandbox_counters,
            idle_tasks=len(workload.idle_tasks),
            refused_imports=dict(refused.most_common()),
            isolation_level=isolation.level,
            layers=isolation.layers,
            problems=isolation.problems,
            sandbox=services.sandbox.identity,
            wall_seconds=round(time.monotonic() - start, 2),
            audit=_audit(config, voice, workload, sample, audited) if audit else None,
        )
    finally:
        services.close()


def _refused(cells: Sequence[Cell]) -> set[str]:
    """Return the modules whose import was refused to one solution."""
    types = {cell.error_type for cell in cells}
    return {name.removeprefix(IMPORT_REFUSED) for name in types if name.startswith(IMPORT_REFUSED)}


def _sample(workload: Workload, count: int, seed: int) -> dict[str, list[int]]:
    """Draw solutions: task -> their positions."""
    every = [(task, place) for task, programs in workload.programs.items() for place in range(len(programs))]
    chosen = stream(seed, "audit").permutation(len(every))[:count]
    sample: dict[str, list[int]] = defaultdict(list)
    for number in sorted(chosen):
        task, place = every[number]
        sample[task].append(place)
    return dict(sample)


def _taken(items: Sequence[Any], places: Sequence[int]) -> tuple[Any, ...]:
    return tuple(items[place] for place in places)


def _audit(
    config: Config, voice: Voice, workload: Workload, sample: dict[str, list[int]], usual: dict[str, Matrix]
) -> AuditSummary:
    """Run the sample again with a child a test, and compare."""
    sandbox = config.sandbox.model_copy(update={"child_per": "test"})
    services = Services(config.model_copy(update={"sandbox": sandbox}), config.run_folder, voice)
    findings: list[AuditFinding] = []
    cells = 0
    try:
        jobs = (
            replace(job, solutions=_taken(job.solutions, sample[job.job_id]))
            for job in workload.jobs(Limits.from_config(sandbox))
            if job.job_id in sample
        )
        with voice.progress("audit", sum(map(len, sample.values()))) as advance:
            for fresh in services.sandbox.run(jobs):
                task = fresh.job_id
                names = _taken(list(workload.programs[task]), sample[task]), list(workload.checks[task])
                for found in differences(usual[task], fresh):
                    place = names[0][found.solution], names[1][found.test]
                    findings.append(AuditFinding(task, *place, _words(found.usual), _words(found.fresh)))
                cells += sum(map(len, fresh.cells))
                advance(len(fresh.cells))
    finally:
        services.close()
    return AuditSummary(sum(map(len, sample.values())), cells, tuple(findings))


def _words(cell: Cell) -> str:
    return " ".join(part for part in (cell.outcome.value, cell.error_type, cell.value_digest) if part)


def print_summary(summary: ExecutionSummary) -> None:
    """Print a summary for a person."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    say: Callable[[str], None] = console.print
    say(
        f"{summary.solutions:,} solutions of {summary.tasks:,} tasks, {summary.cells:,} cells in "
        f"{summary.wall_seconds:.1f} s at isolation level {summary.isolation_level} ({', '.join(summary.layers)})"
    )
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column(justify="right")
    for outcome, count in summary.outcomes.items():
        table.add_row(outcome, f"{count:,}", f"{100 * count / summary.cells:.1f}%")
    console.print(table)
    if summary.in_process:
        say(
            f"{summary.in_process:,} of {summary.cells:,} cells were judged beside the solution, which could forge "
            "them (docs/execution.md)"
        )
    for name, amount in summary.counters.items():
        say(f"{name.replace('_', ' ')}: {amount:,.0f}")
    if summary.idle_tasks:
        say(f"{summary.idle_tasks:,} tasks have tests and no solution and were left out")
    for module, number in list(summary.refused_imports.items())[:_SHOWN_FINDINGS]:
        say(
            f"import refused: {module} in {number:,} solutions; if it is installed, add it to sandbox.modules"
        )
    for problem in summary.problems:
        say(f"missing: {problem}")
    if summary.audit:
        findings = summary.audit.findings
        say(
            f"audit: {summary.audit.solutions:,} solutions again, a process a test: "
            f"{len(findings):,} of {summary.audit.cells:,} cells depend on what ran before"
        )
        for found in findings[:_SHOWN_FINDINGS]:
            say(f"  {found.solution_id} on {found.test_id}: {found.usual}, alone {found.fresh}")
        if len(findings) > _SHOWN_FINDINGS:
            say(f"  and {len(findings) - _SHOWN_FINDINGS:,} more (--json lists them)")
    say(f"pass matrix: {summary.output}")
