"""ENAMEL (Qiu et al., How efficient is LLM-generated code?, arXiv 2406.06647): 142 HumanEval problems whose answers are
scored by their run time beside an expert's on inputs of rising size. Apache-2.0.

A right answer has for each level l the score ``max(0, T - t_l) / (T - r_l)``, where ``t_l`` and ``r_l`` are the longest
times of the answer and of the reference on the level's inputs and the limit ``T`` is twice the reference's longest time
of all levels. An answer that takes longer than T ends there: this level and those above count 0. The efficiency score
is the mean of the levels weighted by their hardness (section 2 of the paper); wrong answers have 0.

Differences from the authors' harness: CPU time instead of wall time, answer and reference timed in turn, the time
of making the arguments subtracted, five repeats instead of six; inputs come from the published generators with the
published seed, but their helper functions are ours (``enamel_inputs``).
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np

from codedpo.benchmarks.base import MODULES, Problem
from codedpo.benchmarks.data import DataFile, find, unpacked
from codedpo.benchmarks.humaneval import completion_request, program
from codedpo.core.errors import BackendError
from codedpo.core.records import Outcome
from codedpo.sandbox.base import Check, Job, Limits, Sandbox, TimingJob

FILE = DataFile(
    path="enamel/enamel.csv",
    sha256="1b77dba08bd3dedec199abce593c86a4f611c288475c318e1775bd56d1419b14",
    urls=(
        "https://raw.githubusercontent.com/q-rz/enamel/b97da79c779b98eaa8b2a1b17a13d2eb0b6d16a5/dataset/enamel.csv",
    ),
    megabytes=0.2,
    licence="Apache-2.0",
)
NOT_SCORED = frozenset(
    (2, 23, 41, 45, 53, 60, 71, 92, 97, 99, 102, 123, 124, 135, 137, 138, 144, 148, 156, 157, 159, 160)
)
"""Numbers of the HumanEval problems that the authors leave out, as too simple or as unfit."""
TESTS = (8, 4, 4, 4)
"""Inputs of each level; level 0 tells right from wrong."""
HARDNESS = (0.0, 3.0, 3.0, 4.0)
"""Weights of the levels."""
PATIENCE = 2.0
"""The limit T as a multiple of the reference's longest time (alpha)."""
SEED = 998244353
REPEATS = 5
LIMITS = Limits(cpu_seconds=4.0, memory_mib=1900)
_LEAST_SECONDS = 1.0
"""What a program may use in any case: the time of making its inputs is not its own."""
_LEAST_NS = 1.0


@dataclass(frozen=True, slots=True)
class EnamelProblem(Problem):
    """A problem with the generator of its inputs."""

    generator: str = ""
    """Defines ``generate_input(size, lid, cid)``."""
    sizes: tuple[int, ...] = ()
    """Of each level."""


class Enamel:
    """The 142 problems that the authors score; pass@k counts answers that are right on the inputs of level 0."""

    modules: tuple[str, ...] = MODULES
    data_files: tuple[DataFile, ...] = (FILE,)

    def __init__(self, data_folder: Path | str = "") -> None:
        self._data_folder = data_folder

    def problems(self) -> tuple[Problem, ...]:
        """Return the problems."""
        text = unpacked(find(FILE, self._data_folder)).decode()
        return tuple(
            EnamelProblem(
                benchmark="enamel",
                problem_id=row["task_id"],
                prompt=row["prompt"] + "\n",
                entry_point=row["entry_point"],
                canonical_solution=f"{row['prompt']}\n{row['reference_solution']}",
                test=row["checker"],
                absolute_tolerance=1e-4 if "1e-4" in row["checker"] else 0.0,
                generator=row["input_generator"],
                sizes=tuple(map(int, row["input_levels"].split())),
            )
            for number, row in enumerate(csv.DictReader(io.StringIO(text)))
            if number not in NOT_SCORED
        )

    def request(self, problem: Problem) -> str:
        """Return the message of a chat model."""
        return completion_request(problem)

    def job(self, problem: Problem, codes: Sequence[str]) -> Job:
        """Return the job of level 0; the expected values are the reference's."""
        return level_job(_own(problem), [program(problem, code) for code in codes], 0, LIMITS)

    def efficiency(self, sandbox: Sandbox, problem: Problem, codes: Sequence[str]) -> list[float]:
        """Return the efficiency score of answers that are right on level 0; about 1 is as fast as the reference.

        Raises:
            BackendError: the reference is too slow on this machine.
        """
        own = _own(problem)
        references = [_reference_times(sandbox, own, level) for level in range(1, len(TESTS))]
        limit = PATIENCE * max(max(of_level) for of_level in references)
        return [self._score(sandbox, own, program(problem, code), limit) for code in codes]

    def _score(self, sandbox: Sandbox, problem: EnamelProblem, code: str, limit_ns: float) -> float:
        limits = replace(LIMITS, cpu_seconds=max(_LEAST_SECONDS, PATIENCE * limit_ns * 1e-9))
        scores = [0.0] * len(TESTS)
        for level in range(1, len(TESTS)):
            (matrix,) = sandbox.run([level_job(problem, [code], level, limits)])
            outcomes = {cell.outcome for cell in matrix.cells[0]}
            if outcomes & _TOO_LONG:
                break
            if outcomes != {Outcome.PASSED}:
                return 0.0
            times = _times(sandbox, problem, code, level, limits)
            if times is None or max(own for own, _ in times) >= limit_ns:
                break
            longest, reference = (max(side) for side in zip(*times, strict=True))
            scores[level] = (limit_ns - longest) / max(limit_ns - reference, _LEAST_NS)
        return float(np.average(scores, weights=HARDNESS))


_TOO_LONG = {Outcome.TIMEOUT, Outcome.MEMORY, Outcome.NOT_RUN}


def _own(problem: Problem) -> EnamelProblem:
    assert isinstance(problem, EnamelProblem)
    return problem


@cache
def _helpers() -> str:
    return resources.files("codedpo.benchmarks").joinpath("enamel_inputs.py").read_text("utf-8")


def with_inputs(problem: EnamelProblem, code: str, level: int, cases: Sequence[int]) -> str:
    """Put the inputs of some cases of a level beside a program; ``call_of`` takes fresh copies of them.

    The generator runs in a namespace of its own, in the sandbox, with a seed of each case's own.
    """
    number = int(problem.problem_id.rpartition("/")[2])
    first = sum(TESTS[:level])
    maker = (
        f"from copy import deepcopy\nimport math, random, string\n{_helpers()}\n{problem.prompt}\n    pass\n"
        f"{problem.generator}\n"
        "def make(seed, lid, cid):\n"
        "    random.seed(seed)\n"
        f"    made = generate_input({problem.sizes[level]}, lid, cid)\n"
        "    return made if isinstance(made, tuple) else (made,)\n"
    )
    cases_text = ", ".join(f"({SEED ^ number ^ (first + case)}, {level}, {case})" for case in cases)
    return (
        f"{code}\n\nimport marshal as _marshal\n_maker = {{}}\nexec({maker!r}, _maker)\n"
        f"_given = [_marshal.dumps(_maker['make'](*case)) for case in [{cases_text}]]\n"
    )


def call_of(problem: EnamelProblem, number: int) -> str:
    """Return the call on the input at a position among those that ``with_inputs`` made."""
    return f"{problem.entry_point}(*_marshal.loads(_given[{number}]))"


def level_job(problem: EnamelProblem, codes: Sequence[str], level: int, limits: Limits) -> Job:
    """Return the job of one level: one check an input, against the value of the reference."""
    cases = range(TESTS[level])
    programs = tuple(with_inputs(problem, code, level, cases) for code in codes)
    reference = with_inputs(problem, problem.canonical_solution, level, cases)
    name = f"{problem.problem_id}, level {level}"
    return Job(name, programs, tuple(_check(problem, case) for case in cases), limits, reference)


def _check(problem: EnamelProblem, case: int) -> Check:
    call = call_of(problem, case)
    if problem.entry_point == "find_zero":
        value = "(lambda xs, x: abs(sum(c * float(x) ** i for i, c in enumerate(xs))))"
        return Check(
            call=f"{value}(*_marshal.loads(_given[{case}]), {call})",
            expected="0.0",
            tolerance=problem.absolute_tolerance,
        )
    return Check(call=call, tolerance=problem.absolute_tolerance)


def _reference_times(sandbox: Sandbox, problem: EnamelProblem, level: int) -> list[float]:
    times = _times(sandbox, problem, problem.canonical_solution, level, LIMITS)
    if times is None:
        raise BackendError(
            f"ENAMEL's reference of {problem.problem_id} did not finish level {level} in {LIMITS.cpu_seconds:g} CPU "
            f"seconds and {LIMITS.memory_mib} MiB, so that no answer can be compared with it; run it on a machine that "
            "is faster or has less to do, or leave enamel out."
        )
    return [own for own, _ in times]


def _times(
    sandbox: Sandbox, problem: EnamelProblem, code: str, level: int, limits: Limits
) -> list[tuple[float, float]] | None:
    """Time a program and the reference on each input of a level, in turn.

    Returns:
        CPU nanoseconds of both for each input, without what making the arguments costs; None where one did not
        finish.
    """
    nothing = f"def {problem.entry_point}(*_, **__):\n    pass\n"
    found = []
    for case in range(TESTS[level]):
        programs = tuple(
            with_inputs(problem, one, level, [case]) for one in (code, problem.canonical_solution, nothing)
        )
        name = f"{problem.problem_id}, level {level}, input {case}"
        (result,) = sandbox.time(
            [TimingJob(name, programs, (call_of(problem, 0),), repeats=REPEATS, limits=limits)]
        )
        if not all(result.samples_ns):
            return None
        own, reference, overhead = map(np.asarray, result.samples_ns)
        found.append((hodges_lehmann(own - overhead), hodges_lehmann(reference - overhead)))
    return found


def hodges_lehmann(samples: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> float:
    """Return the median of the means of all pairs of samples (Hodges and Lehmann 1963), at least 1 ns."""
    means = (samples[:, None] + samples[None, :]) / 2
    return max(_LEAST_NS, float(np.median(means[np.tril_indices(len(samples))])))
