"""What a test wants, and the verdict on what a child claims: every byte of the claim is distrusted."""

import contextlib
import os
import resource
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from codedpo.sandbox import child, literals, values, wire

_CAREFUL_BYTES = 1 << 16
"""A longer reply is read in a process of its own: it could be made to be slow to read."""
_CAREFUL_SECONDS = 10
_MOST_CPU_NS = (1 << 63) - 1
"""A child may claim more; tables and caches hold no more."""
_UNKNOWN = object()

CellRow = tuple[str, str, str, int, bool]
"""Outcome, error type, value digest, CPU nanoseconds, whether the split oracle decided."""


class Expectation(NamedTuple):
    """What one test wants: a value, an output, or, where ``split`` is false, nothing but that its code passes."""

    split: bool
    value: Any
    output: str | None
    tolerance: float


def expectation_of(
    code: str, call: str, expected: str, stdin: str | None, tolerance: float, *, referred: bool
) -> Expectation:
    """Decide how a test is judged; the values of a reference solution are filled in later."""
    if stdin is not None:
        return Expectation(True, _UNKNOWN, expected, tolerance)
    if call and referred and not expected:
        return Expectation(True, _UNKNOWN, None, tolerance)
    if call and expected:
        try:
            return Expectation(True, literals.evaluate(expected), None, tolerance)
        except ValueError:
            pass
    elif call and not code:
        return Expectation(True, _UNKNOWN, None, tolerance)
    return Expectation(False, None, None, tolerance)


def same_output(output: str, expected: str) -> bool:
    """Compare printed text: line by line without surrounding blanks, numbers in a line by value."""
    lines, wanted = ([line.split() for line in text.strip().split("\n")] for text in (output, expected))
    if lines == wanted:
        return True
    if len(lines) != len(wanted):
        return False
    return all(
        len(line) == len(other) and all(map(_same_word, line, other))
        for line, other in zip(lines, wanted, strict=True)
    )


def _same_word(word: str, other: str) -> bool:
    try:
        return word == other or (len(word) < 400 and Decimal(word) == Decimal(other))
    except InvalidOperation:
        return False


class Judge:
    """Turns the records about one task's solutions into cells.

    Args:
        expectations: one a test.
        solutions: number of solutions.
        cpu_seconds: what a test may use.
    """

    def __init__(self, expectations: Sequence[Expectation], solutions: int, cpu_seconds: float) -> None:
        self._expectations = expectations
        self._limit_ns = int(cpu_seconds * 1e9)
        self._known: dict[tuple[int, bytes], tuple[str, str, str]] = {}
        splits = [expectation.split for expectation in expectations]
        self._splits = splits
        self.cells: list[list[CellRow]] = [
            [("not_run", "", "", 0, split) for split in splits] for _ in range(solutions)
        ]
        """``cells[solution][test]``. What no record or event tells was not run."""

    def hear(self, solution: int, test: int, kind: int, cpu_ns: int, content: bytes) -> None:
        """Take in what a child wrote about one of its own solutions."""
        if kind == child.NOT_LOADED:
            self._all(solution, "not_loaded", _text(content))
        elif test < len(self._splits):
            self.cells[solution][test] = self._cell(test, kind, cpu_ns, content)

    def note(self, solution: int, test: int, how: str, cpu_ns: int) -> None:
        """Take in how a child ended that could not write about it."""
        if test < len(self._splits):
            self.cells[solution][test] = (how, "", "", cpu_ns, self._splits[test])
        elif how == "timeout":
            self._all(solution, "not_loaded", "Timeout")
        else:
            self._all(solution, how, "")

    def _all(self, solution: int, outcome: str, error: str) -> None:
        self.cells[solution] = [(outcome, error, "", 0, split) for split in self._splits]

    def _cell(self, test: int, kind: int, cpu_ns: int, content: bytes) -> CellRow:
        expectation = self._expectations[test]
        split = expectation.split
        if cpu_ns > self._limit_ns:
            return "timeout", "", "", cpu_ns, split
        if kind == child.VALUE and split:
            known = self._known.get((test, content))
            if known is None:
                known = self._known[test, content] = _carefully(content, expectation)
            return *known, cpu_ns, True
        if kind == child.OUTPUT and expectation.output is not None:
            output = content.decode("utf-8", "replace")
            matches = same_output(output, expectation.output)
            return "passed" if matches else "failed", "", values.digest(output.split()), cpu_ns, True
        if kind == child.PASSED and not split:
            return "passed", "", "", cpu_ns, False
        if kind == child.FAILED and not split:
            return "failed", "", "", cpu_ns, False
        outcome = {child.OPAQUE: "opaque", child.ERROR: "error", child.MEMORY: "memory"}.get(kind, "crashed")
        return outcome, _text(content), "", cpu_ns, split


def records_of(chunk: bytes) -> Iterator[tuple[int, int, int, int, bytes]]:
    """Yield the records of a chunk that a child wrote, as far as they make sense."""
    place, end = 0, len(chunk)
    while place + child.RECORD.size <= end:
        solution, test, kind, cpu_ns, length = child.RECORD.unpack_from(chunk, place)
        place += child.RECORD.size
        if place + length > end:
            return
        yield solution, test, kind, min(cpu_ns, _MOST_CPU_NS), chunk[place : place + length]
        place += length


def _text(content: bytes) -> str:
    return "".join(letter for letter in content[:80].decode("utf-8", "replace") if letter.isprintable())


def _verdict(content: bytes, expectation: Expectation) -> tuple[str, str, str]:
    try:
        value = values.read(content)
        name = values.digest(value)
    except (values.OpaqueError, MemoryError, RecursionError) as error:
        return "opaque", _text(str(error).encode("utf-8", "replace")), ""
    if expectation.value is _UNKNOWN or values.same(value, expectation.value, expectation.tolerance):
        return "passed", "", name
    return "failed", "", name


def _carefully(content: bytes, expectation: Expectation) -> tuple[str, str, str]:
    """Judge a reply; a long one in a forked process, so that reading it cannot hang or kill this one."""
    if len(content) <= _CAREFUL_BYTES:
        return _verdict(content, expectation)
    inlet, outlet = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (_CAREFUL_SECONDS, _CAREFUL_SECONDS))
            wire.write_all(outlet, "\n".join(_verdict(content, expectation)).encode())
        finally:
            os._exit(0)
    os.close(outlet)
    reply = wire.read_up_to(inlet, 4096).decode()
    os.close(inlet)
    os.waitpid(pid, 0)
    outcome, error, name = reply.split("\n") if reply.count("\n") == 2 else ("opaque", "too_slow_to_read", "")
    return outcome, error, name


def with_reference(
    expectations: list[Expectation], records: list[tuple[int, int, int, int, bytes]]
) -> list[Expectation]:
    """Fill in what the reference returned; a test on which it returned nothing can be passed by nobody."""
    returned: dict[int, Any] = {}
    for _, test, kind, _, content in records:
        if kind == child.VALUE:
            with contextlib.suppress(values.OpaqueError):
                returned[test] = values.read(content)
    return [
        each._replace(value=returned.get(test, values.OpaqueError))
        if each.split and each.output is None and each.value is _UNKNOWN
        else each
        for test, each in enumerate(expectations)
    ]
