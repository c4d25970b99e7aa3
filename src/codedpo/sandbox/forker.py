"""Forks children from the isolated image, locks each, watches it from outside, and reaps it."""

import ctypes
import mmap
import os
import resource
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from codedpo.sandbox import child, isolation, seccomp

FINISHED, TIMEOUT, CRASHED = "finished", "timeout", "crashed"
_ARENA_EXTRA = 1 << 20
"""Room for the heads of the records beyond the values themselves."""
_IDLE_SHARE = 0.05
"""A child that used less than this share of the wall time since the last look was asleep."""
_FIRST_LOOK, _LONGEST_PAUSE, _SHORTEST_PAUSE = 0.05, 0.25, 0.005
_HELPER_PROCESSES = 3


class Ending(NamedTuple):
    """How a child ended, where, and how much it wrote."""

    how: str
    solution: int
    test: int
    used: int
    """Bytes of records, which lie in the arena until the next child begins."""
    cpu_ns: int
    peak_kib: int
    status: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one child may use."""

    cpu_seconds: float
    wall_factor: float
    memory_mib: int
    threads: int
    output_kib: int
    steps: int
    """Tests that one child may be at work on: each may use ``cpu_seconds``."""


class Forker:
    """Owns the shared arena and the child filter.

    Args:
        base_address_space: bytes that the image itself takes.
        counts_own_processes: whether this process's user has no other processes, so that they can be limited.
        folder: where a child may write files; the next one finds it empty. Without a name: nowhere.
    """

    def __init__(self, base_address_space: int, *, counts_own_processes: bool, folder: str = "") -> None:
        # The C function, since os.fork would first run the fork handlers of every preloaded module.
        self._fork = ctypes.PyDLL(None, use_errno=True).fork
        self._base_address_space = base_address_space
        self._counts_own_processes = counts_own_processes
        self.folder = folder
        self._arena = mmap.mmap(-1, child.RECORDS + _ARENA_EXTRA)
        self.filter: seccomp.Filter | None = None

    def spawn(
        self, bounds: Bounds, body: Callable[[mmap.mmap], None], descriptors: tuple[int, int] | None = None
    ) -> Ending:
        """Fork a child, let it call ``body``, and return how it ended; ``descriptors`` become its 0 and 1.

        Its arena is new: what a solution or a reference returned must not be found by the next.
        """
        self._arena.close()
        self._arena = mmap.mmap(-1, child.RECORDS + _ARENA_EXTRA + bounds.output_kib * 1024)
        child.PROGRESS.pack_into(self._arena, 0, child.PREPARING, 0, 0, 0)
        pid = self.fork(bounds, lambda: body(self._arena), descriptors, (0, 1), alone=True)
        how, status, usage = _watch(pid, self._arena, bounds)
        if self.folder:
            isolation.empty(self.folder)
        solution, test, _, used = child.PROGRESS.unpack_from(self._arena)
        used = min(used, len(self._arena) - child.RECORDS)
        if how == FINISHED and solution != child.DONE:
            how = CRASHED
        cpu_ns = int((usage.ru_utime + usage.ru_stime) * 1e9)
        return Ending(how, solution, test, used, cpu_ns, usage.ru_maxrss, status)

    def fork(
        self,
        bounds: Bounds,
        body: Callable[[], None],
        descriptors: tuple[int, ...] | None = None,
        places: tuple[int, ...] = (),
        *,
        alone: bool = False,
    ) -> int:
        """Fork a locked child that calls ``body`` and ends; return its process id.

        Args:
            bounds: what it may use.
            body: what it does, once locked.
            descriptors: those that it keeps; all others from 3 on are closed.
            places: the numbers under which it finds them.
            alone: whether no other child runs meanwhile, so that it may have the folder.

        Raises:
            OSError: no process could be made.
        """
        parent = os.getpid()
        pid: int = self._fork()
        if pid == 0:
            try:
                for descriptor, place in zip(descriptors or (), places, strict=False):
                    os.dup2(descriptor, place)
                most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
                os.closerange(max(2, *places) + 1 if places else 3, most)
                self._lock(bounds, parent, files=alone)
                if not alone:
                    self._arena.close()  # It holds what the last child wrote, and others of these would share it.
                body()
            finally:
                os._exit(0)
        if pid < 0:
            raise OSError(ctypes.get_errno(), "fork")
        return pid

    def records(self, ending: Ending) -> memoryview:
        """Return what the last child wrote, where it lies; release it before the next child begins."""
        return memoryview(self._arena)[child.RECORDS : child.RECORDS + ending.used]

    def flags(self, count: int) -> list[int]:
        """Return the solutions that asked the last child for a child of their own."""
        marks = self._arena[child.FLAGS : child.FLAGS + count]
        return [index for index, mark in enumerate(marks) if mark]

    def _lock(self, bounds: Bounds, parent: int, *, files: bool) -> None:
        # No RLIMIT_CPU: a process with a CPU timer reads its CPU clock in ticks of milliseconds. The watch from
        # outside limits CPU time, and a child does not outlive whoever watches it.
        isolation.die_with_parent(parent)
        if self.folder and not files:
            isolation.forbid_files(signals=False)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        memory = self._base_address_space + (bounds.memory_mib << 20) + len(self._arena)
        limits = [
            (resource.RLIMIT_AS, memory),
            (resource.RLIMIT_FSIZE, bounds.output_kib * 1024),
        ]
        if self._counts_own_processes:
            limits.append((resource.RLIMIT_NPROC, bounds.threads + _HELPER_PROCESSES))
        for kind, limit in limits:
            resource.setrlimit(kind, (limit, limit))
        if self.filter:
            self.filter.install()


def cpu_clock(pid: int) -> int:
    """Return the clock that counts a process's CPU time (clock_getcpuclockid(3))."""
    return (~pid << 3) | 2


def _watch(pid: int, arena: mmap.mmap, bounds: Bounds) -> tuple[str, int, Any]:
    """Wait for a child; kill it where one test used up its CPU time or slept too long."""
    clock, limit_ns = cpu_clock(pid), int(bounds.cpu_seconds * 1e9)
    sleep_limit = bounds.cpu_seconds * bounds.wall_factor
    at_work = (-1, -1)
    seen_cpu = started = 0
    slept = slept_in_all = 0.0
    seen_wall = time.monotonic()
    pause = min(bounds.cpu_seconds, _FIRST_LOOK)
    while True:
        signal.sigtimedwait([signal.SIGCHLD], pause)
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            return FINISHED if status == 0 else CRASHED, status, usage
        cpu, wall = time.clock_gettime_ns(clock), time.monotonic()
        solution, test, claimed, _ = child.PROGRESS.unpack_from(arena)
        # A child that only waits for a busy processor still gets a share of it; one that sleeps gets none.
        idle = wall - seen_wall if cpu - seen_cpu < _IDLE_SHARE * 1e9 * (wall - seen_wall) else 0.0
        slept_in_all += idle
        if (solution, test) != at_work:
            # The child's own word on when the test began counts only between two looks from outside.
            at_work, started, slept = (solution, test), min(max(claimed, seen_cpu), cpu), 0.0
        else:
            slept += idle
        seen_cpu, seen_wall = cpu, wall
        left = limit_ns - (cpu - started)
        # Where a test began is the child's own word; what it may use in all is not.
        used_up = left <= 0 or cpu > limit_ns * (bounds.steps + 1)
        if used_up or slept > sleep_limit or slept_in_all > sleep_limit * bounds.steps:
            os.kill(pid, signal.SIGKILL)
            _, status, usage = os.wait4(pid, 0)
            return TIMEOUT, status, usage
        pause = max(_SHORTEST_PAUSE, min(left / 1e9, _LONGEST_PAUSE, sleep_limit - slept))
