"""``codedpo eval``: judge published solutions, files of samples and models on benchmarks, outside any run.

What it leaves below its folder (``runs/evaluations`` unless told otherwise)::

    requests.sqlite            every reply of every model: a repeated or broken command asks only for what is missing
    SUBJECT/BENCHMARK.jsonl    samples: prompt, raw reply, program, outcome; evalplus reads task_id and solution
    SUBJECT/result.json        what commands printed, as JSON: further benchmarks are added to those of earlier commands
    SUBJECT/settings.json      what these results share; with other settings, or another subject, a command is refused
    SUBJECT/against-OTHER/     of a comparison: result.json and settings.json, and with --efficiency
                               BENCHMARK-speeds.jsonl, CPU times of the right answers, problem by problem

With ``evaluation.limit`` N the folder is ``SUBJECT-first-N``, so that a trial is not mixed with the whole result.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from codedpo.benchmarks.base import Problem
from codedpo.context import cpu_seconds
from codedpo.core.config import Config
from codedpo.core.config_files import config_of
from codedpo.core.errors import ConfigError, DataError
from codedpo.core.fingerprint import file_sha256
from codedpo.core.progress import Voice
from codedpo.core.records import Sample, Speed
from codedpo.core.tables import write_atomically
from codedpo.evaluation import stored
from codedpo.evaluation.answering import (
    Benchmarks,
    Item,
    ask,
    check_harness,
    judged_programs,
    judged_replies,
    requests_of,
)
from codedpo.evaluation.efficiency import figures_of, measure, races
from codedpo.evaluation.results import Score, json_of
from codedpo.evaluation.sample_files import read_samples
from codedpo.evaluation.scoring import metrics_of
from codedpo.evaluation.subjects import Subject, generator_of
from codedpo.llm.cache import CachedGenerator
from codedpo.sandbox.base import Sandbox
from codedpo.services import Services

FOLDER = "evaluations"


def settings(
    overrides: Sequence[str],
    benchmarks: str = "",
    limit: int | None = None,
    samples: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    efficiency: bool | None = None,
) -> Config:
    """Return the config of an evaluation: every default is the config's own.

    Args:
        overrides: ``section.key=value``, as ``codedpo run`` takes them.
        benchmarks: Names with commas between them.
        limit: ``evaluation.limit``.
        samples: ``evaluation.samples``.
        temperature: ``evaluation.temperature``.
        top_p: ``evaluation.top_p``.
        efficiency: ``evaluation.efficiency``.

    Raises:
        ConfigError: a key or value is not allowed.
    """
    given = {
        "benchmarks": [name.strip() for name in benchmarks.split(",") if name.strip()] or None,
        "limit": limit,
        "samples": samples,
        "temperature": temperature,
        "top_p": top_p,
        "efficiency": efficiency or None,
    }
    section = {key: value for key, value in given.items() if value is not None}
    return config_of({"name": FOLDER, "evaluation": section}, list(overrides), "the evaluation's settings")


def evaluate(
    subject: str, config: Config, voice: Voice, *, against: str = "", folder: Path | None = None
) -> list[Score]:
    """Judge one subject, or two on the same problems, and store samples and result.

    Args:
        subject: ``canonical``, a file of samples, a model or an address.
        config: Its sections ``evaluation``, ``sandbox``, ``resources``, ``model`` (for the key of an endpoint).
        voice: Shows progress.
        against: A second subject; the difference is ``subject`` less ``against``.
        folder: Where samples, replies and result are stored.

    Returns:
        One score for each benchmark, in the order of the config; figures of both subjects are in it.

    Raises:
        ConfigError, DataError, BackendError: a subject, benchmark or sandbox cannot be used.
        StaleError: the folder has results of these subjects that were made with other settings, or a subject has
            changed since.
    """
    subjects = [Subject(name) for name in (subject, against) if name]
    if subject == against:
        raise ConfigError(f"{subject} is compared with itself; name another one after --against.")
    if len(places := {one.folder_name for one in subjects}) < len(subjects):
        raise ConfigError(
            f"{subject} and {against} would be stored in one folder, {places.pop()}; rename one, or name another "
            "after --against."
        )
    if config.evaluation.efficiency and not against:
        raise ConfigError("efficiency compares two subjects; name the other one after --against.")
    folder = folder or Path(config.runs_folder) / FOLDER
    evaluation = _Evaluation(config, voice, folder, subjects)
    for place, noted in evaluation.settings.items():
        stored.check_folder(place, noted)
    scores = []
    try:
        judged = [evaluation.judge(one) for one in subjects]
        for name in evaluation.benchmarks:
            rows = [row for samples, _ in judged for row in samples if row.benchmark == name]
            speeds = evaluation.speeds(name, rows, against, subject) if config.evaluation.efficiency else []
            figures = metrics_of(rows, config.seed, before=against, after=subject)
            scores.append(
                Score(
                    benchmark=name,
                    subjects=[one.name for one in subjects],
                    samples=rows,
                    problems=evaluation.problems[name],
                    figures=[*figures, *figures_of(speeds, config.seed)],
                    cpu_s={one.name: cpu[name] for one, (_, cpu) in zip(subjects, judged, strict=True)},
                    graded=evaluation.graded,
                    speeds=speeds,
                    files={one.name: evaluation.samples_file(one, name) for one in subjects},
                    folder=evaluation.result_folder,
                )
            )
    finally:
        evaluation.services.close()
    stored.begin(evaluation.result_folder, evaluation.settings[evaluation.result_folder])
    stored.add(evaluation.result_folder, json_of(scores))
    return scores


class _Evaluation:
    """The subjects, and the benchmarks and the sandbox that they share."""

    def __init__(self, config: Config, voice: Voice, folder: Path, subjects: Sequence[Subject]) -> None:
        self.config, self.voice, self.folder = config, voice, folder
        self.services = Services(config, folder, voice)
        self.graded: dict[str, dict[str, list[bool]]] = {}
        """Verdicts that came with a file of samples: subject -> task id -> program by program."""
        names = config.evaluation.benchmarks
        self.benchmarks: Benchmarks = {name: self.services.benchmark(name) for name in names}
        self.all_problems = {name: self.benchmarks[name].problems() for name in names}
        self.problems: dict[str, tuple[Problem, ...]] = {
            name: found[: config.evaluation.limit or None] for name, found in self.all_problems.items()
        }
        self.files = {one.name: read_samples(one.path) for one in subjects if one.kind == "samples"}
        self.engines = {one.name: generator_of(one, config) for one in subjects if one.kind == "model"}
        states = [self._state(one) for one in subjects]
        self.settings = {
            self.place(one): stored.settings_of(config, is_asked=one.kind == "model", subject=state)
            for one, state in zip(subjects, states, strict=True)
        }
        """By the folder that they are noted in."""
        self.result_folder = self.place(subjects[0])
        if len(subjects) > 1:
            self.result_folder /= f"against-{subjects[1].folder_name}"
            self.settings[self.result_folder] = stored.settings_of(
                config,
                is_asked=any(one.kind == "model" for one in subjects),
                subject=states[0],
                against=states[1],
            )

    def _state(self, subject: Subject) -> str:
        """Return a digest or name that changes when what a subject is changes."""
        if subject.kind == "model":
            return self.engines[subject.name].identity
        return f"file {file_sha256(subject.path)[:16]}" if subject.kind == "samples" else subject.name

    def place(self, subject: Subject) -> Path:
        """Return the folder of a subject, another one for every limit."""
        limit = self.config.evaluation.limit
        return self.folder / (f"{subject.folder_name}-first-{limit}" if limit else subject.folder_name)

    def samples_file(self, subject: Subject, benchmark: str) -> Path:
        """Return where the samples of a subject are stored."""
        return self.place(subject) / f"{_file_name(benchmark)}.jsonl"

    def sandbox(self, benchmark: str) -> Sandbox:
        return self.services.sandbox_for(self.benchmarks[benchmark])

    def speeds(self, benchmark: str, samples: Sequence[Sample], before: str, after: str) -> list[Speed]:
        """Time the right answers of two subjects to the same problems, and store what was measured."""
        entered = races(samples, self.problems[benchmark], benchmark, before, after)
        found = measure(self.sandbox(benchmark), self.benchmarks[benchmark], entered, self.voice)
        lines = (json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in found)
        stored.begin(self.result_folder, self.settings[self.result_folder])
        path = self.result_folder / f"{_file_name(benchmark)}-speeds.jsonl"
        write_atomically(path, "".join(lines).encode())
        return found

    def judge(self, subject: Subject) -> tuple[list[Sample], dict[str, float]]:
        """Judge one subject; return its samples, and the CPU seconds of judging for each benchmark."""
        rows_of = {"canonical": self._canonical, "samples": self._file, "model": self._model}[subject.kind]
        rows: list[Sample] = []
        spent: dict[str, float] = {}
        for name, run in rows_of(subject).items():
            self.sandbox(name).probe()
            before = cpu_seconds()
            found = run()
            # Helpers that still run are read in clock ticks, so that a short judgement can come out below 0.
            spent[name] = max(0.0, cpu_seconds() - before)
            rows += found
            stored.begin(self.place(subject), self.settings[self.place(subject)])
            lines = (json.dumps(_line(row), ensure_ascii=False) + "\n" for row in found)
            write_atomically(self.samples_file(subject, name), "".join(lines).encode())
        return rows, spent

    def _canonical(self, subject: Subject) -> dict[str, Callable[[], list[Sample]]]:
        programs = {
            name: {
                problem.problem_id: [problem.canonical_solution]
                for problem in found
                if problem.canonical_solution
            }
            for name, found in self.problems.items()
        }
        return self._of_programs(subject, programs)

    def _file(self, subject: Subject) -> dict[str, Callable[[], list[Sample]]]:
        """Judge a file of samples: the problems that it has samples for.

        Raises:
            DataError: the file has nothing for one of the benchmarks.
        """
        file = self.files[subject.name]
        found = file.programs
        self.graded[subject.name] = file.graded
        known = {problem.problem_id for problems in self.all_problems.values() for problem in problems}
        unknown = [task_id for task_id in found if task_id not in known]
        names = ", ".join(self.benchmarks)
        for name, problems in self.all_problems.items():
            if not any(problem.problem_id in found for problem in problems):
                raise DataError(
                    f"{subject.path} has no sample for {name} (its first task is {next(iter(found))}); name only "
                    "benchmarks that it belongs to with --benchmarks."
                )
            if not any(problem.problem_id in found for problem in self.problems[name]):
                raise DataError(
                    f"{subject.path} has no sample for the first {len(self.problems[name])} problems of {name}; raise "
                    "--limit or leave it out."
                )
        if unknown:
            self.voice.say(
                f"{subject.name}: {len(unknown)} of its {len(found)} tasks are not in {names}, such as {unknown[0]}."
            )
        for name, problems in self.problems.items():
            missing = sum(problem.problem_id not in found for problem in problems)
            if missing:
                self.voice.say(
                    f"{subject.name}: no sample for {missing} of {len(problems)} problems of {name}; "
                    "its figures are over the others."
                )
        return self._of_programs(
            subject, {name: file.answers(problems) for name, problems in self.problems.items()}
        )

    def _of_programs(
        self, subject: Subject, programs: dict[str, dict[str, list[str]]]
    ) -> dict[str, Callable[[], list[Sample]]]:
        def run(name: str) -> list[Sample]:
            items = [
                Item(subject.name, name, problem)
                for problem in self.problems[name]
                if problem.problem_id in programs[name]
            ]
            codes = [programs[name][item.problem.problem_id] for item in items]
            rows = judged_programs(self.sandbox(name), self.benchmarks[name], items, codes)
            return list(self.voice.follow(f"{name}: {subject.name}", rows, sum(map(len, codes))))

        return {name: lambda name=name: run(name) for name in self.benchmarks}  # type: ignore[misc]

    def _model(self, subject: Subject) -> dict[str, Callable[[], list[Sample]]]:
        """Ask a model all problems of all benchmarks, once the harness has judged itself."""
        items = [
            Item(subject.name, name, problem) for name, found in self.problems.items() for problem in found
        ]
        check_harness(self.services.sandbox_for, self.benchmarks, items, self.voice)
        requests = requests_of(items, self.benchmarks, self.config)
        cached = CachedGenerator(self.engines[subject.name], self.folder / "requests.sqlite")
        replies = ask(cached, requests, self.voice, f"replies of {subject.name}")

        def run(name: str) -> list[Sample]:
            own = [item for item in items if item.benchmark == name]
            rows = judged_replies(self.services.sandbox_for, self.benchmarks, self.config, own, replies)
            count = sum(len(replies[item.key]) for item in own)
            return list(self.voice.follow(f"{name}: {subject.name}", rows, count))

        return {name: lambda name=name: run(name) for name in self.benchmarks}  # type: ignore[misc]


def _line(row: Sample) -> dict[str, Any]:
    return {"task_id": row.problem_id, **asdict(row)}


def _file_name(benchmark: str) -> str:
    return benchmark.replace(":", "-")
