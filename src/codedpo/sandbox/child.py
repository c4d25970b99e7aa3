"""What runs in a locked child: loads solutions, makes the calls, writes what they returned into shared memory.

Everything here happens inside the sandbox, beside untrusted code that may change any of it; so nothing here
decides anything. The oracle decides, from bytes that it distrusts. Standard library only.
"""

import atexit
import struct
import sys
import time
import types
from collections.abc import Callable
from typing import Any

from codedpo.sandbox import values
from codedpo.sandbox.tame import is_tame, stored_names

VALUE, OPAQUE, ERROR, FAILED, PASSED, MEMORY, NOT_LOADED, OUTPUT = range(8)
"""Kinds of records. VALUE carries a pickle, OPAQUE, ERROR and NOT_LOADED the name of a class."""
RECORD = struct.Struct("=IIBQI")
"""Solution, test, kind, CPU nanoseconds, length of what follows."""
PROGRESS = struct.Struct("=IIQQ")
"""Solution and test at work, CPU nanoseconds of the process when it began, bytes of records written."""
PREPARING, LOADING, DONE = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
"""As test: compiling the tests, loading the solution; as solution: all done. ``PREPARING`` as solution: not begun."""
FLAGS, RECORDS = 64, 64 + 4096
"""Offsets in the arena: a byte per solution (1: wants a child of its own), then the records."""
MOST_SOLUTIONS = RECORDS - FLAGS

_CALL, _PROGRAM = "eval", "exec"


class Recorder:
    """Writes progress and records into the arena; keeps what it needs out of reach of later changes."""

    def __init__(self, arena: Any, output_kib: int, *, alone: bool) -> None:
        self._arena = arena
        self._alone = alone
        self._used = 0
        self._values = 0
        self._most_values = output_kib * 1024
        self._most_used = len(arena) - RECORDS - RECORD.size
        self._write_progress = PROGRESS.pack_into
        self._write_record = RECORD.pack_into
        self._size = RECORD.size

    def begin(self, solution: int, test: int, cpu_ns: int) -> None:
        """Say what starts now, so that whoever watches can blame the right cell."""
        self._write_progress(self._arena, 0, solution, test, cpu_ns, self._used)

    def add(self, solution: int, test: int, kind: int, cpu_ns: int, content: bytes) -> None:
        """Append a record; one that does not fit is marked opaque.

        Raises:
            MemoryError: it does not fit, and solutions share this child: one of them must not take all the room.
        """
        self._values += len(content)
        if self._values > self._most_values or self._used + len(content) > self._most_used:
            if not self._alone:
                raise MemoryError
            self._values -= len(content)
            kind, content = OPAQUE, b"too_large"
            if self._used + len(content) > self._most_used:
                return
        place = RECORDS + self._used
        self._write_record(self._arena, place, solution, test, kind, cpu_ns, len(content))
        place += self._size
        self._arena[place : place + len(content)] = content
        self._used += self._size + len(content)

    def wants_own_child(self, solution: int) -> None:
        """Mark a solution that must not, or could not, share this child."""
        self._arena[FLAGS + solution] = 1


def _error_name(error: BaseException) -> bytes:
    """Name an exception; an import that the sandbox refused names the module."""
    name = type(error).__name__
    if isinstance(error, ModuleNotFoundError) and error.name:
        name = f"ImportRefused: {error.name}"
    return name.encode("utf-8", "replace")[:80]


def new_namespace(name: str) -> dict[str, Any]:
    """Return the namespace of a fresh module, which ``sys.modules`` then knows."""
    module = types.ModuleType(name)
    sys.modules[name] = module
    return vars(module)


class Runner:
    """Runs one task's solutions in this process.

    Args:
        record: where what happens is written.
        checks: for every test whether it is a call (else a program that asserts) and its source.
        seeds_random: whether the global random generators are seeded before every test.
        alone: whether this process has one solution only.
    """

    def __init__(
        self, record: Recorder, checks: list[tuple[bool, str]], *, seeds_random: bool, alone: bool
    ) -> None:
        self._record = record
        self._checks = checks
        self._codes: list[types.CodeType | None] = [None] * len(checks)
        self._seed = seeder() if seeds_random else None
        self._clock: Callable[[], int] = time.process_time_ns
        self._alone = alone
        self._tests_are_tame: dict[frozenset[str], bool] = {}

    def compile_tests(self) -> None:
        """Compile every test now, before any solution runs."""
        for test in range(len(self._checks)):
            self._compile(test)

    def run_if_tame(self, solution: int, source: str, first_test: int) -> None:
        """Run a solution from its test ``first_test`` on if it and its tests are tame; else mark it."""
        try:
            code = compile(source, "<solution>", "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            code = None
        except Exception:
            self._record.wants_own_child(solution)
            return
        if code is not None:
            names = stored_names(code)
            known = self._tests_are_tame.get(names)
            if known is None:
                known = all(is_tame(test, names) for test in self._codes if test is not None)
                self._tests_are_tame[names] = known
            if not (known and is_tame(code)):
                self._record.wants_own_child(solution)
                return
        try:
            self.run_one(solution, source, first_test, code)
        except MemoryError:
            self._record.wants_own_child(solution)

    def run_one(
        self, solution: int, source: str, first: int, code: types.CodeType | None, last: int | None = None
    ) -> None:
        """Load one solution and run it on its tests.

        Raises:
            MemoryError: only where solutions share this child; the caller has it run again, alone.
        """
        record, clock, codes = self._record, self._clock, self._codes
        namespace = new_namespace("solution")
        if self._seed:
            self._seed()
        start = clock()
        try:
            exec(code or compile(source, "<solution>", "exec", dont_inherit=True), namespace)
        except BaseException as error:
            if isinstance(error, MemoryError) and not self._alone:
                raise
            record.add(solution, LOADING, NOT_LOADED, clock() - start, _error_name(error))
            return
        for test in range(first, len(codes) if last is None else last):
            if self._seed:
                self._seed()
            record.begin(solution, test, clock())
            is_call = self._checks[test][0]
            test_code = codes[test] or self._compile(test)
            if test_code is None:
                record.add(solution, test, ERROR, 0, b"SyntaxError")
                continue
            start = clock()
            try:
                value = eval(test_code, namespace if is_call else dict(namespace))
                spent = clock() - start
                if is_call:
                    kind, content = VALUE, values.write(value)
                else:
                    kind, content = PASSED, b""
                value = None
            except MemoryError:
                if not self._alone:
                    raise
                spent = clock() - start
                kind, content = MEMORY, b""
            except values.OpaqueError as error:
                kind, content = OPAQUE, str(error).encode("utf-8", "replace")[:80]
            except AssertionError as error:
                spent = clock() - start
                kind, content = (ERROR, _error_name(error)) if is_call else (FAILED, b"")
            except BaseException as error:
                spent = clock() - start
                kind, content = ERROR, _error_name(error)
            record.add(solution, test, kind, spent, content)

    def _compile(self, test: int) -> types.CodeType | None:
        is_call, source = self._checks[test]
        try:
            code = compile(source, "<test>", _CALL if is_call else _PROGRAM, dont_inherit=True)
        except (SyntaxError, ValueError):
            return None
        self._codes[test] = code
        return code


def seeder() -> Callable[[], None]:
    """Return a function that seeds the random generators that are loaded."""
    random: Any = sys.modules.get("random")
    numpy_random: Any = sys.modules.get("numpy.random")
    seeds = [module.seed for module in (random, numpy_random) if module]

    def seed() -> None:
        for one in seeds:
            one(0)

    return seed


Tasks = list[tuple[list[str], list[tuple[bool, str]]]]
"""Solutions and checks of each task; solutions are counted through all tasks."""


def run_shared(arena: Any, output_kib: int, tasks: Tasks, first: int, first_test: int) -> None:
    """Run the tame solutions of all tasks from solution ``first`` on, and mark the others."""
    record = Recorder(arena, output_kib, alone=False)
    solution = 0
    for solutions, checks in tasks:
        if first >= solution + len(solutions):
            solution += len(solutions)
            continue
        record.begin(max(first, solution), PREPARING, time.process_time_ns())
        runner = Runner(record, checks, seeds_random=False, alone=False)
        runner.compile_tests()
        for source in solutions:
            if solution >= first:
                record.begin(solution, LOADING, time.process_time_ns())
                runner.run_if_tame(solution, source, first_test if solution == first else 0)
            solution += 1
    record.begin(DONE, 0, 0)


def run_alone(
    arena: Any,
    output_kib: int,
    solution: int,
    source: str,
    checks: list[tuple[bool, str]],
    tests: range,
    *,
    seeds_random: bool,
) -> None:
    """Run one solution, whatever it is, on some of its tests."""
    record = Recorder(arena, output_kib, alone=True)
    record.begin(solution, LOADING, time.process_time_ns())
    runner = Runner(record, checks, seeds_random=seeds_random, alone=True)
    runner.run_one(solution, source, tests.start, None, tests.stop)
    record.begin(DONE, 0, 0)


def run_program(arena: Any, solution: int, test: int, source: str) -> None:
    """Run a solution as a program: standard input and output are descriptors 0 and 1."""
    record, clock = Recorder(arena, 1, alone=True), time.process_time_ns
    record.begin(solution, test, clock())
    sys.stdin = open(0, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.__stdin__, sys.__stdout__ = sys.stdin, sys.stdout  # type: ignore[misc]
    printed = sys.stdout
    namespace = new_namespace("__main__")
    namespace["__file__"] = "<solution>"
    start = clock()
    try:
        exec(compile(source, "<solution>", "exec", dont_inherit=True), namespace)
        kind, content = OUTPUT, b""
    except SystemExit as error:
        kind, content = (OUTPUT, b"") if error.code in (None, 0) else (ERROR, b"SystemExit")
    except MemoryError:
        kind, content = MEMORY, b""
    except BaseException as error:
        kind, content = ERROR, _error_name(error)
    try:
        threading: Any = sys.modules.get("threading")
        if threading:
            threading._shutdown()
        atexit._run_exitfuncs()
        for stream in (sys.stdout, printed):
            if not stream.closed:
                stream.flush()
    except Exception as error:
        kind, content = ERROR, _error_name(error)
    spent = clock() - start
    record.add(solution, test, kind, spent, content)
    record.begin(DONE, 0, 0)
