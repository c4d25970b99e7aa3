"""Logged values of training -> the charts that show them. Pure functions."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from codedpo.core.records import TrainingStep
from codedpo.report.figures import Series


@dataclass(frozen=True, slots=True)
class Panel:
    """One training chart."""

    title: str
    series: list[Series]


CURVES = (
    ("Loss", {"loss": "main"}),
    ("Log-probability of the answers", {"logps/chosen": "chosen", "logps/rejected": "rejected"}),
    ("Implicit rewards", {"rewards/chosen": "chosen", "rewards/rejected": "rejected"}),
    ("Reward margin", {"rewards/margins": "main"}),
    ("Share of pairs with the chosen side ahead", {"rewards/accuracies": "main"}),
)
PROBE_TONES = {"right": "chosen", "wrong": "rejected", "fast": "third", "slow": "fourth"}


def training_panels(steps: Sequence[TrainingStep]) -> tuple[list[Panel], list[Panel]]:
    """Sort logged values into the charts that matter and all others; probes have a chart of their own."""
    series: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for row in steps:
        if isfinite(row.value):
            series[row.name][row.split].append((float(row.step), row.value))
    main = [
        Panel(title, lines)
        for title, names in CURVES
        if (
            lines := [
                line for name, tone in names.items() for line in _lines(name, series.get(name, {}), tone)
            ]
        )
    ]
    probes = sorted(name for name in series if name.startswith("probe/"))
    if probes:
        lines = [
            line
            for name in probes
            for line in _lines(name, series[name], PROBE_TONES.get(name.removeprefix("probe/"), "main"))
        ]
        main.append(Panel("Probe: mean log-probability of held-out solutions", lines))
    shown = {name for _, names in CURVES for name in names} | set(probes)
    others = [Panel(name, _lines(name, series[name], "main")) for name in sorted(series.keys() - shown)]
    return main, others


def _lines(name: str, by_split: dict[str, list[tuple[float, float]]], tone: str) -> list[Series]:
    short = name.rpartition("/")[2]
    return [
        Series(
            short if split == "train" else f"{short}, {split}", sorted(points), tone, dashed=split != "train"
        )
        for split, points in sorted(by_split.items())
    ]
