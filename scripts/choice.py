"""What could have chosen between trainings: ``python scripts/choice.py FOLDER``, the tables of ``side_by_side.py``.

Writes ``choice.csv``: for each training the change in the share of tests that greedy answers to held-out tasks pass,
the share of held-out pairs with the chosen side ahead, and the changes on benchmarks; prints rank correlations.
"""

from collections import defaultdict
from pathlib import Path
from statistics import StatisticsError, correlation, mean

from run_tables import Columns, read_table, start, truth, write_table

from codedpo.core.errors import DataError
from codedpo.core.rng import stream
from codedpo.evaluation.metrics import bootstrap_interval

BENCHMARKS = ("humanevalplus", "mbppplus")
COLUMNS = ("model", "tests_passed", "low", "high", "pairs_ahead", *BENCHMARKS)
OWN_TASKS: Columns = {"split": str, "model": str, "task_id": str, "passed": int, "tests": int}
FIGURES: Columns = {
    "group": str,
    "model": str,
    "benchmark": str,
    "name": str,
    "is_difference": truth,
    "value": float,
}


def ranks(values: list[float]) -> list[float]:
    """Return ranks; equal values share theirs."""
    order = sorted(values)
    return [mean(place for place, other in enumerate(order) if other == value) for value in values]


def choose(folder: Path) -> None:
    """Write the table and print the correlations.

    Raises:
        DataError: a table is missing, has other columns, or lacks a model that another one has.
    """
    shares: dict[str, dict[str, float]] = defaultdict(dict)
    for row in read_table(folder / "own_tasks.csv", OWN_TASKS):
        if row["split"] == "validation":
            shares[row["model"]][row["task_id"]] = row["passed"] / row["tests"]
    changes = {
        (row["model"], row["benchmark"]): row["value"]
        for row in read_table(folder / "figures.csv", FIGURES)
        if (row["group"], row["name"], row["is_difference"]) == ("greedy", "pass@1", True)
    }
    trainings = read_table(folder / "trainings.csv", {"model": str, "best step": float})
    best = {row["model"]: row["best step"] for row in trainings}
    steps = read_table(
        folder / "validation_steps.csv", {"model": str, "step": float, "name": str, "value": float}
    )
    ahead = {
        row["model"]: row["value"]
        for row in steps
        if row["name"] == "rewards/accuracies" and row["step"] == best.get(row["model"])
    }
    table = []
    base = shares.pop("untrained", {})
    for model, own in shares.items():
        if own.keys() != base.keys() or any((model, name) not in changes for name in BENCHMARKS):
            raise DataError(
                f"own_tasks.csv and figures.csv of {folder} do not have {model} and untrained on the same tasks and "
                "benchmarks; make both of the same results."
            )
        values = [own[task] - base[task] for task in base]
        interval = bootstrap_interval(values, stream(1, "scripts", "choice", model))
        figures = [round(value, 4) for value in (mean(values), *interval)]
        table.append((model, *figures, ahead.get(model, ""), *(changes[model, name] for name in BENCHMARKS)))
    write_table(folder / "choice.csv", COLUMNS, sorted(table, key=lambda row: -row[1]))
    for place, name in (
        (1, "tests passed on held-out tasks"),
        (4, "held-out pairs with the chosen side ahead"),
    ):
        known = [row for row in table if row[place] != ""]
        for column, benchmark in enumerate(BENCHMARKS, 5):
            try:
                found = correlation(
                    ranks([row[place] for row in known]), ranks([row[column] for row in known])
                )
            except StatisticsError as error:
                print(f"{name} and {benchmark}, {len(known)} trainings: {error}")
            else:
                print(f"{name} and {benchmark}, {len(known)} trainings: Spearman {found:.2f}")


if __name__ == "__main__":
    start(choose)
