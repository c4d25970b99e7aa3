"""Inputs that tell fast from slow: calls of credible tests, grown until the fastest solution takes a measurable time.

A call whose input is tiny measures the cost of a call, not of the algorithm. A grown input has no expected value, so
it counts only while all solutions, each believed right, return the same one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from codedpo.core.records import Outcome
from codedpo.pairs.mutation import MUTATIONS, grown
from codedpo.sandbox.base import Cell, Check, Job, Limits, Sandbox

GROWTH = 4
"""Factor of one step."""
SLOWEST_SECONDS = 0.1
"""An input that takes any solution longer is grown too far: timing it many times would cost more than it tells."""


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


def slow_calls(
    sandbox: Sandbox,
    job_id: str,
    solutions: Sequence[str],
    calls: Sequence[str],
    limits: Limits,
    rule: GrowthRule,
) -> list[GrownCall]:
    """Grow the longest calls step by step, by every mutation, and return the slowest that stay comparable.

    Args:
        sandbox: what runs the solutions.
        job_id: names the jobs.
        solutions: programs that are believed right.
        calls: expressions of credible tests.
        limits: what a solution may use; time is cut to ``SLOWEST_SECONDS``.
        rule: what is wanted.

    Returns:
        At most ``rule.inputs`` calls, the one that costs the fastest solution most first. An input stops growing
        when it is slow enough, when solutions disagree on it, or when one of them fails or runs out of time.
    """
    longest = sorted(dict.fromkeys(calls), key=len, reverse=True)[: rule.inputs]
    growing = [(call, mutation) for call in longest for mutation in MUTATIONS]
    found: dict[tuple[str, str], GrownCall] = {}
    limits = replace(limits, cpu_seconds=min(limits.cpu_seconds, SLOWEST_SECONDS))
    factor = GROWTH
    while growing and factor <= rule.most_factor:
        texts: dict[str, tuple[str, str]] = {}
        for call, mutation in growing:
            text = grown(call, mutation, factor)
            if text is not None:
                texts.setdefault(text, (call, mutation))
        if not texts:
            break
        checks = tuple(Check(call=text) for text in texts)
        (matrix,) = sandbox.run([Job(job_id, tuple(solutions), checks, limits)])
        growing = []
        for number, (call, mutation) in enumerate(texts.values()):
            cells = [row[number] for row in matrix.cells]
            if _agree(cells):
                fastest = min(cell.cpu_ns for cell in cells)
                found[call, mutation] = GrownCall(call, mutation, factor, fastest)
                if fastest < rule.least_ms * 1e6:
                    growing.append((call, mutation))
        factor *= GROWTH
    return sorted(found.values(), key=lambda one: -one.fastest_ns)[: rule.inputs]


def _agree(cells: Sequence[Cell]) -> bool:
    digests = {cell.value_digest for cell in cells}
    return all(cell.outcome is Outcome.PASSED for cell in cells) and len(digests) == 1 and "" not in digests
