"""What could have chosen between trainings: ``python scripts/choice.py FOLDER``, the tables of ``side_by_side.py``.

Writes ``choice.csv``: for each training the change in the share of tests that greedy answers to held-out tasks pass,
the share of held-out pairs with the chosen side ahead, and the changes on benchmarks; prints rank correlations.
"""

import csv
import sys
from collections import defaultdict
from pathlib import Path
from statistics import correlation, mean

from run_tables import write_table

from codedpo.core.rng import stream
from codedpo.evaluation.metrics import bootstrap_interval

BENCHMARKS = ("humanevalplus", "mbppplus")
COLUMNS = ("model", "tests_passed", "low", "high", "pairs_ahead", *BENCHMARKS)


def ranks(values: list[float]) -> list[float]:
    """Return ranks; equal values share theirs."""
    order = sorted(values)
    return [mean(place for place, other in enumerate(order) if other == value) for value in values]


def main() -> None:
    """Write the table and print the correlations."""
    folder = Path(sys.argv[1])

    def rows(name: str) -> list[dict[str, str]]:
        return list(csv.DictReader((folder / name).read_text().splitlines()))

    shares: dict[str, dict[str, float]] = defaultdict(dict)
    for row in rows("own_tasks.csv"):
        if row["split"] == "validation":
            shares[row["model"]][row["task_id"]] = int(row["passed"]) / int(row["tests"])
    changes = {
        (row["model"], row["benchmark"]): float(row["value"])
        for row in rows("figures.csv")
        if (row["group"], row["name"], row["is_difference"]) == ("greedy", "pass@1", "True")
    }
    best = {row["model"]: float(row["best step"]) for row in rows("trainings.csv")}
    ahead = {
        row["model"]: float(row["value"])
        for row in rows("validation_steps.csv")
        if row["name"] == "rewards/accuracies" and float(row["step"]) == best[row["model"]]
    }
    table = []
    base = shares.pop("untrained")
    for model, own in shares.items():
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
            found = correlation(ranks([row[place] for row in known]), ranks([row[column] for row in known]))
            print(f"{name} and {benchmark}, {len(known)} trainings: Spearman {found:.2f}")


if __name__ == "__main__":
    main()
