"""Inputs that tell fast from slow: calls of credible tests, grown until the fastest solution takes a measurable time.

A call whose input is tiny measures the cost of a call, not of the algorithm. A grown input has no expected value, so
it counts only while all solutions, each believed right, return the same one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from codedpo.core.records import Outcome
from codedpo.pairs.mutation import MUTATIONS, grown
from codedpo.sandbox.base import Cell, Check, Job, Sandbox, TimingJob

GROWTH = 4
"""Factor of one step."""
SLOWEST_SECONDS = 0.1
"""An input that takes any solution longer is grown too far: timing it many times would cost more than it tells."""

_Origin = tuple[str, str]
"""A call and the mutation that it grows by."""


@dataclass(frozen=True, slots=True)
class GrowthRule:
    """How many inputs are wanted, and how large."""

    inputs: int
    """At most so many; 0: none."""
    least_ms: float
    """CPU time of the fastest solution from which an input is slow enough."""
    most_factor: int
    """Largest growth."""


@dataclass(frozen=True, slots=True)
class GrownCall:
    """A call that all solutions answer alike."""

    call: str
    mutation: str
    factor: int
    fastest_ns: int
    """CPU time of the fastest solution, measured once."""

    @property
    def text(self) -> str:
        """The grown expression."""
        return grown(self.call, self.mutation, self.factor) or self.call

    @property
    def label(self) -> str:
        """How the input was made, short enough to store: ``f([3, 1])  # continued x 256``."""
        return f"{self.call}  # {self.mutation} x {self.factor}"


def slow_calls(sandbox: Sandbox, jobs: Sequence[TimingJob], rule: GrowthRule) -> list[list[GrownCall]]:
    """Grow the longest calls of every job step by step, by every mutation; return the slowest that stay comparable.

    A step of all jobs runs at once, so that every worker of the sandbox has something to do.

    Args:
        sandbox: what runs the solutions.
        jobs: programs that are believed right, and calls of credible tests. The time that a call may take is cut to
            ``SLOWEST_SECONDS``.
        rule: what is wanted.

    Returns:
        For each job at most ``rule.inputs`` calls, the one that costs the fastest solution most first. An input stops
        growing when it is slow enough, when solutions disagree on it, or when one of them fails or runs out of time.
    """
    if not rule.inputs:
        return [[] for _ in jobs]
    growing = [_longest(job.calls, rule.inputs) for job in jobs]
    found: list[dict[_Origin, GrownCall]] = [{} for _ in jobs]
    factor = GROWTH
    while factor <= rule.most_factor:
        texts = [_texts(origins, factor) for origins in growing]
        going = [number for number, of_job in enumerate(texts) if of_job]
        if not going:
            break
        matrices = sandbox.run(_growth_job(jobs[number], texts[number]) for number in going)
        growing = [[] for _ in jobs]
        for number, matrix in zip(going, matrices, strict=True):
            for position, (call, mutation) in enumerate(texts[number].values()):
                cells = [row[position] for row in matrix.cells]
                if _agree(cells):
                    fastest = min(cell.cpu_ns for cell in cells)
                    found[number][call, mutation] = GrownCall(call, mutation, factor, fastest)
                    if fastest < rule.least_ms * 1e6:
                        growing[number].append((call, mutation))
        factor *= GROWTH
    return [sorted(of_job.values(), key=lambda one: -one.fastest_ns)[: rule.inputs] for of_job in found]


def _longest(calls: Sequence[str], count: int) -> list[_Origin]:
    longest = sorted(dict.fromkeys(calls), key=len, reverse=True)[:count]
    return [(call, mutation) for call in longest for mutation in MUTATIONS]


def _texts(origins: Sequence[_Origin], factor: int) -> dict[str, _Origin]:
    """Return the grown expressions, each with what it was grown from; equal ones once."""
    texts: dict[str, _Origin] = {}
    for call, mutation in origins:
        text = grown(call, mutation, factor)
        if text is not None:
            texts.setdefault(text, (call, mutation))
    return texts


def _growth_job(job: TimingJob, texts: Iterable[str]) -> Job:
    limits = replace(job.limits, cpu_seconds=min(job.limits.cpu_seconds, SLOWEST_SECONDS))
    return Job(job.job_id, job.solutions, tuple(Check(call=text) for text in texts), limits)


def _agree(cells: Sequence[Cell]) -> bool:
    digests = {cell.value_digest for cell in cells}
    return all(cell.outcome is Outcome.PASSED for cell in cells) and len(digests) == 1 and "" not in digests
