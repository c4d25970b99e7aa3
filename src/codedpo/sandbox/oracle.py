"""The process that holds the expectations and reaches the verdicts; it never runs what a model wrote.

It sits between the caller and the zygote: it keeps what a call should return, sends the zygote the rest, and
compares what the children claim. It distrusts every byte of theirs, and is itself limited and filtered, since it
reads those bytes. Standard library only.
"""

import contextlib
import os
import resource
import select
import struct
import sys
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from codedpo.sandbox import child, isolation, literals, seccomp, values, wire

_CAREFUL_BYTES = 1 << 16
"""A longer reply is read in a process of its own: it could be made to be slow to read."""
_CAREFUL_SECONDS = 10
_ADDRESS_SPACE = 4 << 30
_REFERENCE_PATIENCE = 10.0
"""A reference solution may use so many times the CPU time of a candidate."""
_UNKNOWN = object()

CellRow = tuple[str, str, str, int, bool]
"""Outcome, error type, value digest, CPU nanoseconds, whether the split oracle decided."""


Chunk = tuple[int, int, bytes]
"""First solution, end, and the records that a child wrote about solutions between them."""


class Expectation(NamedTuple):
    """What one test wants: a value, an output, or, where ``split`` is false, nothing but that its code passes."""

    split: bool
    value: Any
    output: str | None
    tolerance: float


def level_of(layers: list[str]) -> int:
    """Return the isolation level that a set of layers makes."""
    kernel = ("landlock" in layers) + ("seccomp" in layers)
    return 3 if kernel == 2 and "namespaces" in layers else kernel


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
    """Turns the records of one job's children into cells."""

    def __init__(self, expectations: list[Expectation], cpu_seconds: float) -> None:
        self._expectations = expectations
        self._limit_ns = int(cpu_seconds * 1e9)
        self._known: dict[tuple[int, bytes], tuple[str, str, str]] = {}

    def cells(
        self, solutions: int, records: list[Chunk], events: list[tuple[int, int, str, int]]
    ) -> list[list[CellRow]]:
        """Return ``cells[solution][test]``. What no record or event tells was not run."""
        splits = [expectation.split for expectation in self._expectations]
        tests = len(splits)
        table: list[list[CellRow]] = [
            [("not_run", "", "", 0, split) for split in splits] for _ in range(solutions)
        ]
        for first, end, chunk in records:
            for solution, test, kind, cpu_ns, content in _records(chunk):
                if not first <= solution < end:
                    continue  # A child speaks for the solutions that it was given, for no other.
                if kind == child.NOT_LOADED:
                    table[solution] = [("not_loaded", _text(content), "", 0, split) for split in splits]
                elif test < tests:
                    table[solution][test] = self._cell(test, kind, cpu_ns, content)
        for solution, test, how, cpu_ns in events:
            if test < tests:
                table[solution][test] = (how, "", "", cpu_ns, splits[test])
            elif how == "timeout":
                table[solution] = [("not_loaded", "Timeout", "", 0, split) for split in splits]
            else:
                table[solution] = [(how, "", "", 0, split) for split in splits]
        return table

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


def _records(chunk: bytes) -> Any:
    """Yield the records of a chunk that a child wrote, as far as they make sense."""
    place, end = 0, len(chunk)
    while place + child.RECORD.size <= end:
        solution, test, kind, cpu_ns, length = child.RECORD.unpack_from(chunk, place)
        place += child.RECORD.size
        if place + length > end:
            return
        yield solution, test, kind, cpu_ns, chunk[place : place + length]
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


class Oracle:
    """One worker: a zygote, and the judging of its jobs."""

    def __init__(self, zygote: wire.Channel) -> None:
        self._zygote = zygote

    def run(self, request: Any) -> Any:
        """Run a job that the caller sent; return its cells, and the peak memory of each solution in KiB."""
        solutions, checks, reference, limits, grouped, fork_per_test = request
        cpu_seconds, wall_factor, memory_mib, threads, output_kib, timeouts = limits
        expectations = [expectation_of(*check, referred=bool(reference)) for check in checks]
        sources = [
            (each.split, check[1] if each.split else check[0])
            for each, check in zip(expectations, checks, strict=True)
        ]
        stdin = [None if check[3] is None else check[3].encode() for check in checks]
        rest = (cpu_seconds, wall_factor, memory_mib, threads, output_kib, timeouts, grouped, fork_per_test)
        if reference:
            patient = (cpu_seconds * _REFERENCE_PATIENCE, *rest[1:])
            records, _, _ = self._ask([reference], sources, stdin, patient)
            expectations = _with_reference(expectations, records)
        records, events, peaks = self._ask(solutions, sources, stdin, rest)
        return Judge(expectations, cpu_seconds).cells(len(solutions), records, events), peaks

    def time(self, request: Any) -> Any:
        """Pass a timing job on; return its samples."""
        return self._exchange("time", request)

    def _ask(self, solutions: list[str], sources: Any, stdin: Any, rest: tuple[Any, ...]) -> Any:
        return self._exchange("run", (solutions, sources, stdin, *rest))

    def _exchange(self, kind: str, request: Any) -> Any:
        self._zygote.send((kind, request))
        reply = self._zygote.receive()
        if reply is None:
            raise EOFError("the zygote ended")
        return reply


def _with_reference(expectations: list[Expectation], records: list[Chunk]) -> list[Expectation]:
    """Fill in what the reference returned; a test on which it returned nothing can be passed by nobody."""
    returned: dict[int, Any] = {}
    for _, _, chunk in records:
        for _, test, kind, _, content in _records(chunk):
            if kind == child.VALUE:
                with contextlib.suppress(values.OpaqueError):
                    returned[test] = values.read(content)
    return [
        each._replace(value=returned.get(test, values.OpaqueError))
        if each.split and each.output is None and each.value is _UNKNOWN
        else each
        for test, each in enumerate(expectations)
    ]


def start_zygote(argv: list[str], environment: dict[str, str]) -> tuple[int, wire.Channel]:
    """Start the zygote's interpreter; return its process id and the channel to it."""
    to_zygote, from_zygote = os.pipe(), os.pipe()
    actions = [(os.POSIX_SPAWN_DUP2, to_zygote[0], 0), (os.POSIX_SPAWN_DUP2, from_zygote[1], 1)]
    pid = os.posix_spawnp(argv[0], argv, environment, file_actions=actions)
    os.close(to_zygote[0])
    os.close(from_zygote[1])
    return pid, wire.Channel(from_zygote[0], to_zygote[1])


def lock() -> list[str]:
    """Limit and filter this process; what the kernel cannot do is named, not raised: the zygote decides the level."""
    missing = []
    isolation.limit_helper(_ADDRESS_SPACE)
    for name, layer in (
        ("no_new_privs", isolation.forbid_new_privileges),
        ("landlock", isolation.forbid_files),
        (
            "seccomp",
            lambda: seccomp.Filter(seccomp.build(seccomp.HELPER_RULES, allow_others=False)).install(),
        ),
    ):
        try:
            layer()
        except (OSError, KeyError) as error:
            missing.append(f"{name}: {error}")
    return missing


def main() -> None:
    """Serve a caller on standard input and output until it closes them or ends."""
    parent = os.getppid()
    caller = wire.take_standard_channel()
    options = caller.receive()
    _, zygote = start_zygote(options["zygote_argv"], options["environment"])
    options["zygote"]["oracle_pid"] = os.getpid()
    zygote.send(options["zygote"])
    ready = zygote.receive()
    if ready is None:
        sys.exit(1)
    lock()
    caller.send(ready)
    os.dup2(0, 2)
    oracle = Oracle(zygote)
    while True:
        while not select.select([3], [], [], 2.0)[0]:
            if os.getppid() != parent:
                return
        request = caller.receive()
        if request is None:
            return
        try:
            kind, work = request
            caller.send(oracle.time(work) if kind == "time" else oracle.run(work))
        except (EOFError, struct.error, values.OpaqueError, BrokenPipeError):
            return
