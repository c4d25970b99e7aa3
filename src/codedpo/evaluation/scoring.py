"""Replies -> programs -> verdicts -> figures. Pure but for the sandbox that is handed in."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median_high

from codedpo.benchmarks.base import Benchmark, Problem, Timed
from codedpo.core.records import Metric, Outcome, Sample
from codedpo.core.rng import stream
from codedpo.evaluation.metrics import (
    eff_at_k,
    mcnemar_p,
    mean_interval,
    paired_difference,
    pass_at_k,
    pass_rate,
)
from codedpo.llm.parse import Extraction, extract_code, extract_program
from codedpo.sandbox.base import Cell, Job, Sandbox

BEFORE, AFTER, DIFFERENCE = "before", "after", "difference"
TRIES = (1, 10, 100)
"""k of pass@k and eff@k, as HumanEval's authors and evalplus give them."""
PROGRAMS_OF_A_JOB = 8
"""Of one problem. Fewer spread better over the processors, but every job runs the reference and compiles the checks
anew: a further job costs about as much as one more program that takes long, or as four quick ones."""
FENCE = re.compile(r"^```[^\n]*\n(.*?)(?:^```|\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one program."""

    outcome: str
    error_type: str = ""
    cpu_ns: int = 0
    efficiency: float = -1.0
    """The benchmark's efficiency score; -1: it has none."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One reply as it is judged: by the program that extraction finds, and by its first block as it stands."""

    solution: str
    """Empty where extraction finds none."""
    extraction: Extraction
    plain: str


def answer_of(text: str, problem: Problem) -> Answer:
    """Read a reply both ways."""
    if problem.entry_point:
        found = extract_code(text, problem.entry_point)
        if problem.method and found.outcome is Extraction.NO_ENTRY_POINT:
            found = extract_code(text, problem.method)
    else:
        found = extract_program(text, problem.marks)
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

    Where a problem has base and further inputs, only programs that pass the base inputs run on the others: a wrong
    program can take minutes over a thousand inputs. Many programs of a problem are cut into several jobs, which run at
    once. Where the sandbox lacks what a problem needs, its programs are not run and their verdict says so.
    """
    distinct = [(problem, list(dict.fromkeys(codes)), lacking(sandbox, problem)) for problem, codes in work]
    ready = [(problem, codes) for problem, codes, lack in distinct if codes and not lack]
    heads = list(_cells(sandbox, benchmark, ready, further=False))
    further = [
        (problem, [code for code, row in known.items() if _has_further(problem) and _passed(row)])
        for (problem, _), known in zip(ready, heads, strict=True)
    ]
    tails = _cells(sandbox, benchmark, further, further=True)
    judged = iter(heads)
    for _, codes, lack in distinct:
        if lack or not codes:
            yield dict.fromkeys(codes, Verdict(Outcome.NOT_RUN.value, lack))
            continue
        known, more = next(judged), next(tails)
        yield {code: verdict_of((*known[code], *more.get(code, ()))) for code in codes}
    # A stream that is left before its end takes the sandbox's processes along, and what they say of their CPU time.
    for _ in tails:
        raise AssertionError("there were more results than problems")


def _cells(
    sandbox: Sandbox, benchmark: Benchmark, work: Sequence[tuple[Problem, Sequence[str]]], *, further: bool
) -> Iterator[dict[str, tuple[Cell, ...]]]:
    """Yield program -> cells of each problem, on the base inputs or on all others."""
    matrices = sandbox.run(
        _part(benchmark, problem, some, further=further) for problem, codes in work for some in _cut(codes)
    )
    for _, codes in work:
        rows = [row for _ in _cut(codes) for row in next(matrices).cells]
        yield dict(zip(codes, rows, strict=True))
    for _ in matrices:
        raise AssertionError("the sandbox gave more results than there were jobs")


def _cut(codes: Sequence[str]) -> list[Sequence[str]]:
    """Cut programs into as few jobs as ``PROGRAMS_OF_A_JOB`` allows, of sizes that differ by one at most."""
    count = -(-len(codes) // PROGRAMS_OF_A_JOB)
    ends = [len(codes) * number // count for number in range(1, count + 1)]
    return [codes[start:end] for start, end in pairwise([0, *ends])]


def _passed(cells: Sequence[Cell]) -> bool:
    return all(cell.outcome is Outcome.PASSED for cell in cells)


def _has_further(problem: Problem) -> bool:
    return bool(problem.base_inputs and problem.plus_inputs)


def _part(benchmark: Benchmark, problem: Problem, codes: Sequence[str], *, further: bool) -> Job:
    """Return the job of the base inputs, or that of all others; without such a division the whole job."""
    job = benchmark.job(problem, codes)
    if not _has_further(problem):
        return job
    base = len(problem.base_inputs)
    return replace(job, checks=job.checks[base:] if further else job.checks[:base])


def judge_and_time(
    sandbox: Sandbox, benchmark: Benchmark, work: Sequence[tuple[Problem, Sequence[str]]]
) -> Iterator[dict[str, Verdict]]:
    """Judge, and score how fast right programs are where the benchmark does, once all have been judged."""
    verdicts = judge(sandbox, benchmark, work)
    if not isinstance(benchmark, Timed):
        yield from verdicts
        return
    for (problem, _), known in zip(work, list(verdicts), strict=True):
        right = [code for code, verdict in known.items() if verdict.outcome == Outcome.PASSED.value]
        found = dict(zip(right, benchmark.efficiency(sandbox, problem, right), strict=True)) if right else {}
        yield {code: replace(verdict, efficiency=found.get(code, 0.0)) for code, verdict in known.items()}


def lacking(sandbox: Sandbox, problem: Problem) -> str:
    """Say what a problem needs and the sandbox lacks; empty where it has all."""
    if problem.needs:
        return f"needs {problem.needs}"
    if problem.writes_files and not sandbox.probe().temporary_folder:
        return "needs a temporary folder, which takes isolation level 3"
    names = [name for name in problem.modules if name in sandbox.probe().missing_modules]
    return f"lacks {', '.join(names)}" if names else ""


def canonical_verdicts(
    sandbox: Sandbox, benchmark: Benchmark, problems: Sequence[Problem]
) -> Iterator[tuple[str, Verdict]]:
    """Run the published solutions; yields problem id and verdict, which should be passed or, where it lacks something
    here, not run."""
    verdicts = judge(sandbox, benchmark, [(problem, [problem.canonical_solution]) for problem in problems])
    for problem, of_one in zip(problems, verdicts, strict=True):
        yield problem.problem_id, of_one[problem.canonical_solution]


def metrics_of(
    samples: Sequence[Sample],
    seed: int,
    *,
    before: str = BEFORE,
    after: str = AFTER,
    tries: Sequence[int] = TRIES,
) -> list[Metric]:
    """Compute every figure of every benchmark: each model, then the paired difference of the two.

    Names: ``pass@k`` for each k of ``tries`` of which half of the problems or more have as many samples, over those
    problems; ``eff@k`` likewise where the benchmark scores efficiency; ``pass@1 without extraction``, which judges the
    first block as it stands, of samples that were replies; ``mcnemar_p`` with one sample.
    Samples that could not be run here (``NOT_RUN``) are left out: they are no failures.

    Args:
        samples: Of one model, or of two on the same problems; the difference is over the problems of both.
        seed: Of the bootstrap.
        before: Name of the model that ``after`` is compared with.
        after: Name of the other one.
        tries: Numbers of samples that count as one try.
    """
    rows: list[Metric] = []
    ran = [sample for sample in samples if sample.outcome != Outcome.NOT_RUN.value]
    for benchmark in dict.fromkeys(sample.benchmark for sample in ran):
        own = [sample for sample in ran if sample.benchmark == benchmark]
        counts = Counter((sample.model, sample.problem_id) for sample in own)
        usual = median_high(counts.values())
        enough = {
            k: [sample for sample in own if counts[sample.model, sample.problem_id] >= k]
            for k in sorted({*tries})
            if k <= usual
        }
        for k, of_k in enough.items():
            rows += _figure(of_k, f"pass@{k}", k, seed, (before, after), plain=False)
        if extracted := [sample for sample in own if sample.plain_outcome]:
            rows += _figure(extracted, "pass@1 without extraction", 1, seed, (before, after), plain=True)
        if any(sample.efficiency >= 0 for sample in own):
            for k, of_k in enough.items():
                rows += _efficiency_figure(of_k, k, seed, (before, after))
    return rows


def _efficiency_figure(
    samples: Sequence[Sample], k: int, seed: int, models: tuple[str, str]
) -> Iterator[Metric]:
    """Yield eff@k of each model and the difference over the problems of both."""
    benchmark, name = samples[0].benchmark, f"eff@{k}"
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for sample in samples:
        scores[sample.model][sample.problem_id].append(max(0.0, sample.efficiency))
    values = {
        model: {problem_id: eff_at_k(of_one, k) for problem_id, of_one in by_problem.items()}
        for model, by_problem in scores.items()
    }
    for model, of_model in values.items():
        found = list(of_model.values())
        interval = mean_interval(found, stream(seed, "evaluation", benchmark, name, model))
        yield Metric(model, benchmark, name, sum(found) / len(found), *interval, len(found))
    before, after = (values.get(model, {}) for model in models)
    shared = [problem_id for problem_id in before if problem_id in after]
    if shared:
        random = stream(seed, "evaluation", benchmark, name, DIFFERENCE)
        change = paired_difference([before[one] for one in shared], [after[one] for one in shared], random)
        yield Metric(DIFFERENCE, benchmark, name, change.value, change.low, change.high, change.count)


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
