"""Loops and statements of pairs and answers: ``python scripts/program_shape.py RUN OUTPUT.csv``.

One row a group: the sides of the training pairs by kind, and the answers to each benchmark before and after training.
Loops count ``for``, ``while`` and the clauses of comprehensions; programs that do not parse are left out and counted.
"""

import ast
import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import mean

from run_tables import rows_of, write_table

from codedpo.core.records import Pair, Sample

COLUMNS = ("group", "side", "programs", "not_parsed", "loops", "statements")


def shape(code: str) -> tuple[int, int] | None:
    """Return loops and statements of a program, fenced or not; None where it does not parse."""
    text = code.strip()
    if text.startswith("```"):
        text = text.partition("\n")[2].rpartition("```")[0]
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError):
        return None
    loops = sum(isinstance(node, ast.For | ast.While | ast.comprehension) for node in nodes)
    return loops, sum(isinstance(node, ast.stmt) for node in nodes)


def row_of(group: str, side: str, codes: Iterable[str]) -> tuple[str, str, int, int, float, float]:
    """Return the row of one group of programs."""
    shapes = [shape(code) for code in codes]
    known = [one for one in shapes if one is not None]
    loops, statements = (round(mean(one[place] for one in known), 3) for place in (0, 1))
    return group, side, len(known), len(shapes) - len(known), loops, statements


def main() -> None:
    """Write the table."""
    run = Path(sys.argv[1])
    pairs = rows_of(run, "pairs", Pair)
    samples = rows_of(run, "evaluation", Sample)
    rows = [
        row_of(
            kind, side, (getattr(pair, side) for pair in pairs if (pair.kind, pair.split) == (kind, "train"))
        )
        for kind in sorted({pair.kind for pair in pairs})
        for side in ("chosen", "rejected")
    ]
    rows += [
        row_of(name, side, (one.solution for one in samples if (one.benchmark, one.model) == (name, side)))
        for name in sorted({one.benchmark for one in samples})
        for side in ("before", "after")
    ]
    write_table(Path(sys.argv[2]), COLUMNS, rows)


if __name__ == "__main__":
    main()
