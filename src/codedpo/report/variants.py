"""A run beside its variants: what differs in each, and what came of it."""

from collections.abc import Iterator
from typing import Any, TypeVar

from codedpo.core.records import TESTS_PASSED, Metric, Sample
from codedpo.core.tables import read_rows
from codedpo.report.results import MAIN_METRIC, title_of
from codedpo.report.run_folder import RunFolder, read_run

Row = TypeVar("Row")
AS_CONFIGURED = "as configured"


def variant_rows(run: RunFolder) -> list[dict[str, Any]]:
    """Return one row for the run and for each of its variants that was started; none where it has no variants.

    Each has ``name``, ``changes`` (``section.key=value``), ``pairs``, ``steps`` of training, and ``results``: benchmark
    or held-out tasks -> ``after`` and ``difference`` to the weights before training, with value, low and high, as
    fractions.
    """
    variants: dict[str, Any] = run.config.get("variants", {})
    folders = {name: run.path / name for name in variants}
    started = {name: read_run(path) for name, path in folders.items() if (path / "run.json").exists()}
    rows = [_row(AS_CONFIGURED, [], run)] if started else []
    return [*rows, *(_row(name, list(_changes(variants[name])), found) for name, found in started.items())]


def metrics_of(run: RunFolder) -> list[Metric]:
    """Return the figures of a run's evaluation; none where it is not finished."""
    return _of_evaluation(run, Metric)


def samples_of(run: RunFolder) -> list[Sample]:
    """Return the answers of a run's evaluation; none where it is not finished."""
    return _of_evaluation(run, Sample)


def _of_evaluation(run: RunFolder, row_type: type[Row]) -> list[Row]:
    state = run.stage("evaluation")
    return read_rows(state.folder.parts_of(row_type), row_type) if state is not None and state.summary else []


def _row(name: str, changes: list[str], run: RunFolder) -> dict[str, Any]:
    results: dict[str, dict[str, Any]] = {}
    for metric in metrics_of(run):
        if metric.name in (MAIN_METRIC, TESTS_PASSED) and metric.model in ("after", "difference"):
            interval = {"value": metric.value, "low": metric.low, "high": metric.high}
            results.setdefault(title_of(metric.benchmark), {})[metric.model] = interval
    return {
        "name": name,
        "changes": changes,
        "pairs": _of_stage(run, "pairs", "rows", "pairs"),
        "steps": _of_stage(run, "training", "counters", "steps"),
        "results": results,
    }


def _of_stage(run: RunFolder, stage: str, part: str, key: str) -> int | None:
    state = run.stage(stage)
    found = getattr(state.summary, part).get(key) if state is not None and state.summary else None
    return None if found is None else int(found)


def _changes(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield what a variant sets, as it would stand on the command line."""
    for key, value in values.items():
        if isinstance(value, dict) and value and "kind" not in value:
            yield from _changes(value, f"{prefix}{key}.")
        elif isinstance(value, dict) and "kind" in value:
            yield f"{prefix}{key}={value['kind']}"
        else:
            yield f"{prefix}{key}={value}"
