"""Times solutions against each other: one locked child each, all alive, asked in turn for one sample.

A child reads its own CPU clock around the sample. The zygote reads the child's clock from outside, before and
after, so a child that claims a shorter sample than it used is found out; how often it passed over the calls in that
time is its own word. Standard library only.

A solution may keep what it has once computed, and every further pass is then the look-up of a result. Children say how
a first pass after loading compares with a later one; where it is slower in any of them, all load their solution
anew for every sample, which is a single pass.
"""

import ctypes
import gc
import os
import select
import signal
import struct
import sys
import time
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from codedpo.sandbox import child, isolation
from codedpo.sandbox.forker import Bounds, Forker, cpu_clock

_libc = ctypes.CDLL(None)
_SAMPLE = struct.Struct("=Qq")
"""CPU nanoseconds and number of passes; passes below 0: the solution failed. Getting ready is answered by whether the
solution remembers, and the number of passes."""
_READY, _READY_ANEW, _GO = b"p", b"n", b"s"
_REMEMBERS_RATIO, _REMEMBERS_NS, _FIRST_PASSES = 1.5, 3_000, 7
"""By how much the shortest of so many first passes is longer than a later one, where a solution remembers."""
_INLET, _OUTLET = 3, 4
_PASSES_TO_GET_READY = 2
"""Where a single pass takes all the time that it may."""
_SLACK_NS = 300_000
"""What a child may use around its sample: waking up, reading the command, writing the result."""
_POLL_SECONDS = 0.05
_REPEATS_OF_A_CHILD = 5
_MOST_PASSES = 1_000_000


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
        self._limit_ns = int((work.cpu_seconds * len(work.calls) + work.sample_ns * 1e-9 * 4) * 1e9)
        self._sleep_limit = work.cpu_seconds * len(work.calls) * work.wall_factor
        steps = len(work.calls) * (work.repeats + 3) + 1
        bounds = Bounds(
            work.cpu_seconds, work.wall_factor, work.memory_mib, work.threads, work.output_kib, steps * 2
        )
        body = partial(_serve, source, work.calls, work.sample_ns)
        self._pid = forker.fork(bounds, body, (inlet, outlet), (_INLET, _OUTLET))
        self.remembers = False
        """Whether a later pass is faster than a first one, by the child's word in the first sample."""
        os.close(inlet)
        os.close(outlet)

    def sample(self, *, anew: bool = False) -> float:
        """Ask for one sample; return nanoseconds of one pass, or 0 where the child failed or took too long.

        Args:
            anew: whether the solution is loaded again for it.
        """
        clock = cpu_clock(self._pid)
        try:
            ready = self._ask(_READY_ANEW if anew else _READY, clock)
            before = time.clock_gettime_ns(clock)
            reply = self._ask(_GO, clock)
            outside = time.clock_gettime_ns(clock) - before
        except OSError:
            return 0.0
        if len(ready) != _SAMPLE.size or len(reply) != _SAMPLE.size:
            return 0.0
        self.remembers = self.remembers or bool(_SAMPLE.unpack(ready)[0])
        inside, passes = _SAMPLE.unpack(reply)
        if not 0 < passes <= _MOST_PASSES or inside <= 0:
            return 0.0
        return float(max(inside, outside - _SLACK_NS) / passes)

    def _ask(self, command: bytes, clock: int) -> bytes:
        """Send a command and return the reply; nothing where it did not come in time."""
        before = time.clock_gettime_ns(clock)
        os.write(self._command, command)
        limit_ns = self._limit_ns if command == _GO else self._limit_ns * _PASSES_TO_GET_READY
        return os.read(self._result, _SAMPLE.size) if self._wait(clock, before, limit_ns) else b""

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
    done = 0
    while done < work.repeats:
        repeats = min(_REPEATS_OF_A_CHILD, work.repeats - done)
        os.sched_setaffinity(0, {_current_processor(usable)})
        isolation.allow_descriptors(isolation.FEW_DESCRIPTORS + 2 * len(work.solutions))
        try:
            for of_one, more in zip(samples, _interleaved(forker, work, repeats, done % 2), strict=True):
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


def _interleaved(forker: Forker, work: TimingWork, repeats: int, turn: int) -> list[list[float]]:
    """Take samples in turn, the order alternating, so that a drift of the machine meets every solution alike."""
    samples: list[list[float]] = [[] for _ in work.solutions]
    runners: list[_Runner] = []
    try:
        runners.extend(_Runner(forker, work, source) for source in work.solutions)
        # The first sample warms up and finds the number of passes.
        alive = [index for index, runner in enumerate(runners) if runner.sample()]
        anew = any(runners[index].remembers for index in alive)
        for repeat in range(turn, turn + repeats):
            for index in reversed(alive) if repeat % 2 else alive:
                spent = runners[index].sample(anew=anew)
                if spent:
                    samples[index].append(spent)
    finally:
        for runner in runners:
            runner.close()
    return samples


def _serve(source: str, calls: list[str], sample_ns: int) -> None:
    """The child's side: load, then answer every command."""
    body = "".join(f" (\n{call}\n)\n" for call in calls)
    passes, remembers = 0, False
    try:
        solution = compile(source, "<solution>", "exec", dont_inherit=True)
        definition = compile(f"def one_pass():\n{body}", "<calls>", "exec", dont_inherit=True)
        load = partial(_load, solution, definition)
        one_pass = load()
        seed = child.seeder() if "random" in source or "random" in body else None
        clock = time.process_time_ns
        gc.freeze()
        while command := os.read(_INLET, 1):
            if command != _GO:
                if not passes:
                    passes, remembers = _explore(load, one_pass, sample_ns)
                if command == _READY_ANEW:
                    one_pass, passes = load(), 1
                if seed:
                    seed()
                gc.collect()
                os.write(_OUTLET, _SAMPLE.pack(remembers, passes))
                continue
            start = clock()
            for _ in range(passes):
                one_pass()
            spent = clock() - start
            os.write(_OUTLET, _SAMPLE.pack(spent, passes))
    except BaseException:
        os.write(_OUTLET, _SAMPLE.pack(0, -1))
    sys.modules.clear()


def _load(solution: types.CodeType, definition: types.CodeType) -> Callable[[], None]:
    """Load a solution into a new namespace; return the function that makes all calls there."""
    namespace = child.new_namespace("solution")
    exec(solution, namespace)  # noqa: S102
    scratch: dict[str, Any] = {}
    exec(definition, namespace, scratch)  # noqa: S102
    one_pass: Callable[[], None] = scratch["one_pass"]
    return one_pass


def _explore(
    load: Callable[[], Callable[[], None]], one_pass: Callable[[], None], sample_ns: int
) -> tuple[int, bool]:
    """Find the number of passes of a sample, and whether a later pass is faster than the first one after loading."""
    first = _duration(one_pass)
    passes, later = _passes_for(one_pass, sample_ns)
    if (
        first < sample_ns
    ):  # A short first pass is longer for other reasons too: caches, inline caches of the bytecode.
        first = min(_duration(load()) for _ in range(_FIRST_PASSES))
    return passes, first > later * _REMEMBERS_RATIO + _REMEMBERS_NS


def _duration(one_pass: Callable[[], None]) -> int:
    start = time.process_time_ns()
    one_pass()
    return time.process_time_ns() - start


def _passes_for(one_pass: Callable[[], None], sample_ns: int) -> tuple[int, float]:
    """Double the number of passes until one sample lasts long enough; return it, and how long one of them took, ns."""
    passes = 1
    while True:
        start = time.process_time_ns()
        for _ in range(passes):
            one_pass()
        spent = time.process_time_ns() - start
        if spent >= sample_ns or passes >= _MOST_PASSES:
            return passes, spent / passes
        passes = min(passes * 2, max(passes + 1, int(passes * sample_ns * 1.2 / max(spent, 1))))
