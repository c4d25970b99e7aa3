"""Times solutions against each other: one locked child each, all alive, asked in turn for one sample.

A child reads its own CPU clock around the sample. The zygote reads the child's clock from outside, before and
after, so a child that claims a shorter sample than it used is found out; how often it passed over the calls in that
time is its own word. Standard library only.

A solution may keep what it has once computed, and every further pass is then the look-up of a result. The first
children say how a first pass after loading compares with a later one; where it is slower in any of them, all samples
of the comparison are first passes. Where these are short, a sample has many, each of a copy of the solution, since a
cold start can cost more than one of them.
"""

import ctypes
import gc
import itertools
import os
import select
import signal
import struct
import sys
import time
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from codedpo.sandbox import child, isolation
from codedpo.sandbox.forker import Bounds, Forker, cpu_clock

_libc = ctypes.CDLL(None)
_SAMPLE = struct.Struct("=Qq")
"""CPU nanoseconds and number of passes; passes below 0: the solution failed. Getting ready is answered by whether the
solution remembers, and how many copies of it can be loaded for a sample."""
_GO, _EXPLORE, _LATER_PASSES = 255, 254, 0
"""Commands: take a sample; get ready for one of later passes, and first find out what the answer says; get ready for
later passes. Any other number: get ready for the first passes of so many copies."""
_REMEMBERS_RATIO, _REMEMBERS_NS, _ROUNDS, _MOST_COPIES = 1.5, 1_000, 7, 32
"""A solution remembers where first passes of copies last longer than their second ones by more than this, in all of so
many rounds but one."""
_SAMPLES_TO_LOAD = 4
"""Loading copies may take as long as so many samples."""
_CACHES = 4 << 20
"""Bytes, more than what a core has to itself (2 MiB in 2026)."""
_SMALL_SIZES, _BLOCKS = range(0, 480, 16), 64
"""Sizes of objects that share the heap's pages (obmalloc), and more of each than a short pass makes."""
_INLET, _OUTLET = 3, 4
_PASSES_TO_GET_READY, _SAMPLES_TO_GET_READY = 2, 40
"""Where a single pass takes all the time that it may, or takes less than a sample."""
_SLACK_NS = 300_000
"""What a child may use around its sample: waking up, reading the command, writing the result."""
_POLL_SECONDS = 0.05
_REPEATS_OF_A_CHILD = 5
_MOST_PASSES = 1_000_000
_Pass = Callable[[], None]


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
        body = partial(_serve, source, work.calls, work.sample_ns)
        self._pid = forker.fork(bounds, body, (inlet, outlet), (_INLET, _OUTLET))
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
            reply = self._ask(_GO, clock)
            outside = time.clock_gettime_ns(clock) - before
        except OSError:
            return 0.0
        if len(ready) != _SAMPLE.size or len(reply) != _SAMPLE.size:
            return 0.0
        if kind == _EXPLORE:
            remembers, copies = _SAMPLE.unpack(ready)
            self.remembers, self.copies = bool(remembers), max(1, min(_MOST_COPIES, copies))
        inside, passes = _SAMPLE.unpack(reply)
        if not 0 < passes <= _MOST_PASSES or inside <= 0:
            return 0.0
        return float(max(inside, outside - _SLACK_NS) / passes)

    def _ask(self, command: int, clock: int) -> bytes:
        """Send a command and return the reply; nothing where it did not come in time."""
        before = time.clock_gettime_ns(clock)
        os.write(self._command, bytes([command]))
        limit_ns = self._limit_ns if command == _GO else self._ready_limit_ns
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
    done, kind = 0, _EXPLORE
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
        kind: of sample, as a command; ``_EXPLORE``: the children find it.

    Returns:
        The kind of sample, and samples. All solutions have as many copies, since these share what a cold start costs.
    """
    samples: list[list[float]] = [[] for _ in work.solutions]
    runners: list[_Runner] = []
    try:
        runners.extend(_Runner(forker, work, source) for source in work.solutions)
        # The first sample warms up.
        alive = [index for index, runner in enumerate(runners) if runner.sample(kind)]
        if kind == _EXPLORE:
            remembers = any(runners[index].remembers for index in alive)
            kind = min(runners[index].copies for index in alive) if remembers else _LATER_PASSES
        for repeat in range(turn, turn + repeats):
            for index in reversed(alive) if repeat % 2 else alive:
                spent = runners[index].sample(kind)
                if spent:
                    samples[index].append(spent)
    finally:
        for runner in runners:
            runner.close()
    return kind, samples


def _serve(source: str, calls: list[str], sample_ns: int) -> None:
    """The child's side: load, then answer every command."""
    body = "".join(f" (\n{call}\n)\n" for call in calls)
    passes, count, copies, remembers = 0, 0, 1, False
    series: Iterable[_Pass] = ()
    evictor = b""
    try:
        solution = compile(source, "<solution>", "exec", dont_inherit=True)
        definition = compile(f"def one_pass():\n{body}", "<calls>", "exec", dont_inherit=True)
        load = partial(_load, solution, definition)
        one_pass = load("solution")
        seed = child.seeder() if "random" in source or "random" in body else None
        gc.freeze()
        while command := os.read(_INLET, 1):
            if command[0] == _GO:
                spent = _duration(series)
                os.write(_OUTLET, _SAMPLE.pack(spent, count))
                continue
            if command[0] in (_EXPLORE, _LATER_PASSES):
                if not passes:
                    first = _duration([one_pass])
                    passes, later = _passes_for(one_pass, sample_ns)
                if command[0] == _EXPLORE:
                    copies, remembers = _explore(load, first, later, sample_ns)
                count, series = passes, itertools.repeat(one_pass, passes)
                gc.collect()
            else:
                evictor = evictor or b"\1" * _CACHES
                fresh = _fresh(load, command[0], evictor)
                count, series = len(fresh), fresh
            if seed:
                seed()
            os.write(_OUTLET, _SAMPLE.pack(remembers, copies))
    except BaseException:
        os.write(_OUTLET, _SAMPLE.pack(0, -1))
    sys.modules.clear()


def _load(solution: types.CodeType, definition: types.CodeType, name: str) -> _Pass:
    """Load a solution as a new module; return the function that makes all calls there."""
    namespace = child.new_namespace(name)
    exec(solution, namespace)  # noqa: S102
    scratch: dict[str, Any] = {}
    exec(definition, namespace, scratch)  # noqa: S102
    one_pass: _Pass = scratch["one_pass"]
    return one_pass


def _fresh(load: Callable[[str], _Pass], copies: int, evictor: bytes = b"") -> list[_Pass]:
    """Load copies that start equally cold, whatever their loading takes and leaves behind.

    A pass of one microsecond is doubled by a few objects that another solution's load has pushed out of the caches, or
    by the first touch of a page of the heap. So the pages are touched for all and the caches emptied for all, and the
    first of several copies makes its pass now, for what they share.
    """
    # Each under a name of its own, by which pickle finds its classes.
    series = [load(f"solution{number}") for number in range(copies)]
    gc.collect()
    [bytes(size) for size in _SMALL_SIZES for _ in range(_BLOCKS)]
    evictor.count(0)
    if copies > 1:
        series.pop(0)()
    return series


def _explore(load: Callable[[str], _Pass], first: float, later: float, sample_ns: int) -> tuple[int, bool]:
    """Find how many copies make a sample, and whether the solution remembers.

    Args:
        load: loads a copy under a name.
        first: how long the first pass of this child took, ns.
        later: how long a later one takes.
        sample_ns: CPU time of a sample.
    """
    if first >= sample_ns:
        return 1, first > later * _REMEMBERS_RATIO + _REMEMBERS_NS
    cost = min(_duration([lambda: load("solution0")()]) for _ in range(2))  # noqa: PLW0108 - with loading
    copies = max(
        1, min(_MOST_COPIES, int(sample_ns / max(later, 1)), _SAMPLES_TO_LOAD * sample_ns // max(cost, 1))
    )
    others = 0
    for _ in range(_ROUNDS):
        series = _fresh(load, copies)
        first, second = _duration(series), _duration(series)
        others += first <= second * _REMEMBERS_RATIO + _REMEMBERS_NS
        if others > 1:
            return copies, False
    return copies, True


def _duration(series: Iterable[_Pass]) -> int:
    """Make passes one after the other; return their CPU time in ns."""
    start = time.process_time_ns()
    for one_pass in series:
        one_pass()
    return time.process_time_ns() - start


def _passes_for(one_pass: _Pass, sample_ns: int) -> tuple[int, float]:
    """Double the number of passes until one sample lasts long enough; return it, and how long one of them took, ns."""
    passes = 1
    while True:
        spent = _duration(itertools.repeat(one_pass, passes))
        if spent >= sample_ns or passes >= _MOST_PASSES:
            return passes, spent / passes
        passes = min(passes * 2, max(passes + 1, int(passes * sample_ns * 1.2 / max(spent, 1))))
