"""Mean change over seeds: ``python scripts/over_seeds.py OUTPUT.csv GRID_OUTCOMES.csv.gz MODEL RUN_OUTCOMES.csv...``.

A problem's change is its mean over the trainings, each against the untrained weights of its own machine; intervals are
bootstrapped over problems.
"""

from collections import defaultdict
from pathlib import Path
from statistics import mean

from run_tables import read_table, start, write_table

from codedpo.core.errors import DataError
from codedpo.core.rng import stream
from codedpo.evaluation.metrics import bootstrap_interval

COLUMNS = ("benchmark", "problems", "trainings", "change", "low", "high", "gained", "lost")
OUTCOMES = dict.fromkeys(("model", "benchmark", "problem_id", "outcome"), str)


def changes_of(path: Path, before: str, after: str, group: str = "") -> dict[str, dict[str, int]]:
    """Return by benchmark and problem whether a training gained it (1), lost it (-1) or neither (0).

    Raises:
        DataError: the table has no answers of one of the models, or not to the same problems.
    """
    columns = OUTCOMES | ({"group": str} if group else {})
    rows = [row for row in read_table(path, columns) if row.get("group", "") == group]
    passed: dict[str, dict[tuple[str, str], bool]] = {before: {}, after: {}}
    for row in rows:
        if row["model"] in passed:
            passed[row["model"]][row["benchmark"], row["problem_id"]] = row["outcome"] == "passed"
    if not passed[after] or passed[before].keys() != passed[after].keys():
        models = ", ".join(dict.fromkeys(row["model"] for row in rows))
        raise DataError(
            f"{path} has no answers of {before} and {after} to the same problems; its models are {models or 'none'}."
        )
    changes: dict[str, dict[str, int]] = defaultdict(dict)
    for (benchmark, problem_id), own in passed[after].items():
        changes[benchmark][problem_id] = own - passed[before][benchmark, problem_id]
    return changes


def average(output: Path, grid: Path, model: str, runs: list[Path]) -> None:
    """Write one row a benchmark.

    Raises:
        DataError: a table has not what it should, or the tables have other problems.
    """
    sources = {grid: changes_of(grid, "untrained", model, "greedy")}
    sources |= {run: changes_of(run, "before", "after") for run in runs}
    rows = []
    for benchmark in dict.fromkeys(name for changes in sources.values() for name in changes):
        own = [changes[benchmark] for changes in sources.values() if benchmark in changes]
        if any(one.keys() != own[0].keys() for one in own):
            raise DataError(
                f"the problems of {benchmark} are not the same in {', '.join(map(str, sources))}."
            )
        values = [mean(one[problem_id] for one in own) for problem_id in own[0]]
        interval = bootstrap_interval(values, stream(1, "scripts", "over_seeds", benchmark))
        counts = (" ".join(str([*one.values()].count(sign)) for one in own) for sign in (1, -1))
        figures = (round(value, 4) for value in (mean(values), *interval))
        rows.append((benchmark, len(values), len(own), *figures, *counts))
    write_table(output, COLUMNS, rows)


if __name__ == "__main__":
    start(average)
