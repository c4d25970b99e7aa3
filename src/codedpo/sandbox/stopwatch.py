"""Times solutions against each other: one locked child each, all alive, asked in turn for one sample.

A child reads its own CPU clock around the sample. The zygote reads the child's clock from outside, before and
after, so a claim is at most ``_SLACK_NS`` shorter than what was used; how often the child passed over the calls in that
time, and whether its solution remembers, is its own word. Standard library only.

All samples of a comparison are first passes after loading where a later pass is faster in any of the solutions, by
what their first children say (``timed_child``).
"""

import ctypes
import os
import select
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from codedpo.sandbox import isolation
from codedpo.sandbox.forker import Bounds, Forker, cpu_clock
from codedpo.sandbox.timed_child import (
    EXPLORE,
    GO,
    INLET,
    LATER_PASSES,
    MOST_COPIES,
    MOST_PASSES,
    OUTLET,
    SAMPLE,
    serve,
)

_libc = ctypes.CDLL(None)
_PASSES_TO_GET_READY, _SAMPLES_TO_GET_READY, _LOADS_TO_GET_READY = 2, 40, 10
"""What getting ready may take: passes that each use all their time, or else samples, and loads that each use all
their time (the solution's own, and those of copies while it is found out whether it remembers)."""
_SLACK_NS = 300_000
"""What a child may use around its sample: waking up, reading the command, writing the result."""
_POLL_SECONDS = 0.05
_REPEATS_OF_A_CHILD = 5


@dataclass(frozen=True, slots=True)
class TimingWork:
    """A timing job as the oracle sends it."""

    solutions: list[str]
    calls: list[str]
    sample_ns: int
    repeats: int
    cpu_seconds: float
    wall_factor: float
    memory_mib: int
    threads: int
    output_kib: int


class _Runner:
    """The zygote's side of one timed child."""

    def __init__(self, forker: Forker, work: TimingWork, source: str) -> None:
        inlet, self._command = os.pipe()
        self._result, outlet = os.pipe()
        # One sample passes over all calls, and may be looped to last long enough.
        load_ns, calls = int(work.cpu_seconds * 1e9), len(work.calls)
        self._limit_ns = load_ns * calls + work.sample_ns * 4
        self._ready_limit_ns = (
            load_ns * (_LOADS_TO_GET_READY + calls * _PASSES_TO_GET_READY)
            + work.sample_ns * _SAMPLES_TO_GET_READY
        )
        self._sleep_limit = work.cpu_seconds * calls * work.wall_factor
        bounds = Bounds(
            work.cpu_seconds,
            work.wall_factor,
            work.memory_mib * 2,  # A copy is loaded beside the first.
            work.threads * len(work.solutions),  # Threads are counted for all processes of a user.
            work.output_kib,
            steps=calls,
        )
        body = partial(serve, source, work.calls, work.sample_ns)
        self._pid = forker.fork(bounds, body, (inlet, outlet), (INLET, OUTLET))
        self.remembers = False
        """Whether a second pass is faster than a first one, by the child's word."""
        self.copies = 1
        """How many of the solution can be loaded for a sample, by the child's word."""
        os.close(inlet)
        os.close(outlet)

    def sample(self, kind: int) -> float:
        """Ask for one sample; return nanoseconds of one pass, or 0 where the child failed or took too long.

        A child that did is killed: one that loops would disturb those beside it.

        Args:
            kind: the command to get ready.
        """
        spent = 0.0
        with suppress(OSError):
            spent = self._sample(kind, cpu_clock(self._pid))
        if not spent:
            os.kill(self._pid, signal.SIGKILL)
        return spent

    def _sample(self, kind: int, clock: int) -> float:
        ready = self._ask(kind, clock, self._ready_limit_ns)
        if kind == EXPLORE:
            remembers, copies = ready
            self.remembers, self.copies = bool(remembers), max(1, min(MOST_COPIES, copies))
        before = time.clock_gettime_ns(clock)
        inside, passes = self._ask(GO, clock, self._limit_ns)
        outside = time.clock_gettime_ns(clock) - before
        if not 0 < passes <= MOST_PASSES or inside <= 0:
            return 0.0
        return float(max(inside, outside - _SLACK_NS) / passes)

    def _ask(self, command: int, clock: int, limit_ns: int) -> tuple[int, int]:
        """Send a command and return the reply.

        Raises:
            OSError: it did not come in time, or not whole.
        """
        before = time.clock_gettime_ns(clock)
        os.write(self._command, bytes([command]))
        self._wait(clock, before, limit_ns)
        reply = os.read(self._result, SAMPLE.size)
        if len(reply) != SAMPLE.size:
            raise BrokenPipeError
        first, second = SAMPLE.unpack(reply)
        return first, second

    def _wait(self, clock: int, before: int, limit_ns: int) -> None:
        slept, seen = 0.0, before
        while not select.select([self._result], [], [], _POLL_SECONDS)[0]:
            now = time.clock_gettime_ns(clock)
            slept += _POLL_SECONDS if now - seen < _POLL_SECONDS * 1e9 * 0.05 else 0.0
            seen = now
            if now - before > limit_ns or slept > self._sleep_limit:
                raise TimeoutError

    def close(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._command)
        os.close(self._result)


def run(forker: Forker, work: TimingWork) -> list[list[float]]:
    """Return ``samples[solution][repeat]``, in ns of one pass; empty where a solution did not finish.

    Every ``_REPEATS_OF_A_CHILD`` repeats come from fresh children, since where a process lies in memory shifts
    all its samples alike. All children share one processor: two processors of one machine can differ by half, by
    what else their core does.
    """
    samples: list[list[float]] = [[] for _ in work.solutions]
    usable, kind = os.sched_getaffinity(0), EXPLORE
    for done in range(0, work.repeats, _REPEATS_OF_A_CHILD):
        os.sched_setaffinity(0, {_current_processor(usable)})
        isolation.allow_descriptors(isolation.FEW_DESCRIPTORS + 2 * len(work.solutions))
        try:
            kind = _interleaved(forker, work, samples, done, kind)
        finally:
            isolation.allow_descriptors(isolation.FEW_DESCRIPTORS)
            os.sched_setaffinity(0, usable)
    return [of_one if len(of_one) == work.repeats else [] for of_one in samples]


def _current_processor(usable: set[int]) -> int:
    """Return the processor that the scheduler chose for this process."""
    found = int(_libc.sched_getcpu())
    return found if found in usable else min(usable)


def _interleaved(forker: Forker, work: TimingWork, samples: list[list[float]], done: int, kind: int) -> int:
    """Take samples in turn, the order alternating, so that a drift of the machine meets every solution alike.

    Args:
        forker: makes the children.
        work: what they do.
        samples: of each solution, those before; the new ones are appended. One that lacks some has failed.
        done: how many there were to be before.
        kind: of sample, as a command; ``EXPLORE``: the children find it.

    Returns:
        The kind of sample. All solutions have as many copies, since these share what a cold start costs.
    """
    runners: dict[int, _Runner] = {}
    try:
        for index, source in enumerate(work.solutions):
            if len(samples[index]) == done:
                runners[index] = _Runner(forker, work, source)
        # The first sample warms up.
        alive = [index for index, runner in runners.items() if runner.sample(kind)]
        if kind == EXPLORE:
            remembers = any(runners[index].remembers for index in alive)
            kind = min(runners[index].copies for index in alive) if remembers else LATER_PASSES
        for repeat in range(done, min(done + _REPEATS_OF_A_CHILD, work.repeats)):
            for index in reversed(alive) if repeat % 2 else alive:
                spent = runners[index].sample(kind)
                if spent:
                    samples[index].append(spent)
    finally:
        for runner in runners.values():
            runner.close()
    return kind
