"""The sandbox of this machine: workers of two processes each, an oracle and its zygote."""

import os
import sys
import threading
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from codedpo.core.errors import BackendError
from codedpo.sandbox import launchers, requests
from codedpo.sandbox.base import Isolation, Job, Matrix, TimingJob, TimingResult
from codedpo.sandbox.batches import in_batches
from codedpo.sandbox.pool import Ask, WorkerPool
from codedpo.sandbox.worker import Worker, start

if TYPE_CHECKING:
    from codedpo.core.config import ResourcesConfig, SandboxConfig


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


def usable_processors() -> int:
    """Return how many processors this process may use; systems that cannot say so have them all."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


class LocalSandbox:
    """Runs programs on this machine in locked children of isolated zygotes.

    Args:
        workers: number of jobs that run at once; default: the number of usable processors.
        minimum_level: the weakest isolation that is accepted (see ``Isolation.level``); the level that was reached
            stands in every result.
        preload: modules that solutions may import, and packages that are loaded whole (``pandas.*``, see
            ``sandbox.preload``); one that this interpreter lacks is left out and named in ``Isolation.problems``.
        child_per: ``group``: tame solutions may share a child (``sandbox.tame``); ``solution``: none do; ``test``:
            audit mode, a fresh child for every test, so that verdicts cannot depend on their order.
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
        preload: Iterable[str] = PRELOAD,
        child_per: Literal["group", "solution", "test"] = "group",
        launcher: launchers.Launcher | None = None,
        layers: Iterable[str] = ALL_LAYERS,
        temporary_folder_kib: int = 0,
        timing_workers: int = 1,
    ) -> None:
        self._pool = WorkerPool(workers or usable_processors(), self._start)
        self._timing_workers = min(timing_workers, self._pool.count)
        self._minimum_level = minimum_level
        self._preload = list(preload)
        self._child_per = child_per
        self._launcher = launcher
        self._layers = list(layers)
        self._temporary_folder_kib = temporary_folder_kib
        self._lock = threading.Lock()
        self._isolation: Isolation | None = None
        """That of the weakest worker so far."""
        self._version = ""
        self._libraries: list[str] = []

    @classmethod
    def from_config(cls, section: "SandboxConfig", resources: "ResourcesConfig") -> "LocalSandbox":
        """Make the sandbox that ``sandbox:`` and ``resources:`` of a config describe."""
        return cls(
            resources.workers or None,
            section.minimum_level,
            preload=dict.fromkeys((*PRELOAD, *section.modules)),
            child_per=section.child_per,
            launcher=launchers.from_config(section.launcher),
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
        place, version = "local", sys.version
        if self._launcher or any(
            name.partition(".")[0] not in sys.stdlib_module_names for name in self._preload
        ):
            self.probe()  # Only the zygote knows its interpreter and the versions of libraries.
        if self._launcher:
            place, version = f"{self._launcher.name} ({self._launcher.python})", self._version
        loaded = " ".join([*sorted(self._preload), *self._libraries])
        folder = f" /tmp of {self._temporary_folder_kib} KiB" if self._temporary_folder_kib else ""
        return f"{place} python {version.split()[0]} child per {self._child_per}{folder} preload {loaded}"

    def probe(self) -> Isolation:
        """Start a worker if none was started yet, and return what the weakest one's attempts at breaking out found."""
        if self._isolation is None:
            self._pool.start_one()
        assert self._isolation
        return self._isolation

    def run(self, jobs: Iterable[Job]) -> Iterator[Matrix]:
        """Run jobs on all workers; matrices come in the order of the jobs, some jobs are read ahead."""
        batches = in_batches(jobs, self._pool.count, grouped=self._child_per == "group")
        for matrices in self._pool.in_order(self._run_batch, batches, self._pool.count):
            yield from matrices

    def run_batch(self, batch: list[Job]) -> list[Matrix]:
        """Run jobs of equal limits together on one worker: what ``run`` does with each of its batches."""
        return self._run_batch(batch, self._pool.ask)

    def time(self, jobs: Iterable[TimingJob]) -> Iterator[TimingResult]:
        """Measure jobs, each on one worker; what else this machine does meanwhile disturbs them."""
        return self._pool.in_order(_time, jobs, self._timing_workers)

    def close(self) -> None:
        """End every process of this sandbox; its next use starts new ones."""
        self._pool.close()

    def _run_batch(self, batch: list[Job], ask: Ask) -> list[Matrix]:
        matrices = requests.run(batch, self._child_per, ask)
        level = self.probe().level
        return [Matrix(job.job_id, cells, level) for job, cells in zip(batch, matrices, strict=True)]

    def _start(self) -> Worker:
        worker = start(self._layers, self._preload, self._launcher, self._temporary_folder_kib)
        ready = worker.ready
        level, problems = _level_of(ready["layers"]), tuple(ready["problems"])
        if level < self._minimum_level:
            worker.close()
            raise BackendError(
                f"The sandbox reaches isolation level {level} on this machine and {self._minimum_level} is required: "
                + " ".join(problems)
            )
        absent = tuple(f"preload: this interpreter has no module {name}." for name in ready["missing"])
        self._version, self._libraries = ready["version"], ready["libraries"]
        found = Isolation(
            level,
            tuple(ready["layers"]),
            problems + absent,
            tuple(ready["missing"]),
            ready["temporary_folder"],
        )
        with self._lock:
            # Last, since other threads take it as a sign that all is known.
            self._isolation = min(self._isolation or found, found, key=lambda one: one.level)
        return worker


def _level_of(layers: list[str]) -> int:
    """Return the isolation level that a set of layers makes."""
    kernel = ("landlock" in layers) + ("seccomp" in layers)
    return 3 if kernel == 2 and "namespaces" in layers else kernel


def _time(job: TimingJob, ask: Ask) -> TimingResult:
    return TimingResult(job.job_id, requests.time(job, ask))
