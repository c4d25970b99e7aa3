"""The sandbox of this machine: workers of two processes each, an oracle and its zygote."""

import os
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, TypeVar

from codedpo.core.errors import BackendError
from codedpo.core.records import Oracle, Outcome
from codedpo.sandbox import launchers, oracle
from codedpo.sandbox.base import HELPER_DIED, Cell, Isolation, Job, Matrix, TimingJob, TimingResult
from codedpo.sandbox.batches import BATCHES_AHEAD, in_batches
from codedpo.sandbox.judge import CellRow
from codedpo.sandbox.worker import Worker, start

Given = TypeVar("Given")
Made = TypeVar("Made")


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


PRELOAD = _words(
    "__future__ abc array ast asyncio base64 binascii bisect calendar cmath collections collections.abc "
    "concurrent.futures.thread contextlib copy dataclasses datetime decimal difflib encodings.ascii encodings.idna "
    "encodings.latin_1 encodings.utf_16 encodings.utf_8_sig enum fractions functools hashlib heapq "
    "html inspect io itertools json keyword locale math numbers operator os os.path pprint queue "
    "random re secrets statistics string struct sys textwrap threading time timeit traceback "
    "tracemalloc types typing unicodedata unittest urllib.parse uuid warnings weakref zlib"
)
"""Modules that a solution finds already loaded; a child can read no file, so it can import no others."""
ALL_LAYERS = ("namespaces", "landlock", "seccomp")
_ATTEMPTS = 2


def usable_processors() -> int:
    """Return how many processors this process may use; systems that cannot say so have them all."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


class LocalSandbox:
    """Runs programs on this machine in locked children of isolated zygotes.

    Args:
        workers: number of jobs that run at once; default: the number of usable processors.
        minimum_level: the weakest isolation that is accepted (see ``Isolation.level``).
        allow_weak: accept any level; the level that was reached stands in every result.
        preload: modules that solutions may import, and packages that are loaded whole (``pandas.*``, see
            ``sandbox.preload``); one that this interpreter lacks is left out and named in ``Isolation.problems``.
        grouped: whether tame solutions of a job may share a child (``sandbox.tame``).
        fork_per_test: audit mode, a fresh child for every test: verdicts cannot depend on their order.
        launcher: where the zygote runs, if not directly on this machine (``sandbox.launchers``).
        layers: what is tried; fewer than all only to test or measure a weaker level.
        temporary_folder_kib: size of a folder ``/tmp`` that each program finds empty and may write, where level 3
            holds; 0: none.
        timing_workers: number of timing jobs that run at once, at most ``workers``.

    Raises:
        BackendError: from the first use, where the machine cannot reach ``minimum_level``.
    """

    def __init__(
        self,
        workers: int | None = None,
        minimum_level: int = 2,
        *,
        allow_weak: bool = False,
        preload: Iterable[str] = PRELOAD,
        grouped: bool = True,
        fork_per_test: bool = False,
        launcher: launchers.Launcher | None = None,
        layers: Iterable[str] = ALL_LAYERS,
        temporary_folder_kib: int = 0,
        timing_workers: int = 1,
    ) -> None:
        self._count = workers or usable_processors()
        self._timing_count = min(timing_workers, self._count)
        self._minimum_level = 0 if allow_weak else minimum_level
        self._preload = list(preload)
        self._grouped = grouped
        self._fork_per_test = fork_per_test
        self._launcher = launcher
        self._layers = list(layers)
        self._temporary_folder_kib = temporary_folder_kib
        self._isolation: Isolation | None = None
        self._version = ""
        self._libraries: list[str] = []
        self._lock = threading.Lock()
        self._idle: queue.LifoQueue[Worker | None] = queue.LifoQueue()
        self._started: set[Worker] = set()
        for _ in range(self._count):
            self._idle.put(None)

    @classmethod
    def from_config(cls, section: Any, resources: Any) -> "LocalSandbox":
        """Make the sandbox that ``sandbox:`` and ``resources:`` of a config describe."""
        return cls(
            resources.workers or None,
            section.minimum_level,
            grouped=section.child_per == "group",
            fork_per_test=section.child_per == "test",
            launcher=launchers.from_config(section.launcher),
            preload=dict.fromkeys((*PRELOAD, *section.modules)),
            temporary_folder_kib=section.temporary_folder_kib,
            timing_workers=resources.timing_workers,
        )

    def __enter__(self) -> "LocalSandbox":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def identity(self) -> str:
        """Names the backend, the interpreter, the preloaded modules and versions, and the way children are shared."""
        shared = "test" if self._fork_per_test else "group" if self._grouped else "solution"
        place, version = "local", sys.version
        if self._launcher or any(
            name.partition(".")[0] not in sys.stdlib_module_names for name in self._preload
        ):
            self.probe()  # Only the zygote knows its interpreter and the versions of libraries.
        if self._launcher:
            place, version = f"{self._launcher.name} ({self._launcher.python})", self._version
        loaded = " ".join([*sorted(self._preload), *self._libraries])
        folder = f" /tmp of {self._temporary_folder_kib} KiB" if self._temporary_folder_kib else ""
        return f"{place} python {version.split()[0]} child per {shared}{folder} preload {loaded}"

    def probe(self) -> Isolation:
        """Start a worker if none runs, and return what its attempts at breaking out found."""
        if self._isolation is None:
            self._release(self._take())
        assert self._isolation
        return self._isolation

    def run(self, jobs: Iterable[Job]) -> Iterator[Matrix]:
        """Run jobs on all workers; matrices come in the order of the jobs, some jobs are read ahead."""
        batches = in_batches(jobs, self._count, grouped=self._grouped)
        for matrices in self._in_order(self._run_batch, batches, self._count):
            yield from matrices

    def time(self, jobs: Iterable[TimingJob]) -> Iterator[TimingResult]:
        """Measure jobs, each on one worker; what else this machine does meanwhile disturbs them."""
        return self._in_order(self._time, jobs, self._timing_count)

    def _in_order(
        self, work: Callable[[Given, threading.Event], Made], items: Iterable[Given], workers: int
    ) -> Iterator[Made]:
        """Do work on several workers; results come in the order of the items, some items are read ahead."""
        waiting: deque[Future[Made]] = deque()
        given_up = threading.Event()
        pool = ThreadPoolExecutor(workers, thread_name_prefix="sandbox")
        try:
            for item in items:
                waiting.append(pool.submit(work, item, given_up))
                if len(waiting) > BATCHES_AHEAD * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BaseException:
            given_up.set()
            self.close()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
            if given_up.is_set():
                self.close()  # A thread may have started one more worker meanwhile.

    def _time(self, job: TimingJob, given_up: threading.Event) -> TimingResult:
        return TimingResult(job.job_id, self._samples(job, given_up))

    def _samples(self, job: TimingJob, given_up: threading.Event) -> tuple[tuple[float, ...], ...]:
        """Measure one job; solutions that take a helper down with them are left out, and have no samples.

        Raises:
            BackendError: the helper dies although each solution by itself leaves it alone.
        """
        reply = self._ask(_timing_request(job), given_up)
        if reply is not None:
            return tuple(map(tuple, reply))
        alone = [replace(job, solutions=(solution,), repeats=1) for solution in job.solutions]
        spares = [self._ask(_timing_request(one), given_up) is not None for one in alone]
        if all(spares):
            raise BackendError(
                f"The sandbox's helper died while it timed the {len(job.solutions)} solutions of {job.job_id}, though "
                "of none alone; see its message above, or lower candidates.solutions."
            )
        kept = tuple(solution for solution, spared in zip(job.solutions, spares, strict=True) if spared)
        samples = iter(self._samples(replace(job, solutions=kept), given_up) if kept else ())
        return tuple(next(samples) if spared else () for spared in spares)

    def close(self) -> None:
        """End every process of this sandbox."""
        with self._lock:
            for worker in self._started:
                worker.close()
            self._started.clear()
        # Workers that are in use meanwhile are discarded by those who use them.
        emptied = 0
        with suppress(queue.Empty):
            while True:
                self._idle.get_nowait()
                emptied += 1
        for _ in range(emptied):
            self._idle.put(None)

    def run_batch(self, batch: list[Job]) -> list[Matrix]:
        """Run jobs of equal limits together on one worker: what ``run`` does with each of its batches."""
        return self._run_batch(batch, threading.Event())

    def _run_batch(self, batch: list[Job], given_up: threading.Event) -> list[Matrix]:
        reply = self._ask(self._request(batch), given_up)
        if reply is None:
            # One of the solutions took a helper down with it: find out which, and keep the others' results.
            return [self._run_piecewise(job, given_up) for job in batch]
        assert self._isolation
        level = self._isolation.level
        return [
            Matrix(job.job_id, tuple(map(_cells, rows, peaks)), level)
            for job, (rows, peaks) in zip(batch, reply, strict=True)
        ]

    def _run_piecewise(self, job: Job, given_up: threading.Event) -> Matrix:
        """Run every solution of a job in a request of its own."""
        rows: list[tuple[Cell, ...]] = []
        for solution in job.solutions:
            reply = self._ask(self._request([replace(job, solutions=(solution,))]), given_up)
            lost = [("crashed", HELPER_DIED, "", 0, True)] * len(job.checks)
            rows.append(_cells(reply[0][0][0], reply[0][1][0]) if reply else _cells(lost, 0))
        assert self._isolation
        return Matrix(job.job_id, tuple(rows), self._isolation.level)

    def _request(self, batch: list[Job]) -> Any:
        limits = batch[0].limits
        return "run", (
            [
                (
                    list(job.solutions),
                    [
                        (check.code, check.call, check.expected, check.stdin, check.tolerance)
                        for check in job.checks
                    ],
                    job.reference,
                )
                for job in batch
            ],
            (
                limits.cpu_seconds,
                limits.wall_factor,
                limits.memory_mib,
                limits.threads,
                limits.output_kib,
                limits.timeouts_per_solution,
            ),
            self._grouped and not self._fork_per_test,
            self._fork_per_test,
        )

    def _ask(self, request: Any, given_up: threading.Event) -> Any:
        """Return a worker's reply; None where workers died of the request repeatedly.

        Raises:
            CancelledError: the caller has given up meanwhile, which is what killed the worker.
        """
        for _ in range(_ATTEMPTS):
            if given_up.is_set():
                raise CancelledError
            worker = self._take()
            try:
                reply = worker.ask(request)
            except BaseException:
                self._discard(worker)
                raise
            if reply is not None:
                self._release(worker)
                return reply
            self._discard(worker)
        return None

    def _take(self) -> Worker:
        worker = self._idle.get()
        if worker is None:
            try:
                worker = self._start()
            except BaseException:
                self._idle.put(None)
                raise
        return worker

    def _release(self, worker: Worker) -> None:
        self._idle.put(worker)

    def _discard(self, worker: Worker) -> None:
        with self._lock:
            self._started.discard(worker)
        worker.close()
        self._idle.put(None)

    def _start(self) -> Worker:
        return self._accept(start(self._layers, self._preload, self._launcher, self._temporary_folder_kib))

    def _accept(self, worker: Worker) -> Worker:
        ready = worker.ready
        level = oracle.level_of(ready["layers"])
        problems = tuple(ready["problems"])
        if level < self._minimum_level:
            worker.close()
            raise BackendError(
                f"The sandbox reaches isolation level {level} on this machine and {self._minimum_level} is required: "
                + " ".join(problems)
            )
        absent = tuple(f"preload: this interpreter has no module {name}." for name in ready["missing"])
        with self._lock:
            self._isolation = Isolation(
                level,
                tuple(ready["layers"]),
                problems + absent,
                tuple(ready["missing"]),
                ready["temporary_folder"],
            )
            self._version, self._libraries = ready["version"], ready["libraries"]
            self._started.add(worker)
        return worker


def _timing_request(job: TimingJob) -> Any:
    limits = job.limits
    return "time", (
        list(job.solutions),
        list(job.calls),
        int(job.sample_ms * 1e6),
        job.repeats,
        limits.cpu_seconds,
        limits.wall_factor,
        limits.memory_mib,
        limits.threads,
        limits.output_kib,
    )


_OUTCOMES = {outcome.value: outcome for outcome in Outcome}


def _cells(rows: list[CellRow], peak_kib: int) -> tuple[Cell, ...]:
    return tuple(
        Cell(
            _OUTCOMES[outcome], error, digest, cpu_ns, peak_kib, Oracle.SPLIT if split else Oracle.IN_PROCESS
        )
        for outcome, error, digest, cpu_ns, split in rows
    )
