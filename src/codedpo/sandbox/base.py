"""The seam between the project and the execution of untrusted code."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from codedpo.core.records import Oracle, Outcome, Test

if TYPE_CHECKING:
    from codedpo.core.config import SandboxConfig


SAFE_LEVEL = 2
"""Below it isolation is weak, and only taken where it was asked for."""
IMPORT_REFUSED = "ImportRefused: "
"""How the error type begins where a solution imports a module that is not preloaded; the module's name follows."""
HELPER_DIED = "SandboxDied"
"""The error type of cells of a solution with which the sandbox's helper processes died repeatedly."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one solution may use. Every limit is enforced outside the solution's own process."""

    cpu_seconds: float = 1.0
    """CPU time of one test (and of loading the solution)."""
    wall_factor: float = 5.0
    """Wall time of one test as a multiple of ``cpu_seconds``: only for programs that sleep."""
    memory_mib: int = 512
    """Address space beyond that of the empty child; twice that while it is timed, since copies are loaded."""
    threads: int = 12
    """Solutions that are timed against each other share the sum of theirs."""
    output_kib: int = 4096
    """Returned values of all tests together, or the standard output of one program."""
    timeouts_per_solution: int = 2
    """After so many time-outs the solution's remaining tests are not run."""

    @classmethod
    def from_config(cls, section: "SandboxConfig") -> "Limits":
        """Return the limits that ``sandbox:`` of a config sets."""
        return cls(
            cpu_seconds=section.cpu_seconds,
            memory_mib=section.memory_mib,
            timeouts_per_solution=section.timeouts_per_solution,
        )


@dataclass(frozen=True, slots=True)
class Check:
    """One test of one job.

    Where ``call`` is given and ``expected`` can be evaluated as plain data, the verdict is the split oracle's. With
    ``call`` alone the expectation is the value of ``Job.reference``, or, without one, only the digest is wanted
    and any value passes. With ``stdin`` the solution runs as a program whose standard output is compared with
    ``expected``. All else runs as ``code`` beside the solution, and its cells say so.
    """

    code: str = ""
    """The assertion or check program as it runs beside the solution, ``assert f(1) == 2``."""
    call: str = ""
    """The expression whose value is compared, ``f(1)``."""
    expected: str = ""
    """The expected value, a Python literal expression, evaluated outside the child; or the expected output."""
    stdin: str | None = None
    """Standard input of a solution that is a program: every such test has a process of its own."""
    tolerance: float = 0.0
    """Where above 0, numbers may differ by it, or relatively by 1e-7, as in evalplus."""


@dataclass(frozen=True, slots=True)
class Job:
    """All solutions of one task against all its tests."""

    job_id: str
    solutions: tuple[str, ...]
    checks: tuple[Check, ...]
    limits: Limits = Limits()
    reference: str = ""
    """A trusted solution whose returned values are the expectations of checks that have a call and no ``expected``;
    it runs in a child of its own."""


def job_of(task_id: str, codes: Sequence[str], tests: Sequence[Test], limits: Limits) -> Job:
    """Make the job that runs programs against the tests of a task."""
    checks = tuple(Check(code=test.code, call=test.call, expected=test.expected) for test in tests)
    return Job(job_id=task_id, solutions=tuple(codes), checks=checks, limits=limits)


@dataclass(frozen=True, slots=True)
class Cell:
    """What one solution did on one test."""

    outcome: Outcome
    error_type: str = ""
    value_digest: str = ""
    cpu_ns: int = 0
    peak_kib: int = 0
    oracle: Oracle = Oracle.SPLIT


@dataclass(frozen=True, slots=True)
class Matrix:
    """The cells of a job, ``cells[solution][test]``, and the isolation under which they were reached."""

    job_id: str
    cells: tuple[tuple[Cell, ...], ...]
    isolation_level: int


@dataclass(frozen=True, slots=True)
class TimingJob:
    """Solutions whose CPU time over the same calls is to be compared."""

    job_id: str
    solutions: tuple[str, ...]
    calls: tuple[str, ...]
    """Expressions; one sample runs them all, looped until it takes at least ``sample_ms``. Where a solution remembers
    results, a sample is shorter: one pass of each of at most 31 fresh copies."""
    sample_ms: float = 1.0
    repeats: int = 5
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class TimingResult:
    """CPU time of one pass over the calls: ``samples_ns[solution][repeat]``, empty where a solution did not finish.

    Repeats of different solutions are interleaved, so that ``samples_ns[a][k]`` and ``samples_ns[b][k]`` were
    taken close together and form a pair.
    """

    job_id: str
    samples_ns: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Isolation:
    """What was found to hold on this machine, by trying real attacks, not by return codes."""

    level: int
    """3 namespaces, Landlock, seccomp, limits; 2 without namespaces; 1 one of Landlock and seccomp; 0 limits."""
    layers: tuple[str, ...]
    problems: tuple[str, ...]
    """For each layer that is missing: its errno and the remedy, one sentence each."""
    missing_modules: tuple[str, ...] = ()
    """Modules that were to be preloaded and that the interpreter of the programs does not have."""
    temporary_folder: bool = False
    """Whether a program finds a ``/tmp`` that it may write, empty and its own."""


class Sandbox(Protocol):
    """Runs untrusted Python programs.

    Constructing one is cheap: processes start on first use. Every kind also has a class method
    ``from_config(section: SandboxConfig, resources: ResourcesConfig)``.

    Raises:
        BackendError: the sandbox itself is broken or weaker than the required level. What a program does
            (crash, loop, attack) is a ``Cell``, never an exception.
    """

    @property
    def identity(self) -> str:
        """Names backend, interpreter version and preloaded modules: what can change a verdict."""
        ...

    def probe(self) -> Isolation:
        """Try the isolation on this machine and say what holds."""
        ...

    def run(self, jobs: Iterable[Job]) -> Iterator[Matrix]:
        """Run a stream of jobs over all workers; results come in input order."""
        ...

    def time(self, jobs: Iterable[TimingJob]) -> Iterator[TimingResult]:
        """Measure a stream of timing jobs, each on one worker; results come in input order."""
        ...

    def close(self) -> None:
        """End every process; nothing is left behind."""
        ...
