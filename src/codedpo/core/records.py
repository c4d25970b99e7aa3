"""Every row type, and so every table, of a run.

A row is a frozen dataclass; its fields are the columns of one Parquet table (``core.tables`` derives the
schema). Rows hold ids, never other rows. Ids are readable: seed ``s000042``, task ``t000042``, solution
``t000042/s07``, test ``t000042/a07``, pair ``t000042/correctness/0``.
"""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """What one solution did on one test. Only ``PASSED`` counts as a link of the pass matrix."""

    PASSED = "passed"
    FAILED = "failed"
    """The assertion did not hold, or the returned value differs from the expected one."""
    ERROR = "error"
    """The call raised; ``error_type`` names the exception."""
    TIMEOUT = "timeout"
    MEMORY = "memory"
    CRASHED = "crashed"
    """The process died: signal, exit, seccomp."""
    NOT_LOADED = "not_loaded"
    """The solution itself did not load (syntax error, exception or time-out at definition)."""
    OPAQUE = "opaque"
    """The call returned a value that is not plain data, so the split oracle cannot compare it."""
    NOT_RUN = "not_run"
    """Skipped after too many time-outs of the same solution."""


class Oracle(StrEnum):
    """Where the verdict was reached."""

    SPLIT = "split"
    """The expectation never entered the process that ran the solution."""
    IN_PROCESS = "in_process"
    """The assertion ran beside the solution, which could therefore forge it."""


class PairKind(StrEnum):
    """Why the chosen side is preferred."""

    CORRECTNESS = "correctness"
    EFFICIENCY = "efficiency"


class SpeedFigure(StrEnum):
    """Names of the figures that compare the CPU time of two models' right answers."""

    MEAN = "speed-up"
    """Mean over problems of the CPU time before over that after."""
    MEDIAN = "median speed-up"
    GEOMETRIC = "geometric mean speed-up"
    """Exchanging the models gives its reciprocal, and one problem with a huge ratio does not decide it."""
    FASTER = "at least 10% faster"
    """Share of problems whose interval leaves no doubt that the time after is less by a factor of 1.1."""
    SLOWER = "at least 10% slower"
    MEAN_BY_EXPERIMENT = "speed-up by experiment"
    """Median, least and greatest mean speed-up of the repeated experiments, not an interval over problems."""
    FASTER_BY_EXPERIMENT = "at least 10% faster by experiment"


class TextKind(StrEnum):
    """What a model was asked for."""

    CONCEPTS = "concepts"
    TASK = "task"
    SOLUTION = "solution"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Seed:
    """One function of open-source code, from which a task is made."""

    seed_id: str
    name: str
    code: str
    repo_name: str
    """Package name and version (``boltons==25.0.0``), repository name, or folder name."""
    path: str
    license: str
    """SPDX identifier, lower case."""
    first_line: int
    last_line: int
    digest: str
    """sha256 of ``code``."""


@dataclass(frozen=True, slots=True)
class Text:
    """One raw reply of a model, kept whatever it holds; parsing is a separate, repeatable step."""

    text_id: str
    kind: str
    """A ``TextKind`` value."""
    parent_id: str
    """The seed (concepts, task) or the task (solution, test) that it was written for."""
    position: int
    """Which sample of its request, from 0."""
    prompt: str
    """The exact messages sent, as JSON."""
    text: str
    finish_reason: str
    """``stop`` or ``length``."""
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Task:
    """One programming task: what the model is asked to solve."""

    task_id: str
    seed_id: str
    """The seed that it was made from; empty for tasks of ``tasks.file``."""
    concepts: list[str]
    prompt: str
    """The instruction in words, self-contained."""
    signature: str
    """First line of the function to write, ``def name(arguments) -> type:``."""
    entry_point: str
    source_id: str = ""
    """What ``tasks.file`` calls the task; empty for tasks made from seeds."""


@dataclass(frozen=True, slots=True)
class Solution:
    """One program that a model wrote for a task, as extracted from its text."""

    solution_id: str
    task_id: str
    text_id: str
    code: str


@dataclass(frozen=True, slots=True)
class Test:
    """One assertion that a model wrote for a task."""

    test_id: str
    task_id: str
    text_id: str
    code: str
    """The assertion as it runs, ``assert f(1) == 2``."""
    call: str
    """The call whose value is compared, ``f(1)``; empty where the assertion has another form."""
    expected: str
    """The expected value as a Python expression, ``2``; empty where the assertion has another form."""

    __test__ = False  # keeps pytest from collecting it


@dataclass(frozen=True, slots=True)
class Execution:
    """One solution run against one test: one cell of the pass matrix."""

    task_id: str
    solution_id: str
    test_id: str
    outcome: str
    """An ``Outcome`` value."""
    error_type: str
    """Exception class name where the outcome is ``error`` or ``not_loaded``, else empty."""
    value_digest: str
    """sha256 (16 hex digits) of the canonical form of the value that the call returned; empty if none."""
    cpu_ns: int
    """CPU time of the call inside the child, nanoseconds."""
    peak_kib: int
    """Peak resident memory of the child that ran the solution, KiB."""
    oracle: str
    """An ``Oracle`` value."""
    isolation_level: int
    """3 namespaces + Landlock + seccomp + limits, 2 without namespaces, 1 one of the two, 0 limits only."""


@dataclass(frozen=True, slots=True)
class SolutionScore:
    """The score that a ranking strategy gave to a solution."""

    task_id: str
    solution_id: str
    strategy: str
    score: float
    """Scale-free: the best solution of a task has 1 unless all score 0."""
    rank: int
    """1 is best; equal scores share the best rank of their group."""
    probability: float = -1.0
    """Chance that the solution is right if it is the best of its task; -1: the strategy does not estimate it."""


@dataclass(frozen=True, slots=True)
class TestScore:
    """The score that a ranking strategy gave to a test; only some strategies score tests."""

    task_id: str
    test_id: str
    strategy: str
    score: float

    __test__ = False


@dataclass(frozen=True, slots=True)
class Convergence:
    """How far one iteration of the score moved the solutions of a task (the paper's convergence figure)."""

    task_id: str
    iteration: int
    largest_change: float
    """Largest absolute change of a solution's normalised score against the iteration before."""
    order_changes: int
    """Number of solution pairs whose order differs from the iteration before."""


@dataclass(frozen=True, slots=True)
class Timing:
    """CPU time of one solution over calls that all compared solutions answer alike."""

    task_id: str
    solution_id: str
    cpu_ns: float
    """Minimum over repeats of the sum over the calls, nanoseconds."""
    repeats: int
    samples_ns: list[float]
    """Every repeat, in measuring order; interleaved with the task's other solutions."""
    inputs: list[str]
    """The calls: those of credible tests, or what was grown from them, ``f([3, 1])  # continued x 256``."""
    are_grown: bool
    """Whether the inputs were grown."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One preference pair."""

    pair_id: str
    task_id: str
    kind: str
    """A ``PairKind`` value."""
    prompt: str
    """The user message that the solutions answered, exactly as it was sent."""
    chosen: str
    """The assistant message: the chosen solution as the model is trained to write it."""
    rejected: str
    chosen_solution_id: str
    rejected_solution_id: str
    chosen_score: float
    rejected_score: float
    chosen_cpu_ns: float
    """Median CPU time over the timed calls; 0 for correctness pairs."""
    rejected_cpu_ns: float
    speed_ratio: float
    """rejected over chosen CPU time; 0 for correctness pairs."""
    speed_ratio_low: float
    """Lower 95% bound of ``speed_ratio``; 0 for correctness pairs."""
    split: str
    """``train`` or ``validation``."""
    probability: float = -1.0
    """Chance that the chosen side is right and the rejected wrong; -1: not estimated."""
    speed_ratio_high: float = 0.0
    """Upper 95% bound of ``speed_ratio``; 0 for correctness pairs."""


@dataclass(frozen=True, slots=True)
class AlternativePair:
    """A correctness pair that another strategy than the pair-making one would make of the same scores and rules."""

    task_id: str
    strategy: str
    chosen_solution_id: str
    rejected_solution_id: str
    probability: float
    """As in ``Pair``."""


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """One logged step of training or of validation."""

    step: int
    epoch: float
    split: str
    """``train`` or ``validation``."""
    name: str
    """``loss``, ``rewards/margins``, ``logps/chosen``, ...: the names that TRL logs."""
    value: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer of one model to one benchmark problem, with everything needed to check the verdict."""

    sample_id: str
    """``model/benchmark/problem/position``."""
    model: str
    """``before`` or ``after``."""
    benchmark: str
    problem_id: str
    position: int
    prompt: str
    """The exact messages sent, as JSON."""
    text: str
    """The raw reply."""
    finish_reason: str
    completion_tokens: int
    solution: str
    """The program that was executed."""
    outcome: str
    error_type: str
    """Exception class name, or why no program was found in the reply."""
    cpu_ns: int
    plain_outcome: str
    """Outcome of the first Markdown block as it stands, without extraction."""
    efficiency: float = -1.0
    """Efficiency score on a benchmark that has one, 0 for a wrong answer; -1: the benchmark has none."""


@dataclass(frozen=True, slots=True)
class Speed:
    """CPU time of a right answer of both models to one problem, on the benchmark's inputs."""

    benchmark: str
    problem_id: str
    before_id: str
    """The timed sample of the model before."""
    after_id: str
    inputs: int
    """Inputs that one sample of CPU time runs over."""
    inputs_left_out: int
    """Inputs that would have made a sample too long."""
    before_ns: list[float]
    """Every sample, nanoseconds a pass over the inputs, experiment after experiment; empty where nothing was timed."""
    after_ns: list[float]
    """As many, each taken in the same round as that of ``before_ns``."""
    ratio: float
    """Median of before over after, above 1 where the answer after is faster; 1 for one and the same program, 0 where
    there is none."""
    low: float
    """Lower 95% bound of ``ratio``."""
    high: float
    note: str
    """``same_program`` (not timed), or why there is no ratio: ``no_call``, ``not_passed_again``, ``too_slow`` (every
    input), ``unfinished``."""


HELD_OUT, TESTS_PASSED = "held_out_tasks", "tests passed"
"""Benchmark and name of the figures of the run's own held-out tasks."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of the evaluation with its interval."""

    model: str
    """``before``, ``after`` or ``difference``."""
    benchmark: str
    name: str
    """``pass@1``, ``pass@10``, ..., ``TESTS_PASSED``, or a ``SpeedFigure``, of the model ``difference``."""
    value: float
    low: float
    high: float
    """95% interval."""
    count: int
    """Number of problems (or problem pairs)."""


@dataclass(frozen=True, slots=True)
class Reject:
    """One row that a stage could not make, and why."""

    row_id: str
    reason: str
    """Short and fixed, so that it can be counted: ``no_docstring``, ``near_duplicate``, ``all_equal``."""
    detail: str
    """What a person needs to see the cause; may be empty."""
