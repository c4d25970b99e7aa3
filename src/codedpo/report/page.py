"""One static HTML page from the tables of a run: nothing is loaded from anywhere, the data is inside."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from codedpo.core.records import Metric, Sample, Speed, TrainingStep
from codedpo.report import curves, figures, results, tables
from codedpo.report.figures import Series, number
from codedpo.report.run_folder import RunFolder
from codedpo.report.summary import duration
from codedpo.report.variants import variant_rows

MOST_POINTS = 200
"""Points of one line; longer series are thinned evenly, and the page says so."""
SMALLEST_CHANGE = 1e-6
"""Changes of a score below this are drawn at it: no order depends on them."""
SCRIPTS = ("base.js", "matrix.js", "pairs.js", "charts.js")


@dataclass(frozen=True, slots=True)
class Content:
    """What the page is made of."""

    run: RunFolder
    browse: dict[str, Any]
    """From ``browse.browse``."""
    solution_scores: NDArray[np.float64]
    """Of the strategy that made the pairs, as ``test_scores``."""
    test_scores: NDArray[np.float64]
    score_gaps: NDArray[np.float64]
    """For each task, its best minus its worst score."""
    pass_shares: NDArray[np.float64]
    """For each solution, the share of its task's tests that it passed."""
    compared: list[dict[str, Any]]
    """From ``tables.strategies_compared``."""
    convergence: pa.Table
    training_steps: Sequence[TrainingStep]
    samples: Sequence[Sample]
    speeds: Sequence[Speed]
    metrics: Sequence[Metric]


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing with its legend and the numbers behind it."""

    title: str
    svg: Markup
    legend: list[Series]
    columns: list[str]
    numbers: list[list[str]]
    note: str = ""


def render(content: Content) -> str:
    """Return the whole page."""
    environment = Environment(
        loader=PackageLoader("codedpo.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "duration": duration,
        "words": _words,
        "whole": "{:,.0f}".format,
    }
    funnel = tables.funnel(content.run.stages)
    variants = variant_rows(content.run)
    return environment.get_template("page.html.j2").render(
        run=content.run,
        config=content.run.config,
        settings=flat_settings(content.run.config),
        manifest=content.run.manifest,
        attempts=content.run.manifest.get("attempts", []),
        verdict=results.verdict_of(content.metrics),
        key_figures=_key_figures(content, funnel),
        funnel=funnel,
        costs=tables.costs(content.run.stages),
        score_figures=score_figures(content),
        compared=content.compared,
        strategy=content.browse["strategy"],
        convergence_figures=convergence_figures(tables.convergence(content.convergence)),
        training_figures=_training(content.training_steps),
        result_figures=result_figures(content.metrics),
        result_rows=results.result_rows(content.metrics),
        speed_figures=speed_figures(content.speeds),
        speed_rows=results.speed_rows(content.metrics, content.speeds),
        outcomes=results.outcome_counts(content.samples),
        not_run=results.not_run_counts(content.samples),
        changed=results.changed_problems(content.samples),
        variants=variants,
        variant_benchmarks=list(dict.fromkeys(name for row in variants for name in row["results"])),
        pairs_sentence=pairs_sentence(content.run.config["pairs"]),
        browse=content.browse,
        data=embedded(content.browse),
        style=Markup(_template("style.css")),
        script=Markup("\n".join(_template(name) for name in SCRIPTS)),
    )


def _template(name: str) -> str:
    return (resources.files("codedpo.report") / "templates" / name).read_text("utf-8")


def _words(name: str) -> str:
    return name.replace("_", " ")


def embedded(data: Any) -> Markup:
    """Write data as JSON that can stand inside a script element whatever text it holds."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    escapes: dict[str, str | int | None] = {
        "<": "\\u003c",
        ">": "\\u003e",
        "&": "\\u0026",
        "\u2028": "\\u2028",
        "\u2029": "\\u2029",
    }
    return Markup(text.translate(str.maketrans(escapes)))


def flat_settings(config: dict[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """Group the resolved config by section: ``{"training": [("lora.rank", "16"), ...]}``; top-level keys under ""."""
    groups: dict[str, list[tuple[str, str]]] = {"": []}

    def walk(prefix: str, value: Any) -> list[tuple[str, str]]:
        if isinstance(value, dict) and value:
            return [
                pair
                for key, inner in value.items()
                for pair in walk(f"{prefix}.{key}" if prefix else key, inner)
            ]
        return [
            (prefix, value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False))
        ]

    for key, value in config.items():
        if isinstance(value, dict):
            groups[key] = walk("", value)
        else:
            groups[""] += walk(key, value)
    return groups


def pairs_sentence(pairs: dict[str, Any]) -> str:
    """Say which solutions the section ``pairs`` of the config sets against each other."""
    most = pairs["pairs_per_task"]
    others = {
        "worst": "the worst",
        "hardest": "the commonest mistake: one of the largest group of lower-scored solutions that behave alike",
    }
    several = f" Up to {most} of a task, each of other programs, in that order." if most > 1 else ""
    sentences = {
        "correctness": (
            f"Correctness pairs set the best-scored solution of a task against {others[pairs['rejected']]}.{several}"
        ),
        "efficiency": (
            "Efficiency pairs set the fastest of the solutions that pass all credible tests against the slowest."
        ),
    }
    return " ".join(sentence for kind, sentence in sentences.items() if kind in pairs["kinds"])


def _key_figures(content: Content, funnel: list[tables.FunnelRow]) -> list[tuple[str, str]]:
    made = {name: count for row in funnel for name, count in row.made.items()}
    names = ("seeds", "tasks", "solutions", "tests", "executions", "pairs")
    figures_shown = [(_words(name), f"{made[name]:,}") for name in names if name in made]
    seconds = sum(row.cpu_seconds for row in tables.costs(content.run.stages))
    return [*figures_shown, ("CPU time", duration(seconds))]


def _figure(
    title: str, svg: str, series: Sequence[Series] = (), *, x_name: str = "step", note: str = ""
) -> Figure:
    """Put a line chart's numbers beside it: one row an x, one column a series."""
    values = [dict(line.points) for line in series]
    xs = sorted({x for line in values for x in line})
    rows = [[number(x), *(number(line[x]) if x in line else "" for line in values)] for x in xs]
    return Figure(title, Markup(svg), list(series), [x_name, *(line.name for line in series)], rows, note)


def score_figures(content: Content) -> list[Figure]:
    """Draw how solution scores, test scores, gaps and pass shares are distributed."""
    parts = (
        ("Scores of solutions", content.solution_scores, "score", "main"),
        ("Scores of tests", content.test_scores, "score", "third"),
        ("Tests that a solution passes", content.pass_shares, "share of its task's tests", "main"),
        ("Best minus worst score of a task", content.score_gaps, "gap", "main"),
    )
    drawn = []
    for title, values, x_label, tone in parts:
        if not values.size:
            continue
        edges, counts = tables.binned(values)
        label = f"{title}: {values.size:,} values, median {np.median(values):.2f}"
        rows = [
            [f"{number(low)} to {number(high)}", f"{count:,}"]
            for (low, high), count in zip(pairwise(edges), counts, strict=True)
        ]
        svg = figures.histogram(edges, counts, label, x_label=x_label, tone=tone)
        note = f"{values.size:,} values, median {np.median(values):.2f}"
        drawn.append(Figure(title, Markup(svg), [], [x_label, "count"], rows, note))
    return drawn


def convergence_figures(rows: list[dict[str, float]]) -> list[Figure]:
    """Draw how far each iteration moves the scores, and how many orders it changes."""
    if not rows:
        return []
    band = [
        (row["iteration"], max(row["low"], SMALLEST_CHANGE), max(row["high"], SMALLEST_CHANGE))
        for row in rows
    ]
    median = Series(
        "median over tasks", [(row["iteration"], max(row["median"], SMALLEST_CHANGE)) for row in rows]
    )
    moved = Series(
        "solution pairs that change places, mean", [(row["iteration"], row["order_changes"]) for row in rows]
    )
    change = figures.line_chart(
        [median],
        "Largest change of a normalised score by iteration, logarithmic",
        x_label="iteration",
        logarithmic=True,
        band=band,
    )
    order = figures.line_chart([moved], "Order changes by iteration", x_label="iteration", zero=True)
    return [
        _figure(
            "Largest change of a score",
            change,
            [median],
            x_name="iteration",
            note="of the first strategy that iterates; band: 10% to 90% of tasks, from 1e−6",
        ),
        _figure("Changes of order", order, [moved], x_name="iteration"),
    ]


def thinned(line: Series) -> Series:
    """Keep at most ``MOST_POINTS`` points, evenly, the last one always."""
    if len(line.points) <= MOST_POINTS:
        return line
    places = np.unique(np.linspace(0, len(line.points) - 1, MOST_POINTS).round().astype(int))
    return Series(line.name, [line.points[place] for place in places], line.tone, line.dashed)


def _training(steps: Sequence[TrainingStep]) -> dict[str, list[Figure]]:
    drawn = []
    for panels in curves.training_panels(steps):
        group = []
        for panel in panels:
            lines = [thinned(line) for line in panel.series]
            longest = max(len(line.points) for line in panel.series)
            note = f"{MOST_POINTS} of {longest:,} logged steps drawn" if longest > MOST_POINTS else ""
            group.append(_figure(panel.title, figures.line_chart(lines, panel.title), lines, note=note))
        drawn.append(group)
    return dict(zip(("main", "others"), drawn, strict=True))


def result_figures(metrics: Sequence[Metric]) -> list[Figure]:
    """Draw results before and after, and their paired difference, with 95% intervals."""
    drawn = []
    kinds = (("Before and after", "%", False), ("Paired difference", "percentage points", True))
    groups = {name: results.interval_groups(metrics, difference=difference) for name, _, difference in kinds}
    for quantity in dict.fromkeys(key for group in groups.values() for key in group):
        for name, unit, difference in kinds:
            rows = groups[name].get(quantity, [])
            if rows:
                title, x_label = f"{name}: {quantity}", f"{quantity}, {unit}"
                svg = figures.interval_plot(rows, title, x_label=x_label, zero_line=difference)
                drawn.append(Figure(title, Markup(svg), [], [], [], "lines: 95% intervals over problems"))
    return drawn


def speed_figures(speeds: Sequence[Speed]) -> list[Figure]:
    """Draw the speed-up of every timed problem of each benchmark, in rising order, with its interval."""
    drawn = []
    for benchmark in dict.fromkeys(row.benchmark for row in speeds):
        timed = sorted(
            (row for row in speeds if row.benchmark == benchmark and not row.note), key=lambda row: row.ratio
        )
        if len(timed) < 2:
            continue
        title = f"{results.title_of(benchmark)}: CPU time before over after"
        line = Series("problems, rising", [(rank, row.ratio) for rank, row in enumerate(timed, 1)])
        band = [(rank, row.low, row.high) for rank, row in enumerate(timed, 1)]
        svg = figures.line_chart(
            [line], f"{title}, logarithmic", x_label="problem", logarithmic=True, band=band
        )
        rows = [
            [row.problem_id, *(f"{value:.2f}" for value in (row.ratio, row.low, row.high))] for row in timed
        ]
        columns = ["problem", "ratio", "low", "high"]
        drawn.append(
            Figure(title, Markup(svg), [line], columns, rows, "band: 95% intervals; above 1: faster after")
        )
    return drawn
