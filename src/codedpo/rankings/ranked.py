"""``codedpo rank``: a matrix that somebody brings -> scores as data, as a Parquet file, and as a table to read."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from codedpo.core.config import Plugin, RankingsConfig
from codedpo.core.config_files import parse_yaml
from codedpo.core.errors import ConfigError, DataError
from codedpo.core.progress import Voice
from codedpo.core.records import SolutionScore
from codedpo.core.tables import to_arrow, write_atomically
from codedpo.rankings.files import rank_file

UNBROKEN = 100_000
"""Width of what a program reads: a line is a row."""
MOST_TASKS = 50
"""Tasks that are printed."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """The scores of every solution of a file, in the file's order."""

    strategy: str
    """Label of the strategy, with its options."""
    rows: Sequence[SolutionScore]

    @property
    def tasks(self) -> list[list[SolutionScore]]:
        """Rows of each task, best first; solutions of equal rank keep their order."""
        groups = groupby(self.rows, key=lambda row: row.task_id)
        return [sorted(rows, key=lambda row: row.rank) for _, rows in groups]

    @property
    def plain_rows(self) -> list[dict[str, Any]]:
        """Rows as they leave: null where the strategy estimates no probability."""
        return [
            asdict(row) | {"probability": row.probability if row.probability >= 0 else None}
            for row in self.rows
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {
            "strategy": self.strategy,
            "tasks": len(self.tasks),
            "scores": self.plain_rows,
        }


def rank_matrix(
    path: Path, strategy: str = "", options: Iterable[str] = (), output: Path | None = None
) -> Ranked:
    """Rank the solutions of a file and, where asked, write their scores as Parquet and say so on standard error.

    Args:
        path: the matrix, see ``files.read_matrices``.
        strategy: a built-in kind, or ``package.module:function``; empty: the default of ``rankings.strategy``.
        options: ``name=value`` each, the strategy's keyword arguments.
        output: where rows with the columns of ``core.records.SolutionScore`` go.

    Raises:
        ConfigError: no such strategy or option, an option that is not of the form ``name=value``, or an output whose
            name does not end in ``.parquet``.
        DataError: the matrix cannot be used, or the output cannot be written.
    """
    if output is not None and output.suffix != ".parquet":
        raise ConfigError(
            f"the output {output} does not end in .parquet, which is what is written; name it so."
        )
    choice = _choice(strategy, options)
    rows = list(rank_file(path, choice))
    if not rows:
        raise DataError(f"{path} holds no cell; there is nothing to rank.")
    ranked = Ranked(choice.label, rows)
    if output is not None:
        _write(ranked, output)
        Voice().say(f"{len(rows)} scores are written to {output}")
    return ranked


def _write(ranked: Ranked, output: Path) -> None:
    table = to_arrow(SolutionScore, ranked.rows)
    place = table.schema.get_field_index("probability")
    known = pc.if_else(pc.greater_equal(table.column(place), 0), table.column(place), None)
    table = table.set_column(place, table.schema.field(place), known)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    try:
        write_atomically(output, sink.getvalue().to_pybytes())
    except OSError as error:
        raise DataError(f"{output} cannot be written ({error.strerror}); name another file.") from error


def _choice(strategy: str, options: Iterable[str]) -> Plugin:
    values = {}
    for option in options:
        name, equals, text = option.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"the option {option!r} is not of the form name=value; write it so.")
        values[name.strip()] = parse_yaml(text, f"the value of the option {name}")
    kind = strategy or RankingsConfig().strategy.kind
    if ":" in kind:
        return Plugin(kind="plugin", path=kind, options=values)
    return Plugin(kind=kind, options=values)


def print_ranked(ranked: Ranked) -> None:
    """Print all solutions of a single task, or how many tasks are decided, and best and worst of the first of them.

    Ids are never cut: they break over lines where a terminal is narrow, and elsewhere no line breaks. Solutions lack
    the name of their task, which is said beside them.
    """
    console = Console(
        highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else UNBROKEN
    )
    tasks = ranked.tasks
    if len(tasks) == 1:
        console.print(f"ranked by {ranked.strategy}, task {tasks[0][0].task_id}")
        console.print(_solutions_table(tasks[0]))
        return
    console.print(f"ranked by {ranked.strategy}: {_summary(tasks)}")
    console.print(_tasks_table(tasks[:MOST_TASKS]))
    if len(tasks) > MOST_TASKS:
        console.print(
            f"{len(tasks) - MOST_TASKS:,} more tasks are left out; --json prints and --output FILE.parquet writes the "
            "scores of all."
        )


def _summary(tasks: Sequence[Sequence[SolutionScore]]) -> str:
    """Say how many tasks and solutions there are, and how many tasks have one best solution."""
    tied = [sum(row.rank == 1 for row in rows) for rows in tasks]
    equal = sum(ties == len(rows) > 1 for ties, rows in zip(tied, tasks, strict=True))
    single = tied.count(1)
    return (
        f"{len(tasks):,} tasks, {sum(map(len, tasks)):,} solutions; {single:,} tasks have one best solution, "
        f"{len(tasks) - single - equal:,} several, in {equal:,} all are equal"
    )


def _table(ids: Sequence[str], columns: Sequence[str]) -> Table:
    """Return an empty table in which only columns of ids may break."""
    table = Table(box=None, pad_edge=False)
    for column in columns:
        if column in ids:
            table.add_column(column, overflow="fold")
        else:
            table.add_column(column, justify="right", no_wrap=True)
    return table


def _solutions_table(rows: Sequence[SolutionScore]) -> Table:
    estimated = any(row.probability >= 0 for row in rows)
    table = _table(["solution"], ["solution", "rank", "score", *(["probability"] if estimated else [])])
    for row in rows:
        table.add_row(_solution(row), str(row.rank), f"{row.score:.4f}", *_probability(row, estimated))
    return table


def _tasks_table(tasks: Sequence[Sequence[SolutionScore]]) -> Table:
    estimated = any(row.probability >= 0 for rows in tasks for row in rows)
    best_columns = ["best", "score", *(["probability"] if estimated else []), "tied for best"]
    table = _table(["task", "best", "worst"], ["task", "solutions", *best_columns, "worst", "score"])
    for rows in tasks:
        best, worst = rows[0], rows[-1]
        ties = sum(row.rank == 1 for row in rows)
        table.add_row(
            best.task_id,
            str(len(rows)),
            _solution(best),
            f"{best.score:.4f}",
            *_probability(best, estimated),
            str(ties) if ties > 1 else "-",
            _solution(worst),
            f"{worst.score:.4f}",
        )
    return table


def _solution(row: SolutionScore) -> str:
    return row.solution_id.removeprefix(f"{row.task_id}/")


def _probability(row: SolutionScore, estimated: bool) -> list[str]:
    return [f"{row.probability:.1%}"] if estimated else []
