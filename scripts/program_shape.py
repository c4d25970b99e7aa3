"""Length, loops and comments of pairs and answers: ``python scripts/program_shape.py OUTPUT.csv RUN...``.

One row a group: the sides of the training pairs of each run by kind, and, where it was evaluated, the answers to each
benchmark before and after training. Loops count ``for``, ``while`` and the clauses of comprehensions; programs that do
not parse are left out and counted. ``longer`` is the share of pairs in which the side has more characters.
"""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean

from run_tables import rows_of, start, write_table

from codedpo.core.records import Pair, Sample

COLUMNS = (
    "run",
    "group",
    "side",
    "programs",
    "not_parsed",
    "loops",
    "statements",
    "comments",
    "characters",
    "longer",
)


def shape(code: str) -> tuple[int, int, int, int] | None:
    """Return loops, statements, comments and characters of a program, fenced or not; None if none parses."""
    text = code.strip()
    if text.startswith("```"):
        text = text.partition("\n")[2].rpartition("```")[0]
    if not text:
        return None
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError):
        return None
    loops = sum(isinstance(node, ast.For | ast.While | ast.comprehension) for node in nodes)
    return loops, sum(isinstance(node, ast.stmt) for node in nodes), text.count("#"), len(text)


def columns_of(codes: Sequence[str]) -> list[float | str]:
    """Return the columns from ``programs`` to ``characters`` of one group of programs; no means where none parses."""
    shapes = [shape(code) for code in codes]
    known = [one for one in shapes if one is not None]
    means = [round(mean(one), 3) for one in zip(*known, strict=True)] or [""] * 4
    return [len(known), len(shapes) - len(known), *means]


def rows_of_run(run: Path) -> Iterator[tuple[object, ...]]:
    """Yield the rows of one run."""
    pairs = [pair for pair in rows_of(run, "pairs", Pair) if pair.split == "train"]
    for kind in sorted({pair.kind for pair in pairs}):
        own = [pair for pair in pairs if pair.kind == kind]
        for side, other in (("chosen", "rejected"), ("rejected", "chosen")):
            longer = mean(len(getattr(pair, side)) > len(getattr(pair, other)) for pair in own)
            yield run.name, kind, side, *columns_of([getattr(pair, side) for pair in own]), round(longer, 3)
    if (run / "8-evaluation").is_dir():
        samples = rows_of(run, "evaluation", Sample)
        for name in sorted({one.benchmark for one in samples}):
            for side in ("before", "after"):
                codes = [one.solution for one in samples if (one.benchmark, one.model) == (name, side)]
                yield run.name, name, side, *columns_of(codes), ""


def measure(output: Path, runs: list[Path]) -> None:
    """Write the rows of all runs.

    Raises:
        DataError: one has no pairs, or an evaluation that is not finished.
    """
    write_table(output, COLUMNS, (row for run in runs for row in rows_of_run(run)))


if __name__ == "__main__":
    start(measure)
