"""What a stage is given: the config, the tables before it, its own folder, and the services it may use."""

import resource
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import psutil
import pyarrow as pa

from codedpo.core.config import Config
from codedpo.core.errors import DataError, TooManyRejectsError
from codedpo.core.progress import Advance, Voice
from codedpo.core.records import Reject
from codedpo.core.stage import StageFolder
from codedpo.core.tables import TasksOfTable, find_rows, read_columns, read_rows
from codedpo.llm.base import Reply, Request
from codedpo.sandbox.base import Job, Matrix, Sandbox
from codedpo.services import Services

Row = TypeVar("Row")
Item = TypeVar("Item")


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of its descendants, running ones included."""
    ended = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    total = sum(usage.ru_utime + usage.ru_stime for usage in ended)
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


@dataclass(slots=True)
class Part(Generic[Item]):
    """A piece of a stage's work that is written once, whole."""

    index: int
    items: Sequence[Item]
    counters: dict[str, float]
    """Added up over parts and shown with the stage: tokens, cached replies, degradations."""
    _write: Callable[["Part[Item]", Mapping[type, Iterable[Any]], Iterable[Reject]], None]

    def write(self, tables: Mapping[type, Iterable[Any]], rejects: Iterable[Reject] = ()) -> None:
        """Store the part's rows by row type, and its rejects; afterwards the part is never done again."""
        self._write(self, tables, rejects)

    def count(self, name: str, amount: float = 1) -> None:
        """Add to a counter."""
        self.counters[name] = self.counters.get(name, 0) + amount


@dataclass(slots=True)
class StageContext:
    """Handed to a stage's ``run``."""

    name: str
    config: Config
    folder: StageFolder
    inputs: Mapping[type, Sequence[Path]]
    """Parts of every table of the stages before."""
    stage_folders: Mapping[str, Path]
    """Folders of the stages before, for what is not a table (trained weights)."""
    services: Services
    voice: Voice
    _open_part: "Part[Any] | None" = field(default=None, init=False)

    def read(self, row_type: type[Row]) -> list[Row]:
        """Read a whole table of an earlier stage as rows, in the order they were written."""
        return read_rows(self._paths(row_type), row_type)

    def find(self, row_type: type[Row], key: str, values: Sequence[str]) -> list[Row]:
        """Read the rows of a table of an earlier stage that have one of some values in a text column."""
        return find_rows(self._paths(row_type), row_type, key, values)

    def tables(self, row_type: type[Any], *columns: str) -> Iterator[pa.Table]:
        """Read a table of an earlier stage file by file, as Arrow columns; stages write the rows of a task together."""
        for path in self._paths(row_type):
            yield read_columns([path], row_type, columns)

    def columns(self, row_type: type[Any], *columns: str) -> pa.Table:
        """Read some columns of a table of an earlier stage, whole; without names all of them."""
        return read_columns(self._paths(row_type), row_type, columns)

    def by_task(self, row_type: type[Any], *columns: str, key: str = "task_id") -> TasksOfTable:
        """Open a table of an earlier stage to read it for some tasks at a time: the way for what grows with the run."""
        return TasksOfTable(self._paths(row_type), row_type, columns, key)

    def _paths(self, row_type: type[Any]) -> Sequence[Path]:
        if row_type not in self.inputs:
            raise DataError(
                f"the stage {self.name} reads no table of {row_type.__name__}; add it to STAGES in codedpo.stages."
            )
        return self.inputs[row_type]

    def unfinished(self, items: Sequence[Item]) -> Iterator[Item]:
        """Yield the items of the parts that ``parts`` will yield, for work that goes on from part to part."""
        size = self.config.shard_size
        finished = set(self.folder.finished_parts())
        for index, start in enumerate(range(0, len(items), size)):
            if index not in finished:
                yield from items[start : start + size]

    def parts(self, items: Sequence[Item], *, whole: bool = False) -> Iterator[Part[Item]]:
        """Cut ``items`` into parts of ``config.shard_size`` and yield those that are not written yet.

        Progress counts items. ``whole`` makes a single part, for work that needs all rows at once. An empty
        ``items`` gives one empty part, so that the stage's tables exist.
        """
        size = max(len(items), 1) if whole else self.config.shard_size
        finished = set(self.folder.finished_parts())
        starts = list(range(0, max(len(items), 1), size))
        done = sum(
            len(items[start : start + size]) for index, start in enumerate(starts) if index in finished
        )
        with self.voice.progress(self.name, len(items), done) as advance:
            for index, start in enumerate(starts):
                if index in finished:
                    continue
                part = Part(index, items[start : start + size], {}, self._writer())
                self._open_part = part
                yield part
                self._open_part = None
                advance(len(part.items))

    def _writer(self) -> Callable[[Part[Any], Mapping[type, Iterable[Any]], Iterable[Reject]], None]:
        cpu, wall = cpu_seconds(), time.monotonic()

        def write(part: Part[Any], tables: Mapping[type, Iterable[Any]], rejects: Iterable[Reject]) -> None:
            self.folder.write_part(
                part.index, tables, rejects, part.counters, cpu_seconds() - cpu, time.monotonic() - wall
            )

        return write

    def generate(self, requests: Sequence[Request], description: str = "") -> Iterator[Reply]:
        """Ask the run's model, through the request cache, with progress over samples; tokens are counted.

        Refused replies are yielded like others (``finish_reason="refused"``) and counted.
        """
        total = sum(request.count for request in requests)
        if not total:
            return
        generator = self.services.generator
        before = dict(generator.counters)
        with self.progress(description or f"{self.name}: replies", total) as advance:
            for reply in generator.generate(requests):
                advance(1)
                yield reply
        if self._open_part is not None:
            for name, value in generator.counters.items():
                self._open_part.count(name, value - before.get(name, 0))

    def execute(self, jobs: Iterable[Job]) -> Iterator[Matrix]:
        """Run jobs in the sandbox, in order; cells from the execution cache are counted, where there is one.

        The jobs may be those of several parts (``unfinished``): what is counted goes to the part that is open when a
        result is taken.
        """
        sandbox = self.sandbox
        before = self.services.sandbox_counters
        for matrix in sandbox.run(jobs):
            now = self.services.sandbox_counters
            if self._open_part is not None:
                for name, value in now.items():
                    self._open_part.count(name, value - before[name])
                before = now
            yield matrix

    def progress(self, description: str, total: int) -> AbstractContextManager[Advance]:
        """Show progress of steps inside a part."""
        return self.voice.progress(description, total)

    @property
    def sandbox(self) -> Sandbox:
        """The isolated executor, started on first use and shared by all stages."""
        return self.services.sandbox

    def check_rejects(
        self, made: int, rejected: Mapping[str, int], largest_share: float, remedy: str
    ) -> None:
        """Stop the stage where too many of its rows could not be made.

        Args:
            made: Rows that were made.
            rejected: Rows that were not, by reason.
            largest_share: Of all these rows, so many may be rejected.
            remedy: What to mend before the stage is redone.

        Raises:
            TooManyRejectsError: the share is larger; the commonest reason is named.
        """
        count = sum(rejected.values())
        if count and count / (made + count) > largest_share:
            reason = max(rejected, key=lambda name: rejected[name])
            raise TooManyRejectsError(
                f"{count} of {made + count} rows of the stage {self.name} were rejected, {rejected[reason]} of them as "
                f"{reason}, more than {self.name}.largest_reject_share={largest_share} allows; {remedy}, "
                f"then --redo {self.name}."
            )
