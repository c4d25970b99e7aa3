"""Times solutions against each other: one locked child each, all alive, asked in turn for one sample.

A child reads its own CPU clock around the sample. The zygote reads the child's clock from outside, before and
after, so a child that claims a shorter sample than it used is found out; how often it passed over the calls in that
time is its own word. Standard library only.

All samples of a comparison are first passes after loading where a later pass is faster in any of the solutions, by
what their first children say (``timed_child``).
"""

import ctypes
import os
import select
import signal
import time
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
_PASSES_TO_GET_READY, _SAMPLES_TO_GET_READY = 2, 40
"""Where a single pass takes all the time that it may, or takes less than a sample."""
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
        pass_ns = int(work.cpu_seconds * len(work.calls) * 1e9)
        self._limit_ns = pass_ns + work.sample_ns * 4
        self._ready_limit_ns = pass_ns * _PASSES_TO_GET_READY + work.sample_ns * _SAMPLES_TO_GET_READY
        self._sleep_limit = work.cpu_seconds * len(work.calls) * work.wall_factor
        steps = len(work.calls) * (work.repeats + 3) + 1
        bounds = Bounds(
            work.cpu_seconds, work.wall_factor, work.memory_mib, work.threads, work.output_kib, steps * 2
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

        Args:
            kind: the command to get ready.
        """
        clock = cpu_clock(self._pid)
        try:
            ready = self._ask(kind, clock)
            before = time.clock_gettime_ns(clock)
            reply = self._ask(GO, clock)
            outside = time.clock_gettime_ns(clock) - before
        except OSError:
            return 0.0
        if len(ready) != SAMPLE.size or len(reply) != SAMPLE.size:
            return 0.0
        if kind == EXPLORE:
            remembers, copies = SAMPLE.unpack(ready)
            self.remembers, self.copies = bool(remembers), max(1, min(MOST_COPIES, copies))
        inside, passes = SAMPLE.unpack(reply)
        if not 0 < passes <= MOST_PASSES or inside <= 0:
            return 0.0
        return float(max(inside, outside - _SLACK_NS) / passes)

    def _ask(self, command: int, clock: int) -> bytes:
        """Send a command and return the reply; nothing where it did not come in time."""
        before = time.clock_gettime_ns(clock)
        os.write(self._command, bytes([command]))
        limit_ns = self._limit_ns if command == GO else self._ready_limit_ns
        return os.read(self._result, SAMPLE.size) if self._wait(clock, before, limit_ns) else b""

    def _wait(self, clock: int, before: int, limit_ns: int) -> bool:
        slept, seen = 0.0, before
        while not select.select([self._result], [], [], _POLL_SECONDS)[0]:
            now = time.clock_gettime_ns(clock)
            slept += _POLL_SECONDS if now - seen < _POLL_SECONDS * 1e9 * 0.05 else 0.0
            seen = now
            if now - before > limit_ns or slept > self._sleep_limit:
                return False
        return True

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
    usable = os.sched_getaffinity(0)
    done, kind = 0, EXPLORE
    while done < work.repeats:
        repeats = min(_REPEATS_OF_A_CHILD, work.repeats - done)
        os.sched_setaffinity(0, {_current_processor(usable)})
        isolation.allow_descriptors(isolation.FEW_DESCRIPTORS + 2 * len(work.solutions))
        try:
            kind, found = _interleaved(forker, work, repeats, done % 2, kind)
            for of_one, more in zip(samples, found, strict=True):
                of_one += more
        finally:
            isolation.allow_descriptors(isolation.FEW_DESCRIPTORS)
            os.sched_setaffinity(0, usable)
        done += repeats
    return [of_one if len(of_one) == work.repeats else [] for of_one in samples]


def _current_processor(usable: set[int]) -> int:
    """Return the processor that the scheduler chose for this process."""
    found = int(_libc.sched_getcpu())
    return found if found in usable else min(usable)


def _interleaved(
    forker: Forker, work: TimingWork, repeats: int, turn: int, kind: int
) -> tuple[int, list[list[float]]]:
    """Take samples in turn, the order alternating, so that a drift of the machine meets every solution alike.

    Args:
        forker: makes the children.
        work: what they do.
        repeats: samples of each.
        turn: counts the samples before.
        kind: of sample, as a command; ``EXPLORE``: the children find it.

    Returns:
        The kind of sample, and samples. All solutions have as many copies, since these share what a cold start costs.
    """
    samples: list[list[float]] = [[] for _ in work.solutions]
    runners: list[_Runner] = []
    try:
        runners.extend(_Runner(forker, work, source) for source in work.solutions)
        # The first sample warms up.
        alive = [index for index, runner in enumerate(runners) if runner.sample(kind)]
        if kind == EXPLORE:
            remembers = any(runners[index].remembers for index in alive)
            kind = min(runners[index].copies for index in alive) if remembers else LATER_PASSES
        for repeat in range(turn, turn + repeats):
            for index in reversed(alive) if repeat % 2 else alive:
                spent = runners[index].sample(kind)
                if spent:
                    samples[index].append(spent)
    finally:
        for runner in runners:
            runner.close()
    return kind, samples
