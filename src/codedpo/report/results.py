"""Results before and after training as plain data, and the one sentence that they allow."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from codedpo.core.records import HELD_OUT, TESTS_PASSED, Metric, Outcome, Sample, Speed, SpeedFigure
from codedpo.report.figures import Interval

MAIN_METRIC = "pass@1"
P_VALUE = "mcnemar_p"
APART = (P_VALUE, *SpeedFigure)
"""Figures that are no shares of solved problems, so that they have places of their own."""
LEVEL = 0.05
TONES = {"before": "before"}


def _points(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "−")


def verdict_of(metrics: Sequence[Metric], benchmark: str = "") -> str:
    """Say in one sentence what the first benchmark (or ``benchmark``) shows; empty without a comparison.

    A change is called one only where the interval and, with one sample a problem, McNemar's exact test agree: with few
    changed problems the interval excludes 0 earlier.
    """
    chosen = benchmark or next((row.benchmark for row in metrics), "")
    rows = {row.model: row for row in metrics if row.benchmark == chosen and row.name == MAIN_METRIC}
    if not {"before", "after", "difference"} <= rows.keys():
        return ""
    before, after, change = rows["before"], rows["after"], rows["difference"]
    part = "" if before.count == after.count == change.count else " that both models answered"
    exact = next((row for row in metrics if row.benchmark == chosen and row.name == P_VALUE), None)
    if change.low <= 0 <= change.high:
        meaning = f"{change.count} problems{part} show no clear change"
    elif exact and exact.value >= LEVEL:
        meaning = (
            f"no clear change, as McNemar's exact test does not tell the {exact.count} changed problems "
            f"from chance (p {exact.value:.2g})"
        )
    else:
        meaning = f"training made the model {'better' if change.low > 0 else 'worse'}"
        meaning += f" on the {change.count} problems{part}" if part else ""
    return (
        f"{title_of(chosen)} {MAIN_METRIC} {100 * before.value:.1f}% → {100 * after.value:.1f}% "
        f"({_points(change.value)} points, 95% interval {_points(change.low)} to {_points(change.high)}): {meaning}."
    )


def title_of(benchmark: str) -> str:
    """Write a benchmark's name as its authors do."""
    known = {
        "humaneval": "HumanEval",
        "humanevalplus": "HumanEval+",
        "mbpp": "MBPP",
        "mbppplus": "MBPP+",
        "ds1000": "DS-1000",
        "enamel": "ENAMEL",
        "livecodebench": "LiveCodeBench",
        HELD_OUT: "held-out tasks",
    }
    return known.get(benchmark, benchmark)


QUANTITIES = {
    "pass@": "problems solved",
    "eff@": "efficiency score",
    TESTS_PASSED: "tests passed on held-out tasks",
}
"""What the figures whose names begin so measure."""


def quantity_of(name: str) -> str:
    """Return what a figure measures."""
    return next(quantity for start, quantity in QUANTITIES.items() if name.startswith(start))


def interval_groups(metrics: Sequence[Metric], *, difference: bool) -> dict[str, list[Interval]]:
    """Return the rows of the interval plots by what they measure: in percent, in points for differences."""
    groups: dict[str, list[Interval]] = defaultdict(list)
    shown = [
        row
        for row in metrics
        if row.name not in APART
        and "extraction" not in row.name
        and (row.model == "difference") == difference
    ]
    for row in shown:
        quantity = quantity_of(row.name)
        beside = [other for other in shown if quantity_of(other.name) == quantity]
        parts = [
            row.name if len({other.name for other in beside}) > 1 else "",
            title_of(row.benchmark) if difference or len({other.benchmark for other in beside}) > 1 else "",
            "" if difference else row.model,
        ]
        label = " ".join(part for part in parts if part)
        groups[quantity].append(
            Interval(label, 100 * row.value, 100 * row.low, 100 * row.high, TONES.get(row.model, "main"))
        )
    return dict(groups)


def result_rows(metrics: Sequence[Metric]) -> list[dict[str, Any]]:
    """Return one row for each benchmark and figure: both models and their difference side by side."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    p_values = {row.benchmark: row for row in metrics if row.name == P_VALUE}
    for metric in metrics:
        if metric.name in APART:
            continue
        row = rows.setdefault(
            (metric.benchmark, metric.name),
            {
                "benchmark": title_of(metric.benchmark),
                "figure": metric.name,
                "count": metric.count,
                **dict.fromkeys(("before", "after", "difference")),
                "p": p_values.get(metric.benchmark) if metric.name == MAIN_METRIC else None,
            },
        )
        row[metric.model] = metric
    return list(rows.values())


def speed_rows(metrics: Sequence[Metric], speeds: Sequence[Speed]) -> list[dict[str, Any]]:
    """Return one row for each benchmark with timed answers: its speed figures, and what became of its problems."""
    figures: dict[str, dict[str, Metric]] = defaultdict(dict)
    for metric in metrics:
        if metric.name in tuple(SpeedFigure):
            figures[metric.benchmark][SpeedFigure(metric.name).name] = metric
    rows = []
    for benchmark in dict.fromkeys(row.benchmark for row in speeds):
        own = [row for row in speeds if row.benchmark == benchmark]
        notes = Counter(row.note.replace("_", " ") or "timed" for row in own)
        rows.append(
            {
                "benchmark": title_of(benchmark),
                "count": len(own),
                "notes": ", ".join(f"{count} {note}" for note, count in notes.most_common()),
                "left_out": sum(row.inputs_left_out for row in own),
                "figures": figures[benchmark],
            }
        )
    return rows


def changed_problems(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """List the problems whose number of passed samples differs between the models, with their first answers.

    The answer shown is, for the model that passed more often, one that passed, and for the other one that did not.
    """
    answers: dict[tuple[str, str], dict[str, list[Sample]]] = defaultdict(lambda: defaultdict(list))
    for sample in samples:
        if sample.outcome != Outcome.NOT_RUN.value:
            answers[sample.benchmark, sample.problem_id][sample.model].append(sample)
    changed = []
    for (benchmark, problem_id), by_model in answers.items():
        if not {"before", "after"} <= by_model.keys():
            continue
        passed = {
            model: sum(row.outcome == Outcome.PASSED.value for row in rows)
            for model, rows in by_model.items()
        }
        if passed["before"] == passed["after"]:
            continue
        gained = passed["after"] > passed["before"]
        shown = {}
        for model, rows in by_model.items():
            wants_pass = gained == (model == "after")
            row = next((row for row in rows if (row.outcome == Outcome.PASSED.value) == wants_pass), rows[0])
            shown[model] = {"code": row.solution, "outcome": row.outcome, "error": row.error_type}
        changed.append(
            {
                "benchmark": title_of(benchmark),
                "problem": problem_id,
                "gained": gained,
                "passed": passed,
                **shown,
            }
        )
    return sorted(changed, key=lambda row: not row["gained"])


def outcome_counts(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """Count outcomes and lengths of the samples of each benchmark and model."""
    groups: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample.benchmark, sample.model].append(sample)
    counts = []
    for (benchmark, model), rows in groups.items():
        answered = [row for row in rows if row.finish_reason != "refused"]
        counts.append(
            {
                "benchmark": title_of(benchmark),
                "model": model,
                "samples": len(rows),
                "passed": sum(row.outcome == Outcome.PASSED.value for row in rows),
                "failed": sum(row.outcome == Outcome.FAILED.value for row in rows),
                "cut": sum(row.finish_reason == "length" for row in rows),
                "tokens": sum(row.completion_tokens for row in answered) / max(1, len(answered)),
            }
        )
    return counts


def not_run_counts(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """Count the samples that the figures leave out, by benchmark, model and reason."""
    counts = Counter(
        (row.benchmark, row.model, row.error_type) for row in samples if row.outcome == Outcome.NOT_RUN.value
    )
    return [
        {"benchmark": title_of(benchmark), "model": model, "reason": reason, "count": count}
        for (benchmark, model, reason), count in counts.items()
    ]
