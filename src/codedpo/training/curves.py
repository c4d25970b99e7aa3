"""What TRL logged, as rows."""

import math
from collections.abc import Iterable, Mapping

from codedpo.core.records import TrainingStep

NAMES = frozenset(
    {
        "loss",
        "grad_norm",
        "learning_rate",
        "kl",
        "entropy",
        "mean_token_accuracy",
        "rewards/chosen",
        "rewards/rejected",
        "rewards/margins",
        "rewards/accuracies",
        "logps/chosen",
        "logps/rejected",
    }
)
"""The values that become rows. Times and speeds stay in the log: rows do not depend on the machine's load."""


def steps_of(history: Iterable[Mapping[str, float]]) -> list[TrainingStep]:
    """Turn the trainer's log into rows, each step, split and name once (a resumed run repeats some)."""
    rows: dict[tuple[int, str, str], TrainingStep] = {}
    for entry in history:
        step, epoch = int(entry["step"]), float(entry.get("epoch", 0.0))
        for key, value in entry.items():
            name = key.removeprefix("eval_")
            split = "train" if name == key else "validation"
            if (name in NAMES or name.startswith("probe/")) and math.isfinite(value):
                rows[step, split, name] = TrainingStep(step, epoch, split, name, float(value))
    return sorted(rows.values(), key=lambda row: (row.step, row.split, row.name))
