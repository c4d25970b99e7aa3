"""The helper that forks locked children: isolates itself once, then runs jobs, one at a time.

It never executes untrusted code and never sees an expectation. It reads jobs from descriptor 3 and writes
results to descriptor 4 (``wire``). A child that misbehaves costs a child; the zygote goes on. Standard library only.
"""

import ctypes
import gc
import importlib
import mmap
import os
import resource
import signal
import sys
import time
import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

from codedpo.sandbox import child, isolation, seccomp, wire

ARENA_EXTRA = 1 << 20
"""Room for the records beyond the values themselves."""
_IDLE_SHARE = 0.05
"""A child that used less than this share of the wall time since the last look was asleep."""
_FINISHED, _TIMEOUT, _CRASHED = "finished", "timeout", "crashed"


class Ending(NamedTuple):
    """How a child ended, where, and what it wrote."""

    how: str
    solution: int
    test: int
    records: bytes
    cpu_ns: int
    peak_kib: int
    status: int


@dataclass
class Job:
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


class Zygote:
    """Forks, watches and reaps the children of one worker."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._fork = ctypes.PyDLL(None).fork
        self._child_filter: seccomp.Filter | None = None
        self._base_address_space = 0
        self._arena = mmap.mmap(-1, child.RECORDS + ARENA_EXTRA)
        self._user_is_own = os.geteuid() == 0

    def isolate(self) -> tuple[list[str], list[str]]:
        """Apply every layer that is wanted and holds; return the layers' names and what is missing and why."""
        layers: list[str] = []
        problems: list[str] = []
        wanted = self._options["layers"]
        own_canary = self._options["canary"]
        self._base_address_space = isolation.used_address_space()
        isolation.limit_helper(self._base_address_space + (2 << 30))
        layers.append("limits")
        try:
            isolation.drop_root()
        except OSError as error:
            problems.append(f"user: {error}; run as a user other than root, or as root with CAP_SETUID.")
        if "namespaces" in wanted:
            self._enter_namespaces(layers, problems)
        if "namespaces" in layers:
            own_canary = isolation.CANARY
        isolation.die_with_parent()
        try:
            if "landlock" in wanted or "seccomp" in wanted:
                isolation.forbid_new_privileges()
                isolation.drop_capabilities()
        except OSError as error:
            problems.append(f"no_new_privs: {error}; needs Linux 3.5.")
        if "landlock" in wanted:
            try:
                isolation.forbid_files()
                if not isolation.host_file_is_hidden(own_canary):
                    raise PermissionError(0, "a world-readable file could still be read")
                layers.append("landlock")
            except OSError as error:
                problems.append(
                    f"landlock: {error}; needs Linux 5.13 with `landlock` in the kernel's lsm= list, and a container"
                    " profile that lets its system calls through."
                )
        if "seccomp" in wanted:
            self._lock_calls(layers, problems)
        return layers, problems

    def _enter_namespaces(self, layers: list[str], problems: list[str]) -> None:
        try:
            isolation.enter_namespaces()
            for stopped, what in (
                (
                    isolation.host_file_is_hidden(self._options["canary"]),
                    "a file of the host could still be read",
                ),
                (
                    isolation.host_port_is_closed(self._options["port"]),
                    "a port of the host could still be reached",
                ),
                (
                    isolation.host_process_is_hidden(self._options["oracle_pid"]),
                    "a process of the host could be seen",
                ),
            ):
                if not stopped:
                    raise PermissionError(0, what)
            layers.append("namespaces")
        except OSError as error:
            problems.append(
                f"namespaces: {error}; allow unprivileged user namespaces"
                " (sysctl kernel.unprivileged_userns_clone=1 and kernel.apparmor_restrict_unprivileged_userns=0),"
                " or in Docker use --security-opt seccomp=unconfined."
            )

    def _lock_calls(self, layers: list[str], problems: list[str]) -> None:
        try:
            helper = seccomp.Filter(seccomp.build(seccomp.HELPER_RULES, allow_others=False))
            self._child_filter = seccomp.Filter(seccomp.build(seccomp.CHILD_RULES, allow_others=True))
            helper.install()
            if not isolation.sockets_are_refused():
                raise PermissionError(0, "a socket could still be made")
            if not self._child_is_locked():
                raise PermissionError(0, "a child could still fork")
            layers.append("seccomp")
        except (OSError, KeyError) as error:
            self._child_filter = None
            problems.append(
                f"seccomp: {error}; needs Linux 4.14 on x86_64 or aarch64 with CONFIG_SECCOMP_FILTER,"
                " and a container profile that lets seccomp through."
            )

    def _child_is_locked(self) -> bool:
        """Let a locked child try to fork and to signal its parent."""
        pid = os.fork()
        if pid == 0:
            outcome = 1
            try:
                assert self._child_filter
                self._child_filter.install()
                outcome = 0
                try:
                    if os.fork() == 0:
                        os._exit(0)
                    outcome = 2
                except OSError:
                    pass
                try:
                    os.kill(os.getppid(), 0)
                    outcome = 3
                except PermissionError:
                    pass
            finally:
                os._exit(outcome)
        return os.waitpid(pid, 0)[1] == 0

    def prepare(self) -> None:
        """Make the image that children are forked from: nothing pending, nothing to collect, signals blocked."""
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        sys.path.clear()
        sys.path_importer_cache.clear()
        gc.collect()
        gc.freeze()

    def run(self, job: Job) -> tuple[list[bytes], list[tuple[int, int, str, int]], list[int]]:
        """Run a job.

        Returns:
            The records of every child; what no child could write (solution, test, how it ended, CPU ns); and
            the peak memory of each solution's child in KiB.
        """
        run = _Run(self, job)
        run.everything()
        return run.records, run.events, run.peaks

    def spawn(self, job: Job, body: Any, descriptors: tuple[int, int] | None = None) -> Ending:
        """Fork a child, lock it, let it call ``body``, watch it, and return how it ended."""
        self._size_arena(job)
        pid = self._fork()
        if pid == 0:
            try:
                self._lock_child(job, descriptors)
                body(self._arena)
            finally:
                os._exit(0)
        if pid < 0:
            raise OSError(ctypes.get_errno(), "fork")
        how, status, usage = _watch(pid, self._arena, job.cpu_seconds, job.wall_factor)
        solution, test, _, used = child.PROGRESS.unpack_from(self._arena)
        used = min(used, len(self._arena) - child.RECORDS)
        # The count is brought up to date when a test begins, so the last record is found by its own length.
        records = self._arena[child.RECORDS : child.RECORDS + used]
        if how == _FINISHED and solution != child.DONE:
            how = _CRASHED
        child.PROGRESS.pack_into(self._arena, 0, child.PREPARING, 0, 0, 0)
        cpu_ns = int((usage.ru_utime + usage.ru_stime) * 1e9)
        return Ending(how, solution, test, records, cpu_ns, usage.ru_maxrss, status)

    def take_flags(self, count: int) -> list[int]:
        """Return the solutions that asked for a child of their own, and clear the marks."""
        marks = self._arena[child.FLAGS : child.FLAGS + count]
        self._arena[child.FLAGS : child.FLAGS + count] = bytes(count)
        return [index for index, mark in enumerate(marks) if mark]

    def _size_arena(self, job: Job) -> None:
        size = child.RECORDS + ARENA_EXTRA + job.output_kib * 1024
        if len(self._arena) < size:
            self._arena.close()
            self._arena = mmap.mmap(-1, size)

    def _lock_child(self, job: Job, descriptors: tuple[int, int] | None) -> None:
        if descriptors:
            os.dup2(descriptors[0], 0)
            os.dup2(descriptors[1], 1)
        os.closerange(3, 64)
        isolation.die_with_parent()
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        memory = self._base_address_space + (job.memory_mib << 20) + len(self._arena)
        seconds = int(job.cpu_seconds * (len(job.checks) + 1) * max(1, len(job.solutions))) + 2
        limits = [
            (resource.RLIMIT_AS, memory),
            (resource.RLIMIT_CPU, seconds),
            (resource.RLIMIT_FSIZE, job.output_kib * 1024),
        ]
        if self._user_is_own:
            limits.append((resource.RLIMIT_NPROC, job.threads + 3))
        for kind, limit in limits:
            resource.setrlimit(kind, (limit, limit))
        if self._child_filter:
            self._child_filter.install()


def _watch(pid: int, arena: mmap.mmap, cpu_seconds: float, wall_factor: float) -> tuple[str, int, Any]:
    """Wait for a child; kill it where one test used up its CPU time or slept too long."""
    clock = (~pid << 3) | 2
    limit_ns = int(cpu_seconds * 1e9)
    sleep_limit = cpu_seconds * wall_factor
    at_work = (-1, -1)
    seen_cpu = started = 0
    slept, seen_wall = 0.0, time.monotonic()
    pause = min(cpu_seconds, 0.05)
    while True:
        signal.sigtimedwait([signal.SIGCHLD], pause)
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            return _FINISHED if status == 0 else _CRASHED, status, usage
        cpu, wall = time.clock_gettime_ns(clock), time.monotonic()
        solution, test, claimed, _ = child.PROGRESS.unpack_from(arena)
        if (solution, test) != at_work:
            # The child's own word on when the test began counts only between two looks from outside.
            at_work, started, slept = (solution, test), min(max(claimed, seen_cpu), cpu), 0.0
        elif cpu - seen_cpu < _IDLE_SHARE * 1e9 * (wall - seen_wall):
            slept += wall - seen_wall
        seen_cpu, seen_wall = cpu, wall
        left = limit_ns - (cpu - started)
        if left <= 0 or slept > sleep_limit:
            os.kill(pid, signal.SIGKILL)
            _, status, usage = os.wait4(pid, 0)
            return _TIMEOUT, status, usage
        pause = min(max(left / 1e9, 0.005), 0.25, max(0.005, sleep_limit - slept))


class _Run:
    """The children of one job, one after the other."""

    def __init__(self, zygote: Zygote, job: Job) -> None:
        self._zygote = zygote
        self._job = job
        self.records: list[bytes] = []
        self.events: list[tuple[int, int, str, int]] = []
        self.peaks = [0] * len(job.solutions)
        text = "".join(source for _, source in job.checks)
        self._tests_use_random = "random" in text

    def everything(self) -> None:
        job = self._job
        alone = list(range(len(job.solutions)))
        if any(given is not None for given in job.stdin):
            for solution in alone:
                self._programs(solution)
            return
        if job.grouped and not job.fork_per_test and 1 < len(alone) <= child.MOST_SOLUTIONS:
            alone = self._group()
        for solution in alone:
            self._alone(solution)

    def _group(self) -> list[int]:
        """Run all tame solutions in shared children; return the others."""
        job = self._job
        everyone = list(enumerate(job.solutions))
        position, first_test, timeouts = 0, 0, 0
        own: set[int] = set()
        while position < len(everyone):
            todo = everyone[position:]

            def body(arena: Any, todo: Any = todo, first: int = first_test) -> None:
                child.Runner(arena, job.checks, seeds_random=False).run_group(todo, first)

            ending = self._zygote.spawn(job, body)
            flagged = self._zygote.take_flags(len(everyone))
            own.update(flagged)
            self._keep(ending, range(position, len(everyone)))
            if ending.solution == child.DONE:
                break
            if not position <= ending.solution < len(everyone):
                return sorted(own | set(range(position, len(everyone))))
            if ending.solution != position:
                position, timeouts = ending.solution, 0
            timeouts += ending.how == _TIMEOUT
            self.events.append((position, ending.test, ending.how, ending.cpu_ns))
            if ending.test == child.LOADING or timeouts >= job.timeouts:
                position, first_test, timeouts = position + 1, 0, 0
            else:
                first_test = ending.test + 1
        return sorted(own)

    def _alone(self, solution: int) -> None:
        """Run one solution in children that it shares with no other."""
        job, source = self._job, self._job.solutions[solution]
        seeds = self._tests_use_random or "random" in source
        first, timeouts = 0, 0
        while first < len(job.checks):
            last = first + 1 if job.fork_per_test else len(job.checks)

            def body(arena: Any, first: int = first, last: int = last) -> None:
                child.Runner(arena, job.checks, seeds_random=seeds).run_alone(solution, source, first, last)

            ending = self._zygote.spawn(job, body)
            self._keep(ending, range(solution, solution + 1))
            if ending.solution == child.DONE:
                first = last
                continue
            test = ending.test if first <= ending.test < last else child.LOADING
            self.events.append((solution, test, ending.how, ending.cpu_ns))
            timeouts += ending.how == _TIMEOUT
            if test == child.LOADING or timeouts >= job.timeouts:
                return
            first = test + 1

    def _programs(self, solution: int) -> None:
        """Run one solution as a program, a child for every test, its output taken from its descriptor 1."""
        job, source, timeouts = self._job, self._job.solutions[solution], 0
        for test, given in enumerate(job.stdin):
            if timeouts >= job.timeouts:
                return
            inlet, outlet = os.memfd_create("stdin"), os.memfd_create("stdout")
            try:
                wire.write_all(inlet, given or b"")
                os.lseek(inlet, 0, os.SEEK_SET)

                def body(arena: Any, test: int = test) -> None:
                    child.run_program(arena, solution, test, source)

                ending = self._zygote.spawn(job, body, (inlet, outlet))
                os.lseek(outlet, 0, os.SEEK_SET)
                output = wire.read_up_to(outlet, job.output_kib * 1024)
            finally:
                os.close(inlet)
                os.close(outlet)
            self._keep(ending, range(solution, solution + 1))
            timeouts += ending.how == _TIMEOUT
            if ending.how == _TIMEOUT or ending.status != 0:
                self.events.append((solution, test, ending.how, ending.cpu_ns))
            elif len(ending.records) < child.RECORD.size or ending.records[8] == child.OUTPUT:
                self.records.append(
                    child.RECORD.pack(solution, test, child.OUTPUT, ending.cpu_ns, len(output)) + output
                )

    def _keep(self, ending: Ending, solutions: range) -> None:
        self.records.append(ending.records)
        for solution in solutions:
            self.peaks[solution] = max(self.peaks[solution], ending.peak_kib)


def main() -> None:
    """Read the options, isolate, then serve jobs until the oracle closes the pipe."""
    channel = wire.take_standard_channel()
    options = channel.receive()
    warnings.simplefilter("ignore")
    sys.path.extend(options["paths"])
    missing = []
    for name in options["preload"]:
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append(name)
    zygote = Zygote(options)
    layers, problems = zygote.isolate()
    zygote.prepare()
    os.dup2(0, 2)
    channel.send({"layers": layers, "problems": problems, "missing": missing, "version": sys.version})
    while True:
        request = channel.receive()
        if request is None:
            return
        channel.send(zygote.run(Job(*request)))
