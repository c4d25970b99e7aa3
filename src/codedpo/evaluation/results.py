"""What an evaluation found, as a table for a person and as JSON for a program."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from codedpo.benchmarks.base import Problem
from codedpo.core.records import Metric, Outcome, Sample, Speed, SpeedFigure
from codedpo.evaluation.scoring import DIFFERENCE, TRIES
from codedpo.sandbox.base import IMPORT_REFUSED

NAMED = 20
"""With one program a problem, at most so many unsolved problems are named below the table; JSON names all."""


@dataclass(frozen=True, slots=True)
class Score:
    """One benchmark: the samples of one or two subjects and their figures."""

    benchmark: str
    subjects: Sequence[str]
    """The second one, where there is one, is what the first is compared with."""
    problems: Sequence[Problem]
    samples: Sequence[Sample]
    figures: Sequence[Metric]
    cpu_s: dict[str, float]
    """CPU seconds that judging took for each subject: the sandbox's processes and this one; no generation."""
    graded: Mapping[str, Mapping[str, Sequence[bool]]]
    """Verdicts that came with the samples: subject -> problem id -> sample by sample."""
    files: Mapping[str, Path]
    """Where the samples of each subject are stored, with program and outcome."""
    folder: Path
    """Where the figures are stored."""
    speeds: Sequence[Speed] = ()
    """CPU times of the right answers of both subjects."""

    def samples_of(self, subject: str) -> list[Sample]:
        """Return the samples of one subject that were run."""
        return [row for row in self.samples if row.model == subject and row.outcome != Outcome.NOT_RUN.value]

    def figure(self, subject: str, name: str) -> Metric | None:
        """Return one figure, None where it does not exist."""
        found = (row for row in self.figures if (row.model, row.name) == (subject, name))
        return next(found, None)

    def passed(self, subject: str) -> int:
        """Count the samples of one subject that passed."""
        return sum(row.outcome == Outcome.PASSED.value for row in self.samples_of(subject))


def json_of(scores: Sequence[Score]) -> dict[str, Any]:
    """Return plain values: benchmark -> counts, CPU seconds, figures; the second subject below ``against``."""
    result = {}
    for score in scores:
        first, *others = score.subjects
        result[score.benchmark] = _subject_json(score, first)
        for other in others:
            result[score.benchmark]["against"] = {"name": other, **_subject_json(score, other)}
            result[score.benchmark]["difference"] = _figures_json(score, DIFFERENCE)
        if score.speeds:
            notes = Counter(row.note or "timed" for row in score.speeds)
            result[score.benchmark]["efficiency"] = {
                "solved_by_both": len(score.speeds),
                **dict(notes.most_common()),
                "inputs_left_out": sum(row.inputs_left_out for row in score.speeds),
            }
    return result


def _subject_json(score: Score, subject: str) -> dict[str, Any]:
    rows = score.samples_of(subject)
    found: dict[str, Any] = {
        "passed": score.passed(subject),
        "total": len(rows),
        "cpu_s": round(score.cpu_s[subject], 2),
        "problems": len({row.problem_id for row in rows}),
        "figures": _figures_json(score, subject),
        "outcomes": dict(Counter(row.outcome for row in rows).most_common()),
    }
    if groups := _groups(score, rows):
        found["groups"] = groups
    left_out = Counter(
        row.error_type
        for row in score.samples
        if row.model == subject and row.outcome == Outcome.NOT_RUN.value
    )
    if left_out:
        found["not_run"] = dict(left_out.most_common())
    refusals = (row for row in score.samples if row.model == subject and row.finish_reason == "refused")
    if first := next(refusals, None):
        found["first_refusal"] = f"{first.problem_id}: {first.text}"
    refused = Counter(
        row.error_type.removeprefix(IMPORT_REFUSED)
        for row in rows
        if row.error_type.startswith(IMPORT_REFUSED)
    )
    if refused:
        found["imports_refused"] = dict(refused.most_common())
    if given := score.graded.get(subject):
        found["graded"] = _agreement(rows, given)
    if len(rows) == found["problems"]:
        bad = [row.problem_id for row in rows if row.outcome != Outcome.PASSED.value]
        found["not_passed"] = bad
    return found


def _agreement(rows: Sequence[Sample], given: Mapping[str, Sequence[bool]]) -> dict[str, Any]:
    """Count the verdicts that came with the samples against ours."""
    both: Counter[tuple[bool, bool]] = Counter()
    exceptions = []
    for row in rows:
        if row.problem_id in given:
            theirs, ours = given[row.problem_id][row.position], row.outcome == Outcome.PASSED.value
            both[theirs, ours] += 1
            if theirs and not ours:
                exceptions.append(f"{row.problem_id} ({row.outcome} {row.error_type})".replace(" )", ")"))
    return {
        "passed_both": both[True, True],
        "failed_both": both[False, False],
        "passed_here_only": both[False, True],
        "passed_there_only": both[True, False],
        "exceptions": exceptions,
    }


def _figures_json(score: Score, model: str) -> dict[str, Any]:
    return {
        row.name: {"value": row.value, "low": row.low, "high": row.high, "count": row.count}
        for row in score.figures
        if row.model == model
    }


def _groups(score: Score, rows: Sequence[Sample]) -> dict[str, dict[str, int]]:
    """Count by what the benchmark breaks its results down by, in the order of its problems."""
    group_of = {problem.problem_id: problem.group for problem in score.problems if problem.group}
    passed: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for row in rows:
        if group := group_of.get(row.problem_id):
            total[group] += 1
            passed[group] += row.outcome == Outcome.PASSED.value
    order = [group for group in dict.fromkeys(group_of.values()) if group in total]
    return {group: {"passed": passed[group], "total": total[group]} for group in order}


def print_scores(scores: Sequence[Score], *, to_stderr: bool = False) -> None:
    """Print the scores for a person; brackets in names are no markup."""
    console = Console(highlight=False, markup=False, emoji=False, stderr=to_stderr)
    table = Table(box=None, pad_edge=False)
    several = any(len(score.subjects) > 1 for score in scores)
    found = {row.name for score in scores for row in score.figures}
    shares = [name for name in (f"pass@{k}" for k in TRIES) if name in found]
    for column in ["benchmark", *(["subject"] if several else []), "passed"]:
        table.add_column(column)
    for share in shares:
        table.add_column(f"{share} (95%)")
    table.add_column("CPU s", justify="right")
    for score in scores:
        for subject in score.subjects:
            name = [_short(subject, score.subjects)] if several else []
            counts = f"{score.passed(subject)}/{len(score.samples_of(subject))}"
            seconds = f"{score.cpu_s[subject]:.1f}"
            cells = (_percent(score, subject, share) for share in shares)
            table.add_row(score.benchmark, *name, counts, *cells, seconds)
        if several:
            table.add_row("", DIFFERENCE, "", *(_percent(score, DIFFERENCE, share) for share in shares), "")
    console.print(table)
    for score in scores:
        for line in _notes(score):
            console.print(line, soft_wrap=True)
    samples = {file.parent for score in scores for file in score.files.values()}
    results = {score.folder for score in scores}
    for folder in sorted(samples | results):
        what = " and ".join(
            [*(["samples"] if folder in samples else []), *(["result"] if folder in results else [])]
        )
        console.print(f"{what}: {folder}", soft_wrap=True)


def _short(subject: str, subjects: Sequence[str]) -> str:
    """Return the last part of a path, unless another subject has the same one."""
    ends = [name.rstrip("/").rpartition("/")[2] for name in subjects]
    end = subject.rstrip("/").rpartition("/")[2]
    return end if ends.count(end) == 1 else subject


def _percent(score: Score, model: str, name: str) -> str:
    """Return a figure in per cent with its interval, empty where there is none; differences have signs."""
    row = score.figure(model, name)
    if row is None:
        return ""
    sign = "+" if model == DIFFERENCE else ""
    return f"{100 * row.value:{sign}.1f} ({100 * row.low:{sign}.1f} to {100 * row.high:{sign}.1f})"


def _notes(score: Score) -> list[str]:
    """Say what the table has no room for, a line each."""
    notes = []
    for subject in score.subjects:
        found = _subject_json(score, subject)
        place = f"{score.benchmark}, {_short(subject, score.subjects)}"
        if plain := score.figure(subject, "pass@1 without extraction"):
            notes.append(f"{place}: pass@1 without extraction {100 * plain.value:.1f}")
        scored = (name for name in found["figures"] if name.startswith("eff@"))
        notes += [f"{place}: {name} {_percent(score, subject, name)}" for name in scored]
        if groups := found.get("groups"):
            parts = (f"{group} {count['passed']}/{count['total']}" for group, count in groups.items())
            notes.append(f"{place}: {', '.join(parts)}")
        for reason, count in found.get("not_run", {}).items():
            notes.append(f"{place}: {count} not run ({reason}), left out of the figures")
        if first := found.get("first_refusal"):
            notes.append(f"{place}: the first reply that is missing, {first}")
        if refused := found.get("imports_refused"):
            parts = (f"{name} {count}" for name, count in refused.items())
            notes.append(f"{place}: failed by an import that the sandbox refuses: {', '.join(parts)}")
        if graded := found.get("graded"):
            notes.append(
                f"{place}: with the verdicts of the file: both passed {graded['passed_both']}, both failed "
                f"{graded['failed_both']}, passed here only {graded['passed_here_only']}, passed there only "
                f"{graded['passed_there_only']} {', '.join(graded['exceptions'])}".rstrip()
            )
        bad = found.get("not_passed", [])
        if 0 < len(bad) <= NAMED:
            notes.append(f"{place}: did not pass: {', '.join(bad)}")
        elif bad:
            notes.append(f"{place}: {len(bad)} did not pass; see {score.files[subject]}")
    notes += [
        f"{score.benchmark}: difference of {row.name} {_percent(score, DIFFERENCE, row.name)}"
        for row in score.figures
        if row.model == DIFFERENCE and row.name.startswith("eff@")
    ]
    if p := score.figure(DIFFERENCE, "mcnemar_p"):
        notes.append(f"{score.benchmark}: McNemar's exact p {p.value:.3g} ({p.count} problems changed)")
    notes += _speed_notes(score)
    return notes


def _speed_notes(score: Score) -> list[str]:
    """Say how fast the first subject's answers are beside the second's."""
    if not score.speeds:
        return []
    found = {name: score.figure(DIFFERENCE, name.value) for name in SpeedFigure}

    def text(name: SpeedFigure, factor: float, decimals: int) -> str:
        row = found[name]
        if row is None:
            return "none"
        value, low, high = (f"{factor * one:.{decimals}f}" for one in (row.value, row.low, row.high))
        return f"{value} ({low} to {high})"

    counts = Counter(row.note.replace("_", " ") or "timed" for row in score.speeds)
    parts = ", ".join(f"{count} {note}" for note, count in counts.most_common())
    lines = [f"{score.benchmark}: CPU time on {len(score.speeds)} problems solved by both ({parts})"]
    if found[SpeedFigure.MEAN]:
        lines += [
            f"  speed-up: mean {text(SpeedFigure.MEAN, 1, 2)}, median {text(SpeedFigure.MEDIAN, 1, 2)}, "
            f"geometric mean {text(SpeedFigure.GEOMETRIC, 1, 2)}; "
            f"mean by experiment {text(SpeedFigure.MEAN_BY_EXPERIMENT, 1, 2)}",
            f"  at least 10% faster: {text(SpeedFigure.FASTER, 100, 1)}%, slower: {text(SpeedFigure.SLOWER, 100, 1)}%; "
            f"faster by experiment {text(SpeedFigure.FASTER_BY_EXPERIMENT, 100, 1)}%",
        ]
    return lines
