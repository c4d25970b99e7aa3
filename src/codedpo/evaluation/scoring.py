"""Replies -> programs -> verdicts -> figures. Pure but for the sandbox that is handed in."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from codedpo.benchmarks.base import Benchmark, Problem
from codedpo.core.records import Metric, Outcome, Sample
from codedpo.core.rng import stream
from codedpo.evaluation.metrics import mcnemar_p, paired_difference, pass_at_k, pass_rate
from codedpo.llm.parse import Extraction, extract_code, extract_program
from codedpo.sandbox.base import Cell, Sandbox

BEFORE, AFTER, DIFFERENCE = "before", "after", "difference"
FENCE = re.compile(r"^```[^\n]*\n(.*?)(?:^```|\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one program."""

    outcome: str
    error_type: str = ""
    cpu_ns: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """One reply as it is judged: by the program that extraction finds, and by its first block as it stands."""

    solution: str
    """Empty where extraction finds none."""
    extraction: Extraction
    plain: str


def answer_of(text: str, problem: Problem) -> Answer:
    """Read a reply both ways."""
    found = extract_code(text, problem.entry_point) if problem.entry_point else extract_program(text)
    return Answer(found.code, found.outcome, plain_code(text))


def plain_code(text: str) -> str:
    """Return the first fenced block of a reply, or all of it where there is none: no trimming, no mending."""
    block = FENCE.search(text)
    return block.group(1) if block else text


def verdict_of(cells: Sequence[Cell]) -> Verdict:
    """Join the cells of one program: it passed only if all did; otherwise the first that did not says why."""
    time = sum(cell.cpu_ns for cell in cells)
    bad = next((cell for cell in cells if cell.outcome is not Outcome.PASSED), None)
    if bad is None:
        return Verdict(Outcome.PASSED.value, cpu_ns=time)
    return Verdict(bad.outcome.value, bad.error_type, time)


def judge(
    sandbox: Sandbox, benchmark: Benchmark, work: Sequence[tuple[Problem, Sequence[str]]]
) -> Iterator[dict[str, Verdict]]:
    """Run programs of each problem; yields program -> verdict, in the order of ``work``. Equal ones run once.

    Where the sandbox lacks what a problem needs, its programs are not run and their verdict says so.
    """
    distinct = [(problem, list(dict.fromkeys(codes)), lacking(sandbox, problem)) for problem, codes in work]
    jobs = (benchmark.job(problem, codes) for problem, codes, lack in distinct if codes and not lack)
    results = iter(sandbox.run(jobs))
    for _, codes, lack in distinct:
        if lack:
            yield dict.fromkeys(codes, Verdict(Outcome.NOT_RUN.value, lack))
            continue
        cells = next(results).cells if codes else ()
        yield {code: verdict_of(of_one) for code, of_one in zip(codes, cells, strict=True)}
    # A stream that is dropped before its end takes the sandbox's processes along, and what they say of their CPU time.
    next(results, None)


def lacking(sandbox: Sandbox, problem: Problem) -> str:
    """Say what a problem needs and the sandbox lacks; empty where it has all."""
    if problem.needs:
        return f"needs {problem.needs}"
    names = [name for name in problem.modules if name in sandbox.probe().missing_modules]
    return f"lacks {', '.join(names)}" if names else ""


def failing_canonical(
    sandbox: Sandbox, benchmark: Benchmark, problems: Sequence[Problem]
) -> dict[str, Verdict]:
    """Run the published solutions: problem id -> verdict of those that do not pass, which should be none."""
    known = [problem for problem in problems if problem.canonical_solution]
    verdicts = judge(sandbox, benchmark, [(problem, [problem.canonical_solution]) for problem in known])
    return {
        problem.problem_id: verdict
        for problem, of_one in zip(known, verdicts, strict=True)
        if (verdict := of_one[problem.canonical_solution]).outcome
        not in (Outcome.PASSED.value, Outcome.NOT_RUN.value)
    }


def metrics_of(
    samples: Sequence[Sample], seed: int, *, before: str = BEFORE, after: str = AFTER
) -> list[Metric]:
    """Compute every figure of every benchmark: each model, then the paired difference of the two.

    Names: ``pass@k`` for k = 1 and, with several samples a problem, the least number of samples that a problem
    has; ``pass@1 without extraction``, which judges the first block as it stands; ``mcnemar_p`` with one sample.
    Samples that could not be run here (``NOT_RUN``) are left out: they are no failures.

    Args:
        samples: Of one model, or of two on the same problems; the difference is over the problems of both.
        seed: Of the bootstrap.
        before: Name of the model that ``after`` is compared with.
        after: Name of the other one.
    """
    rows: list[Metric] = []
    ran = [sample for sample in samples if sample.outcome != Outcome.NOT_RUN.value]
    for benchmark in dict.fromkeys(sample.benchmark for sample in ran):
        own = [sample for sample in ran if sample.benchmark == benchmark]
        counts = Counter((sample.model, sample.problem_id) for sample in own)
        for k in sorted({1, min(counts.values())}):
            rows += _figure(own, f"pass@{k}", k, seed, (before, after), plain=False)
        if any(sample.plain_outcome for sample in own):
            rows += _figure(own, "pass@1 without extraction", 1, seed, (before, after), plain=True)
    return rows


def _figure(
    samples: Sequence[Sample], name: str, k: int, seed: int, models: tuple[str, str], *, plain: bool
) -> list[Metric]:
    benchmark = samples[0].benchmark
    passed: dict[str, Counter[str]] = defaultdict(Counter)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for sample in samples:
        outcome = sample.plain_outcome if plain else sample.outcome
        passed[sample.model][sample.problem_id] += outcome == Outcome.PASSED.value
        counts[sample.model][sample.problem_id] += 1
    rows = []
    for model, by_problem in passed.items():
        random = stream(seed, "evaluation", benchmark, name, model)
        found = pass_rate(list(by_problem.values()), list(counts[model].values()), k, random)
        rows.append(Metric(model, benchmark, name, found.value, found.low, found.high, found.count))
    shared = [problem_id for problem_id in passed[models[0]] if problem_id in passed[models[1]]]
    if plain or not shared:
        return rows
    before, after = (
        [pass_at_k(counts[model][problem_id], passed[model][problem_id], k) for problem_id in shared]
        for model in models
    )
    change = paired_difference(before, after, stream(seed, "evaluation", benchmark, name, DIFFERENCE))
    rows.append(Metric(DIFFERENCE, benchmark, name, change.value, change.low, change.high, change.count))
    if all(counts[model][problem_id] == 1 for model in models for problem_id in shared):
        gained = sum(late > early for early, late in zip(before, after, strict=True))
        lost = sum(late < early for early, late in zip(before, after, strict=True))
        p = mcnemar_p(gained, lost)
        rows.append(Metric(DIFFERENCE, benchmark, "mcnemar_p", p, p, p, gained + lost))
    return rows
