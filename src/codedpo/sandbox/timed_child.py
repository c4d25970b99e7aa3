"""What a timed child does: it loads a solution, passes over the calls when it is told to, and says how long that took.

All of it happens beside the solution, which may change any of it. Standard library only.

A solution may keep what it has once computed, and every further pass is then the look-up of a result. So the child
finds out whether a second pass is faster than a first one after loading, and takes samples of either kind. Where first
passes are short, a sample has many, each of a copy of the solution, since a cold start can cost more than one of them.
"""

import gc
import itertools
import os
import struct
import sys
import time
import types
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any

from codedpo.sandbox import child

SAMPLE = struct.Struct("=Qq")
"""CPU nanoseconds and number of passes; passes below 0: the solution failed. Getting ready is answered by whether the
solution remembers, and how many copies of it can be loaded for a sample."""
GO, EXPLORE, LATER_PASSES = 255, 254, 0
"""Commands: take a sample; get ready for one of later passes, and first find out what the answer says; get ready for
later passes. Any other number: get ready for the first passes of so many copies."""
INLET, OUTLET = 3, 4
MOST_PASSES, MOST_COPIES = 1_000_000, 32
_REMEMBERS_RATIO, _REMEMBERS_NS, _ROUNDS, _EXCEPTIONS = 1.1, 5_000, 7, 2
"""A solution remembers where first passes of copies last longer than their second ones by more than this, in all of so
many rounds but two: 10% is what may be called faster."""
_REMEMBERS_AT_ONCE = 1.5
"""The ratio where a pass is a sample: these are compared once, and the first one of a process is slower anyway."""
_SAMPLES_TO_LOAD = 4
"""Loading copies may take as long as so many samples."""
_CACHES = 4 << 20
"""Bytes, more than what a core has to itself (2 MiB in 2026)."""
_SMALL_SIZES, _BLOCKS = range(0, 480, 16), 64
"""Of objects that share the heap's pages (obmalloc; beside bytes, a bare object and a float have the smallest sizes),
and more of each than a short pass makes."""
_clock = time.process_time_ns
"""Taken before a solution could replace it."""
_Pass = Callable[[], None]


def serve(source: str, calls: list[str], sample_ns: int) -> None:
    """The child's side: load, then answer every command."""
    body = "".join(f" (\n{call}\n)\n" for call in calls)
    passes, count, copies, remembers = 0, 0, 1, False
    series: Iterable[_Pass] = ()
    evictor = b""
    try:
        solution = compile(source, "<solution>", "exec", dont_inherit=True)
        definition = compile(f"def one_pass():\n{body}", "<calls>", "exec", dont_inherit=True)
        seed = child.seeder() if "random" in source or "random" in body else None
        load = partial(_load, solution, definition, seed)
        one_pass = load("solution")
        gc.freeze()
        while command := os.read(INLET, 1):
            if command[0] == GO:
                spent = _duration(series)
                os.write(OUTLET, SAMPLE.pack(spent, count))
                continue
            if command[0] != LATER_PASSES:
                # Before it is found how many copies fit, since it takes of the same memory.
                evictor = evictor or b"\1" * _CACHES
            if command[0] in (EXPLORE, LATER_PASSES):
                if not passes:
                    first = _duration([one_pass])
                    passes, later = _passes_for(one_pass, sample_ns)
                if command[0] == EXPLORE:
                    copies, remembers = _explore(load, first, later, sample_ns)
                count, series = passes, itertools.repeat(one_pass, passes)
                gc.collect()
            else:
                series = ()
                series = _fresh(load, command[0], evictor)
                count = len(series)
            if seed:
                seed()
            os.write(OUTLET, SAMPLE.pack(remembers, copies))
    except BaseException:
        os.write(OUTLET, SAMPLE.pack(0, -1))
    sys.modules.clear()


def _load(
    solution: types.CodeType, definition: types.CodeType, seed: Callable[[], None] | None, name: str
) -> _Pass:
    """Load a solution as a new module; return the function that makes all calls there."""
    namespace = child.new_namespace(name)
    if seed:
        seed()
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
    _forget_copies()
    # Each under a name of its own, by which pickle finds its classes.
    series = [load(f"solution{number}") for number in range(copies)]
    gc.collect()
    [(object(), size / 3, bytes(size)) for size in _SMALL_SIZES for _ in range(_BLOCKS)]
    evictor.count(0)
    if copies > 1:
        series.pop(0)()
    return series


def _forget_copies() -> None:
    """Give back the memory of the copies before, which may be all that there is."""
    for number in range(MOST_COPIES):
        sys.modules.pop(f"solution{number}", None)
    gc.collect()


def _explore(load: Callable[[str], _Pass], first: float, later: float, sample_ns: int) -> tuple[int, bool]:
    """Find how many copies make a sample, and whether the solution remembers.

    Args:
        load: loads a copy under a name.
        first: how long the first pass of this child took, ns.
        later: how long a later one takes.
        sample_ns: CPU time of a sample.
    """
    if first >= sample_ns:
        return 1, first > later * _REMEMBERS_AT_ONCE
    cost = min(_cost_of_copy(load) for _ in range(2))
    copies = min(MOST_COPIES, int(sample_ns / max(later, 1)), _SAMPLES_TO_LOAD * sample_ns // max(cost, 1))
    copies = _as_many_as_fit(load, copies)
    others = 0
    for _ in range(_ROUNDS):
        others += not _second_pass_is_faster(load, copies)
        if others > _EXCEPTIONS:
            return copies, False
    return copies, True


def _cost_of_copy(load: Callable[[str], _Pass]) -> int:
    """Return how long loading a copy and its first pass take, ns."""
    _forget_copies()
    return _duration([lambda: load("solution0")()])  # noqa: PLW0108 - with loading


def _as_many_as_fit(load: Callable[[str], _Pass], copies: int) -> int:
    """Halve the number of copies, at least one, until memory holds all."""
    while copies > 1:
        with suppress(MemoryError):
            _fresh(load, copies)
            return copies
        copies //= 2
    return 1


def _second_pass_is_faster(load: Callable[[str], _Pass], copies: int) -> bool:
    series = _fresh(load, copies)
    first, second = _duration(series), _duration(series)
    return first > second * _REMEMBERS_RATIO + _REMEMBERS_NS


def _duration(series: Iterable[_Pass]) -> int:
    """Make passes one after the other; return their CPU time in ns."""
    start = _clock()
    for one_pass in series:
        one_pass()
    return _clock() - start


def _passes_for(one_pass: _Pass, sample_ns: int) -> tuple[int, float]:
    """Double the number of passes until one sample lasts long enough; return it, and how long one of them took, ns."""
    passes = 1
    while True:
        spent = _duration(itertools.repeat(one_pass, passes))
        if spent >= sample_ns or passes >= MOST_PASSES:
            return passes, spent / passes
        passes = min(passes * 2, max(passes + 1, int(passes * sample_ns * 1.2 / max(spent, 1))))
