"""``codedpo rank``: a matrix that somebody brings -> scores as data, as a Parquet file, and as a table to read."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from codedpo.core.config import Plugin, RankingsConfig
from codedpo.core.config_files import parse_yaml
from codedpo.core.errors import ConfigError, DataError
from codedpo.core.records import SolutionScore
from codedpo.core.tables import write_rows
from codedpo.rankings.files import rank_file


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

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain data; a probability of -1 is one that the strategy does not estimate."""
        return {
            "strategy": self.strategy,
            "tasks": len(self.tasks),
            "scores": [asdict(row) for row in self.rows],
        }


def rank_matrix(
    path: Path, strategy: str = "", options: Iterable[str] = (), output: Path | None = None
) -> Ranked:
    """Rank the solutions of a file and, where asked, write their scores as Parquet.

    Args:
        path: the matrix, see ``files.read_matrices``.
        strategy: a built-in kind, or ``package.module:function``; empty: the default of ``rankings.strategy``.
        options: ``name=value`` each, the strategy's keyword arguments.
        output: where rows as ``core.records.SolutionScore`` go.

    Raises:
        ConfigError: no such strategy or option, or an option that is not of the form ``name=value``.
        DataError: the matrix cannot be used, or the output cannot be written.
    """
    choice = _choice(strategy, options)
    rows = list(rank_file(path, choice))
    if not rows:
        raise DataError(f"{path} holds no cell; there is nothing to rank.")
    if output is not None:
        try:
            write_rows(output, SolutionScore, rows)
        except OSError as error:
            raise DataError(f"{output} cannot be written ({error.strerror}); name another file.") from error
    return Ranked(choice.label, rows)


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
    """Print all solutions of a single task, or the best and the worst of each of many."""
    tasks = ranked.tasks
    table = Table(box=None, pad_edge=False, title=f"ranked by {ranked.strategy}", title_justify="left")
    estimated = any(row.probability >= 0 for row in ranked.rows)
    if len(tasks) == 1:
        for column in ("solution", "rank", "score", *(["probability"] if estimated else [])):
            table.add_column(column, justify="left" if column == "solution" else "right")
        for row in tasks[0]:
            table.add_row(row.solution_id, str(row.rank), f"{row.score:.4f}", *_probability(row, estimated))
    else:
        columns = (
            "task",
            "solutions",
            "best",
            "share the top",
            *(["probability"] if estimated else []),
            "worst",
        )
        for column in (*columns, "its score"):
            table.add_column(column, justify="left" if column in ("task", "best", "worst") else "right")
        for rows in tasks:
            best, worst = rows[0], rows[-1]
            ties = str(sum(row.rank == 1 for row in rows))
            shown = (best.task_id, str(len(rows)), best.solution_id, ties, *_probability(best, estimated))
            table.add_row(*shown, worst.solution_id, f"{worst.score:.4f}")
    Console(highlight=False).print(table)


def _probability(row: SolutionScore, estimated: bool) -> list[str]:
    return [f"{row.probability:.1%}"] if estimated else []
