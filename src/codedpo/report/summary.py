"""The end of a run in the terminal, and ``codedpo show``: state, counts, reasons for drops, result."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from codedpo.core.errors import ConfigError
from codedpo.core.records import TESTS_PASSED
from codedpo.report.results import MAIN_METRIC, not_run_counts, title_of, verdict_of
from codedpo.report.run_folder import StageState, read_run
from codedpo.report.variants import metrics_of, samples_of, variant_rows


def stage_of(run: Path, name: str) -> dict[str, Any]:
    """Return all that one stage says of itself, as plain data.

    Raises:
        ConfigError: there is no such run, or the stage was not started in it.
    """
    folder = read_run(run)
    state = folder.stage(name)
    if state is None:
        started = ", ".join(stage.name for stage in folder.stages) or "none yet"
        raise ConfigError(f"{run} has no stage {name}; it has {started}.")
    return _plain(state)


def summary_of(run: Path) -> dict[str, Any]:
    """Return the state of a run as plain data: stages, result, verdict, page.

    Raises:
        ConfigError: there is no such run.
    """
    folder = read_run(run)
    metrics = metrics_of(folder)
    page = run / "9-report" / "index.html"
    return {
        "run": folder.config["name"],
        "folder": str(run),
        "stages": [_plain(state) for state in folder.stages],
        "results": [
            {"model": row.model, "benchmark": row.benchmark, "metric": row.name, "value": row.value}
            | {"low": row.low, "high": row.high, "count": row.count}
            for row in metrics
        ],
        "not_run": not_run_counts(samples_of(folder)),
        "verdict": verdict_of(metrics),
        "variants": variant_rows(folder),
        "report": str(page) if page.exists() else "",
    }


def _plain(state: StageState) -> dict[str, Any]:
    summary = state.summary
    return {
        "stage": state.name,
        "finished": summary is not None,
        "parts": state.parts,
        "adopted_from": state.adopted_from,
        "rows": summary.rows if summary else {},
        "rejects": summary.rejects if summary else {},
        "counters": summary.counters if summary else {},
        "cpu_seconds": summary.cpu_seconds if summary else 0.0,
        "wall_seconds": summary.wall_seconds if summary else 0.0,
    }


def print_summary(run: Path) -> None:
    """Print the state of a run: one line a stage, the result, and where the page is; brackets are no markup."""
    console = Console(highlight=False, markup=False, emoji=False)
    summary = summary_of(run)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("stage", style="bold", no_wrap=True)
    table.add_column("rows")
    table.add_column("dropped, and why")
    table.add_column("CPU", justify="right", no_wrap=True)
    table.add_column("wall", justify="right", no_wrap=True)
    for stage in summary["stages"]:
        note = " (adopted)" if stage["adopted_from"] else ""
        if not stage["finished"]:
            table.add_row(stage["stage"], Text(f"{stage['parts']} parts written, not finished", "yellow"))
            continue
        table.add_row(
            stage["stage"] + note,
            _counts(stage["rows"]),
            _counts(stage["rejects"], most=3),
            duration(stage["cpu_seconds"]),
            duration(stage["wall_seconds"]),
        )
    console.print(Text(f"\n{summary['run']}", style="bold"), Text(summary["folder"], style="dim"))
    console.print(table)
    if summary["results"]:
        console.print(_results_table(summary["results"]))
    for row in summary["not_run"]:
        console.print(
            f"{row['benchmark']}, {row['model']}: {row['count']:,} answers not run ({row['reason']}), "
            "left out of the figures",
            soft_wrap=True,
        )
    if summary["verdict"]:
        console.print(Text(summary["verdict"], style="bold"))
    if summary["variants"]:
        console.print(_variants_table(summary["variants"]))
    if summary["report"]:
        console.print(f"report: {summary['report']}", soft_wrap=True)


def _results_table(results: list[dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    texts = ("benchmark", "figure", "model")
    for name in (*texts, "%", "95% interval", "problems"):
        table.add_column(name, justify="left" if name in texts else "right")
    for row in results:
        if row["metric"] in (MAIN_METRIC, TESTS_PASSED):
            sign = "+" if row["model"] == "difference" else ""
            share = f"{100 * row['value']:{sign}.1f}"
            bounds = f"{100 * row['low']:{sign}.1f} to {100 * row['high']:{sign}.1f}"
            names = title_of(row["benchmark"]), row["metric"], row["model"]
            table.add_row(*names, share, bounds, f"{row['count']:,}")
    return table


def _variants_table(rows: list[dict[str, Any]]) -> Table:
    """Put a run and its variants side by side: pass@1 after training and its difference, in per cent."""
    benchmarks = dict.fromkeys(name for row in rows for name in row["results"])
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("variant", style="bold")
    table.add_column("what differs", overflow="fold")
    for name in ("pairs", "steps", *benchmarks):
        table.add_column(name, justify="right")
    for row in rows:
        counts = ("-" if row[key] is None else f"{row[key]:,}" for key in ("pairs", "steps"))
        results = (_result(row["results"].get(name, {})) for name in benchmarks)
        table.add_row(row["name"], Text("\n".join(row["changes"])), *counts, *results)
    return table


def _result(found: dict[str, dict[str, float]]) -> str:
    if not {"after", "difference"} <= found.keys():
        return "-"
    change = {key: 100 * value for key, value in found["difference"].items()}
    after = 100 * found["after"]["value"]
    return f"{after:.1f} ({change['value']:+.1f}, {change['low']:+.1f} to {change['high']:+.1f})"


def print_stage(run: Path, name: str) -> None:
    """Print counts, reasons for drops and counters of one stage."""
    console = Console(highlight=False, markup=False, emoji=False)
    stage = stage_of(run, name)
    state = "finished" if stage["finished"] else f"{stage['parts']} parts written, not finished"
    origin = f", adopted from {stage['adopted_from']}" if stage["adopted_from"] else ""
    console.print(Text.assemble((name, "bold"), f" {state}{origin}"))
    for title, content in (("rows", "rows"), ("dropped", "rejects"), ("counters", "counters")):
        if stage[content]:
            table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
            table.add_column(justify="right")
            table.add_column()
            for key, count in sorted(stage[content].items(), key=lambda item: -item[1]):
                table.add_row(f"{count:,.0f}", key.replace("_", " "))
            console.print(Text(title, style="dim"))
            console.print(table)
    console.print(f"{duration(stage['cpu_seconds'])} CPU, {duration(stage['wall_seconds'])} wall")


def _counts(counts: dict[str, int], most: int = 6) -> str:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    text = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in ordered[:most])
    others = sum(count for _, count in ordered[most:])
    return f"{text}, {others:,} other" if others else text


def duration(seconds: float) -> str:
    """Write a duration the way a person says it: 0.4 s, 38 s, 4 min 05 s, 2 h 10 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
