"""Runs jobs: which solutions share a child, and where to go on after one that did not finish."""

import mmap
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from codedpo.sandbox import child, wire
from codedpo.sandbox.forker import TIMEOUT, Bounds, Ending, Forker

Tell = Callable[[int, int, Sequence[bytes | memoryview]], None]


@dataclass(frozen=True, slots=True)
class Work:
    """Some jobs as the oracle sends them: everything but the expectations. Solutions are counted through all tasks."""

    tasks: list[tuple[list[str], list[tuple[bool, str]], list[bytes | None]]]
    """Solutions, checks (whether a call, source), standard inputs."""
    cpu_seconds: float
    wall_factor: float
    memory_mib: int
    threads: int
    output_kib: int
    timeouts: int
    child_per: str
    """``group``: tame solutions may share a child; ``solution``, ``test``: each has a child of its own."""

    def bounds(self, steps: int) -> Bounds:
        """Return what a child may use that may be at work on so many tests."""
        return Bounds(
            self.cpu_seconds, self.wall_factor, self.memory_mib, self.threads, self.output_kib, steps
        )


@dataclass(frozen=True, slots=True)
class _Solution:
    """One solution with what it is run on."""

    source: str
    checks: list[tuple[bool, str]]
    stdin: list[bytes | None]
    task_end: int
    """The first solution of the next task."""


class Run:
    """The children of one request, one after the other.

    Args:
        forker: makes them.
        work: what they do.
        tell: takes what a child wrote about solutions between the first and the end. It is passed on as it lies: a copy
            in this process would be seen by the children that follow.
    """

    def __init__(self, forker: Forker, work: Work, tell: Tell) -> None:
        self._forker = forker
        self._work = work
        self._tell = tell
        self._solutions: list[_Solution] = []
        for sources, checks, stdin in work.tasks:
            end = len(self._solutions) + len(sources)
            self._solutions.extend(_Solution(source, checks, stdin, end) for source in sources)
        self.events: list[tuple[int, int, str, int]] = []
        """What no child could write: solution, test, how its child ended, CPU ns."""
        self.peaks = [0] * len(self._solutions)
        """Peak memory of the child that ran a solution, KiB."""

    def everything(self) -> None:
        """Run every solution on every test; fill ``events`` and ``peaks``."""
        alone = list(range(len(self._solutions)))
        reads = any(given is not None for one in self._solutions for given in one.stdin)
        if self._work.child_per == "group" and not reads and 1 < len(alone) <= child.MOST_SOLUTIONS:
            alone = self._shared()
        for solution in alone:
            if any(given is not None for given in self._solutions[solution].stdin):
                self._programs(solution)
            else:
                self._alone(solution)

    def _shared(self) -> list[int]:
        """Run all tame solutions in shared children; return the others."""
        end = len(self._solutions)
        tasks = [(sources, checks) for sources, checks, _ in self._work.tasks]
        steps = sum(len(one.checks) + 1 for one in self._solutions)
        position, first_test, timeouts = 0, 0, 0
        own: set[int] = set()
        while position < end:
            body = partial(_run_shared, self._work.output_kib, tasks, position, first_test)
            ending = self._forker.spawn(self._work.bounds(steps), body)
            own.update(self._forker.flags(end))
            self._keep(ending, position, end)
            if ending.solution == child.DONE:
                break
            if not position <= ending.solution < end:
                return sorted(own | set(range(position, end)))
            if ending.solution != position:
                position, timeouts = ending.solution, 0
            if ending.test == child.PREPARING:
                own.update(range(position, self._solutions[position].task_end))
                position, first_test = self._solutions[position].task_end, 0
                continue
            timeouts += ending.how == TIMEOUT
            self.events.append((position, ending.test, ending.how, ending.cpu_ns))
            if ending.test == child.LOADING or timeouts >= self._work.timeouts:
                position, first_test, timeouts = position + 1, 0, 0
            else:
                first_test = ending.test + 1
        return sorted(own)

    def _alone(self, solution: int) -> None:
        """Run one solution in children that it shares with no other."""
        one = self._solutions[solution]
        seeds = "random" in one.source or any("random" in source for _, source in one.checks)
        first, timeouts = 0, 0
        while first < len(one.checks):
            last = first + 1 if self._work.child_per == "test" else len(one.checks)
            body = partial(_run_alone, self._work.output_kib, solution, one, seeds, range(first, last))
            ending = self._forker.spawn(self._work.bounds(last - first + 1), body)
            self._keep(ending, solution, solution + 1)
            if ending.solution == child.DONE:
                first = last
                continue
            test = ending.test if first <= ending.test < last else child.LOADING
            self.events.append((solution, test, ending.how, ending.cpu_ns))
            # A child that used more than the tests that it says it was at, and loading, may take, has lied.
            overdrawn = ending.cpu_ns > self._work.cpu_seconds * 1e9 * (test - first + 2)
            timeouts += ending.how == TIMEOUT or overdrawn
            if test == child.LOADING or timeouts >= self._work.timeouts:
                return
            first = test + 1

    def _programs(self, solution: int) -> None:
        """Run one solution as a program, a child for every test, its output taken from its descriptor 1."""
        work, one, timeouts = self._work, self._solutions[solution], 0
        for test, given in enumerate(one.stdin):
            if timeouts >= work.timeouts:
                return
            inlet, outlet = os.memfd_create("stdin"), os.memfd_create("stdout")
            try:
                wire.write_all(inlet, given or b"")
                os.lseek(inlet, 0, os.SEEK_SET)
                body = partial(_run_program, solution, test, one.source)
                ending = self._forker.spawn(work.bounds(1), body, (inlet, outlet))
                self._keep(ending, solution, solution + 1)
                timeouts += ending.how == TIMEOUT
                if ending.how == TIMEOUT or ending.status != 0:
                    self.events.append((solution, test, ending.how, ending.cpu_ns))
                elif self._is_output(ending):
                    self._tell_output(solution, test, ending.cpu_ns, outlet)
            finally:
                os.close(inlet)
                os.close(outlet)

    def _is_output(self, ending: Ending) -> bool:
        with self._forker.records(ending) as records:
            return len(records) < child.RECORD.size or records[8] == child.OUTPUT

    def _tell_output(self, solution: int, test: int, cpu_ns: int, outlet: int) -> None:
        size = min(os.fstat(outlet).st_size, self._work.output_kib * 1024)
        head = child.RECORD.pack(solution, test, child.OUTPUT, cpu_ns, size)
        if not size:
            self._tell(solution, solution + 1, [head])
            return
        with mmap.mmap(outlet, size, access=mmap.ACCESS_READ) as output, memoryview(output) as view:
            self._tell(solution, solution + 1, [head, view])

    def _keep(self, ending: Ending, first: int, end: int) -> None:
        with self._forker.records(ending) as records:
            self._tell(first, end, [records])
        for solution in range(first, end):
            self.peaks[solution] = max(self.peaks[solution], ending.peak_kib)


def _run_shared(output_kib: int, tasks: child.Tasks, first: int, first_test: int, arena: mmap.mmap) -> None:
    child.run_shared(arena, output_kib, tasks, first, first_test)


def _run_alone(
    output_kib: int, solution: int, one: _Solution, seeds: bool, tests: range, arena: mmap.mmap
) -> None:
    child.run_alone(arena, output_kib, solution, one.source, one.checks, tests, seeds_random=seeds)


def _run_program(solution: int, test: int, source: str, arena: mmap.mmap) -> None:
    child.run_program(arena, solution, test, source)
