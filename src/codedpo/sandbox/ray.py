"""Ray workers as a sandbox: processes of a Ray cluster, on any node, each with a local sandbox of one worker.

Every node isolates by itself and refuses below the required level. Nodes need Linux, the same Python and this
package. A cluster that this process starts (no address) ends with it; workers in another's cluster end with their job.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import cycle
from types import TracebackType
from typing import Any

from codedpo import __version__
from codedpo.core.config import ResourcesConfig, SandboxConfig
from codedpo.core.errors import BackendError, CodedpoError
from codedpo.sandbox.base import Isolation, Job, Matrix, TimingJob, TimingResult
from codedpo.sandbox.batches import BATCHES_AHEAD, in_batches
from codedpo.sandbox.local import LocalSandbox, usable_processors
from codedpo.sandbox.ray_cluster import RayCluster

_START_SECONDS = 300.0
_CLOSE_SECONDS = 10.0
_RESTARTS = 3
"""A worker that is lost, with its node or for want of memory, is started again, and its batch with it."""
_AT_WORK = 2
"""Batches that a worker is given at once, so that it need not wait for the next."""


class RayWorker:
    """What runs inside a process of Ray's."""

    def __init__(self, section: SandboxConfig) -> None:
        self._sandbox = LocalSandbox.from_config(section, ResourcesConfig(workers=1))

    def describe(self) -> tuple[str, str, Isolation]:
        """Return this package's version here, the sandbox's identity, and what isolates it."""
        return __version__, self._sandbox.identity, self._sandbox.probe()

    def run(self, batch: list[Job]) -> list[Matrix]:
        """Run one batch."""
        return self._sandbox.run_batch(batch)

    def time(self, job: TimingJob) -> TimingResult:
        """Measure one job."""
        (result,) = self._sandbox.time([job])
        return result

    def close(self) -> None:
        """End the processes of this worker's sandbox."""
        self._sandbox.close()


class RaySandbox:
    """Runs programs on the workers of a Ray cluster.

    Args:
        section: what every worker's local sandbox is made of.
        workers: Ray workers; 0: one a processor of the cluster.
        address: of a running cluster; empty: start one on this machine.
        timing_workers: those of them that measure CPU time.

    Raises:
        BackendError: from the first use, where Ray is not installed, the cluster cannot be reached or has too few
            processors, or its nodes differ from this machine in Python or in this package.
    """

    def __init__(
        self, section: SandboxConfig, workers: int = 0, address: str = "", timing_workers: int = 1
    ) -> None:
        self._section = section
        self._workers = workers
        self._timing_workers = timing_workers
        self._address = address
        self._identity = ""
        self._actors: list[Any] = []
        self._isolation: Isolation | None = None
        self._cluster: RayCluster | None = None

    @classmethod
    def from_config(cls, section: SandboxConfig, resources: ResourcesConfig) -> "RaySandbox":
        """Make the sandbox that ``sandbox:`` and ``resources:`` of a config describe."""
        return cls(section, resources.workers, resources.ray_address, resources.timing_workers)

    def __enter__(self) -> "RaySandbox":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def identity(self) -> str:
        """That of a local sandbox, which every worker must have."""
        if not self._identity and self._section.launcher.kind == "none":
            with LocalSandbox.from_config(self._section, ResourcesConfig()) as local:
                self._identity = f"ray {local.identity}"
        elif not self._identity:
            self._started()
        return self._identity

    def probe(self) -> Isolation:
        """Start the workers if they do not run; return the isolation of the weakest."""
        self._started()
        assert self._isolation
        return self._isolation

    def run(self, jobs: Iterable[Job]) -> Iterator[Matrix]:
        """Run jobs on all workers; matrices come in the order of the jobs, some jobs are read ahead."""
        actors = self._started()
        waiting: deque[Any] = deque()
        owners: dict[Any, int] = {}
        """Batches that are not done -> the worker that has them."""
        try:
            for batch in in_batches(jobs, len(actors), grouped=self._section.child_per == "group"):
                free = self._free_actor(owners)
                reference = actors[free].run.remote(batch)
                owners[reference] = free
                waiting.append(reference)
                if len(waiting) > BATCHES_AHEAD * len(actors):
                    yield from self._next(waiting)
            while waiting:
                yield from self._next(waiting)
        finally:
            if waiting:  # The caller stopped listening, or something broke: what is at work ends.
                self._end_actors()

    def time(self, jobs: Iterable[TimingJob]) -> Iterator[TimingResult]:
        """Measure jobs, each on one worker, and so on one machine."""
        actors = self._started()[: self._timing_workers]
        waiting: deque[Any] = deque()
        try:
            for job, actor in zip(jobs, cycle(actors), strict=False):
                waiting.append(actor.time.remote(job))
                if len(waiting) > BATCHES_AHEAD * len(actors):
                    yield self._next(waiting)
            while waiting:
                yield self._next(waiting)
        finally:
            if waiting:
                self._end_actors()

    def close(self) -> None:
        """End the workers, and the cluster if this process started it."""
        if self._cluster is None:
            return
        import ray

        closing = [actor.close.remote() for actor in self._actors]
        if closing:
            ray.wait(closing, num_returns=len(closing), timeout=_CLOSE_SECONDS)
        self._end_actors()
        self._cluster.close()
        self._cluster = None

    def _free_actor(self, owners: dict[Any, int]) -> int:
        """Forget batches that are done, wait where every worker has enough, and return the least loaded worker."""
        import ray

        while True:
            full = len(owners) >= _AT_WORK * len(self._actors)
            if owners:
                done, _ = ray.wait(
                    list(owners),
                    num_returns=1 if full else len(owners),
                    timeout=None if full else 0,
                    fetch_local=False,
                )
                for reference in done:
                    del owners[reference]
            if len(owners) < _AT_WORK * len(self._actors):
                load = Counter(owners.values())
                return min(range(len(self._actors)), key=lambda number: load[number])

    def _next(self, waiting: deque[Any]) -> Any:
        """Return the first result, and only then count it as no longer at work."""
        result = self._ask(waiting[0])
        waiting.popleft()
        return result

    def _ask(self, reference: Any, timeout: float | None = None) -> Any:
        import ray

        try:
            return ray.get(reference, timeout=timeout)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, CodedpoError):
                raise error.cause from None
            raise BackendError(f"A Ray worker failed: {error.cause!r}; see its log.") from error
        except ray.exceptions.GetTimeoutError:
            raise BackendError(
                f"Ray gave no workers within {_START_SECONDS:.0f} s; free some of its processors, or set"
                " resources.workers to fewer."
            ) from None
        except ray.exceptions.RayError as error:
            reason = str(error).strip().split("\n")[0]
            raise BackendError(
                f"A Ray worker was lost and could not be replaced ({reason}); look at its node, then give the same"
                " command again."
            ) from error

    def _started(self) -> list[Any]:
        if not self._actors:
            if self._cluster is None:
                self._cluster = RayCluster(self._address, self._workers or usable_processors())
            try:
                self._start_actors()
            except BaseException:
                self.close()
                raise
        return self._actors

    def _start_actors(self) -> None:
        import ray

        processors = int(ray.cluster_resources().get("CPU", 0))
        count = self._workers or processors
        if not 0 < count <= processors:
            raise BackendError(
                f"The Ray cluster has {processors} processors and {max(count, 1)} workers are asked for; set"
                " resources.workers to fewer or add nodes."
            )
        # They hold no processor while they wait: sandboxes with other modules or for an audit stand beside.
        kind = ray.remote(scheduling_strategy="SPREAD", max_restarts=_RESTARTS, max_task_retries=_RESTARTS)(
            RayWorker
        )
        self._actors = [kind.remote(self._section) for _ in range(count)]
        found = self._ask([actor.describe.remote() for actor in self._actors], _START_SECONDS)
        if self._section.launcher.kind == "none":
            found.append((__version__, self.identity.removeprefix("ray "), found[0][2]))
        strangers = sorted({version for version, _, _ in found} - {__version__})
        identities = {identity for _, identity, _ in found}
        if strangers or len(identities) > 1:
            differ = f"codedpo {', '.join(strangers)}" if strangers else "; ".join(sorted(identities))
            raise BackendError(
                f"The nodes of the Ray cluster differ from this machine ({differ}); install the same Python and"
                f" codedpo {__version__} on all."
            )
        self._identity = f"ray {identities.pop()}"
        self._isolation = min((isolation for _, _, isolation in found), key=lambda one: one.level)

    def _end_actors(self) -> None:
        import ray

        for actor in self._actors:
            with suppress(ray.exceptions.RayError, RuntimeError):
                ray.kill(actor, no_restart=True)
        self._actors = []
