"""Mean change over seeds: ``python scripts/over_seeds.py OUTPUT.csv GRID_OUTCOMES.csv.gz MODEL RUN_OUTCOMES.csv...``.

A problem's change is its mean over the trainings, each against the untrained weights of its own machine; intervals are
bootstrapped over problems.
"""

import csv
import gzip
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

from run_tables import write_table

from codedpo.core.rng import stream
from codedpo.evaluation.metrics import bootstrap_interval

COLUMNS = ("benchmark", "problems", "trainings", "change", "low", "high", "gained", "lost")


def outcomes(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a table of outcomes, gzipped or not."""
    content = path.read_bytes()
    text = gzip.decompress(content).decode() if path.suffix == ".gz" else content.decode()
    yield from csv.DictReader(text.splitlines())


def main() -> None:
    """Write one row a benchmark."""
    output, grid, model, *runs = sys.argv[1:]
    passed: dict[tuple[str, str, bool], dict[str, bool]] = defaultdict(dict)
    for row in outcomes(Path(grid)):
        if row["group"] == "greedy" and row["model"] in ("untrained", model):
            key = (row["benchmark"], grid, row["model"] == model)
            passed[key][row["problem_id"]] = row["outcome"] == "passed"
    for run in runs:
        for row in outcomes(Path(run)):
            key = (row["benchmark"], run, row["model"] == "after")
            passed[key][row["problem_id"]] = row["outcome"] == "passed"
    rows = []
    for benchmark in dict.fromkeys(name for name, _, _ in passed):
        sources = [one for one in (grid, *runs) if (benchmark, one, True) in passed]
        changes = [
            [passed[benchmark, one, True][key] - passed[benchmark, one, False][key] for one in sources]
            for key in passed[benchmark, sources[0], True]
        ]
        values = [mean(one) for one in changes]
        low, high = bootstrap_interval(values, stream(1, "scripts", "over_seeds", benchmark))
        counts = [
            [sum(one[place] == sign for one in changes) for place in range(len(sources))] for sign in (1, -1)
        ]
        told = (" ".join(map(str, count)) for count in counts)
        rows.append(
            (benchmark, len(values), len(sources), *(round(x, 4) for x in (mean(values), low, high)), *told)
        )
    write_table(Path(output), COLUMNS, rows)


if __name__ == "__main__":
    main()
