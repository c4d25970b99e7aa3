"""What a person sees while work goes on: bars on a terminal, plain lines elsewhere, JSON lines on request."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import structlog
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

Advance = Callable[[int], None]
Step = TypeVar("Step")

SECONDS_BETWEEN_LINES = 10.0
LEAST_SHARE = 0.05
"""Of the steps, before the time left is estimated: an engine that works on many at once ends its first ones late."""


def followed(steps: Iterable[Step], advance: Advance) -> Iterator[Step]:
    """Yield steps as they come, and count each when it is done with."""
    for step in steps:
        yield step
        advance(1)


class Voice:
    """Says what happens, to a person (``console``) or to a program (``json_lines``), on standard error."""

    def __init__(self, *, json_lines: bool = False, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet or json_lines, highlight=False)
        self._log: Any = None
        if json_lines:
            renderer = structlog.processors.JSONRenderer()
            self._log = structlog.wrap_logger(
                structlog.PrintLogger(sys.stderr),
                processors=[structlog.processors.TimeStamper(fmt="iso", utc=True), renderer],
            )

    def say(self, text: str, event: str = "message", style: str = "", **fields: Any) -> None:
        """Print one line, or log it as ``event`` with ``fields``; brackets in it are brackets."""
        if self._log is not None:
            self._log.msg(event, text=text, **fields)
        else:
            self.console.print(Text(text, style), soft_wrap=True)

    @contextmanager
    def progress(self, description: str, total: int, done: int = 0) -> Iterator[Advance]:
        """Show progress of ``total`` steps, ``done`` of them before this run; yields the function that advances it."""
        if self.console.is_terminal and not self.console.quiet:
            columns = (
                TextColumn("  {task.description}", style="bold", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
            )
            with Progress(*columns, console=self.console, transient=True) as bar:
                task = bar.add_task(description, total=total, completed=done)
                yield lambda count: bar.advance(task, count)
            return
        yield self._plain_lines(description, total, done)

    def follow(self, description: str, steps: Iterable[Step], total: int) -> Iterator[Step]:
        """Yield ``total`` steps as they come, and show how many came."""
        with self.progress(description, total) as advance:
            yield from followed(steps, advance)

    def _plain_lines(self, description: str, total: int, done: int) -> Advance:
        start = last = time.monotonic()
        before, count = done, done

        def advance(steps: int) -> None:
            nonlocal count, last
            count += steps
            now = time.monotonic()
            if now - last < SECONDS_BETWEEN_LINES or count >= total:
                return
            last = now
            left: int | None = None
            if count - before >= LEAST_SHARE * (total - before):
                left = round((now - start) / (count - before) * (total - count))
            estimate = "" if left is None else f", about {timedelta(seconds=left)} left"
            self.say(
                f"  {description}: {count} of {total}{estimate}",
                event="progress",
                stage=description,
                done=count,
                total=total,
                seconds_left=left,
            )

        return advance
