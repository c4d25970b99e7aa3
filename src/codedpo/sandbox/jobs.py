"""Runs one job: which solutions share a child, and where to go on after one that did not finish."""

import mmap
import os
from dataclasses import dataclass
from functools import partial

from codedpo.sandbox import child, wire
from codedpo.sandbox.forker import TIMEOUT, Bounds, Ending, Forker


@dataclass(frozen=True, slots=True)
class Work:
    """One job as the oracle sends it: everything but the expectations."""

    solutions: list[str]
    checks: list[tuple[bool, str]]
    stdin: list[bytes | None]
    cpu_seconds: float
    wall_factor: float
    memory_mib: int
    threads: int
    output_kib: int
    timeouts: int
    grouped: bool
    fork_per_test: bool

    def bounds(self, solutions: int) -> Bounds:
        """Return what a child for so many solutions may use."""
        steps = (len(self.checks) + 1) * solutions
        return Bounds(
            self.cpu_seconds, self.wall_factor, self.memory_mib, self.threads, self.output_kib, steps
        )


class Run:
    """The children of one job, one after the other."""

    def __init__(self, forker: Forker, work: Work) -> None:
        self._forker = forker
        self._work = work
        self.records: list[tuple[int, int, bytes]] = []
        """First solution, end, and what a child wrote about solutions between them."""
        self.events: list[tuple[int, int, str, int]] = []
        self.peaks = [0] * len(work.solutions)
        text = "".join(source for _, source in work.checks)
        self._tests_use_random = "random" in text

    def everything(self) -> None:
        """Run every solution on every test, into ``records``, ``events`` and ``peaks`` (KiB a solution)."""
        work = self._work
        alone = list(range(len(work.solutions)))
        if any(given is not None for given in work.stdin):
            for solution in alone:
                self._programs(solution)
            return
        if work.grouped and not work.fork_per_test and 1 < len(alone) <= child.MOST_SOLUTIONS:
            alone = self._group()
        for solution in alone:
            self._alone(solution)

    def _group(self) -> list[int]:
        """Run all tame solutions in shared children; return the others."""
        work = self._work
        everyone = list(enumerate(work.solutions))
        position, first_test, timeouts = 0, 0, 0
        own: set[int] = set()
        while position < len(everyone):
            todo = everyone[position:]
            ending = self._forker.spawn(work.bounds(len(todo)), partial(_run_group, work, todo, first_test))
            own.update(self._forker.take_flags(len(everyone)))
            self._keep(ending, position, len(everyone))
            if ending.solution == child.DONE:
                break
            if not position <= ending.solution < len(everyone):
                return sorted(own | set(range(position, len(everyone))))
            if ending.solution != position:
                position, timeouts = ending.solution, 0
            timeouts += ending.how == TIMEOUT
            self.events.append((position, ending.test, ending.how, ending.cpu_ns))
            if ending.test == child.LOADING or timeouts >= work.timeouts:
                position, first_test, timeouts = position + 1, 0, 0
            else:
                first_test = ending.test + 1
        return sorted(own)

    def _alone(self, solution: int) -> None:
        """Run one solution in children that it shares with no other."""
        work, source = self._work, self._work.solutions[solution]
        seeds = self._tests_use_random or "random" in source
        first, timeouts = 0, 0
        while first < len(work.checks):
            last = first + 1 if work.fork_per_test else len(work.checks)
            ending = self._forker.spawn(
                work.bounds(1), partial(_run_alone, work, solution, seeds, range(first, last))
            )
            self._keep(ending, solution, solution + 1)
            if ending.solution == child.DONE:
                first = last
                continue
            test = ending.test if first <= ending.test < last else child.LOADING
            self.events.append((solution, test, ending.how, ending.cpu_ns))
            timeouts += ending.how == TIMEOUT
            if test == child.LOADING or timeouts >= work.timeouts:
                return
            first = test + 1

    def _programs(self, solution: int) -> None:
        """Run one solution as a program, a child for every test, its output taken from its descriptor 1."""
        work, source, timeouts = self._work, self._work.solutions[solution], 0
        for test, given in enumerate(work.stdin):
            if timeouts >= work.timeouts:
                return
            inlet, outlet = os.memfd_create("stdin"), os.memfd_create("stdout")
            try:
                wire.write_all(inlet, given or b"")
                os.lseek(inlet, 0, os.SEEK_SET)
                body = partial(_run_program, solution, test, source)
                ending = self._forker.spawn(work.bounds(1), body, (inlet, outlet))
                os.lseek(outlet, 0, os.SEEK_SET)
                output = wire.read_up_to(outlet, work.output_kib * 1024)
            finally:
                os.close(inlet)
                os.close(outlet)
            self._keep(ending, solution, solution + 1)
            timeouts += ending.how == TIMEOUT
            if ending.how == TIMEOUT or ending.status != 0:
                self.events.append((solution, test, ending.how, ending.cpu_ns))
            elif len(ending.records) < child.RECORD.size or ending.records[8] == child.OUTPUT:
                head = child.RECORD.pack(solution, test, child.OUTPUT, ending.cpu_ns, len(output))
                self.records.append((solution, solution + 1, head + output))

    def _keep(self, ending: Ending, first: int, end: int) -> None:
        self.records.append((first, end, ending.records))
        for solution in range(first, end):
            self.peaks[solution] = max(self.peaks[solution], ending.peak_kib)


def _run_group(work: Work, todo: list[tuple[int, str]], first_test: int, arena: mmap.mmap) -> None:
    child.Runner(arena, work.checks, seeds_random=False).run_group(todo, first_test)


def _run_alone(work: Work, solution: int, seeds: bool, tests: range, arena: mmap.mmap) -> None:
    runner = child.Runner(arena, work.checks, seeds_random=seeds)
    runner.run_alone(solution, work.solutions[solution], tests.start, tests.stop)


def _run_program(solution: int, test: int, source: str, arena: mmap.mmap) -> None:
    child.run_program(arena, solution, test, source)
