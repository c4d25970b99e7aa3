"""What every sandbox backend must do, ours or not: run with ``codedpo check`` and by the tests."""

from collections.abc import Callable
from dataclasses import dataclass

from codedpo.core.errors import BackendError
from codedpo.core.records import Oracle, Outcome
from codedpo.sandbox.base import Cell, Check, Job, Limits, Sandbox, TimingJob

_LIMITS = Limits(cpu_seconds=0.3, wall_factor=3, memory_mib=128)
_DOUBLE = "def f(x):\n    return 2 * x\n"
_ASKS = (Check("assert f(1) == 2", "f(1)", "2"), Check("assert f('a') == 'aa'", "f('a')", "'aa'"))


@dataclass(frozen=True, slots=True)
class Case:
    """One program and what its cells must be."""

    name: str
    solution: str
    outcomes: tuple[Outcome, ...]
    error_type: str = ""
    checks: tuple[Check, ...] = _ASKS


_TWICE_PASSED = (Outcome.PASSED, Outcome.PASSED)
_IN_CHILD = (Check("assert f(3) > 5"), Check("assert f(3) > 6"))
_PROGRAM = (Check(stdin="2 3\n", expected="5"), Check(stdin="1 1", expected="3"))
CASES = (
    Case("a right solution passes", _DOUBLE, _TWICE_PASSED),
    Case("a wrong solution fails", "def f(x):\n    return x", (Outcome.FAILED, Outcome.FAILED)),
    Case("a number of another type is equal", "def f(x):\n    return 2.0 if x == 1 else 'aa'", _TWICE_PASSED),
    Case(
        "an exception is named",
        "def f(x):\n    return x[0] + 'a'",
        (Outcome.ERROR, Outcome.PASSED),
        "TypeError",
    ),
    Case("a syntax error does not load", "def f(x:\n    return", (Outcome.NOT_LOADED,) * 2, "SyntaxError"),
    Case("an error at the top does not load", "1 / 0", (Outcome.NOT_LOADED,) * 2, "ZeroDivisionError"),
    Case("a missing function is an error", "def g(x):\n    return x", (Outcome.ERROR,) * 2, "NameError"),
    Case(
        "an endless loop costs its own test",
        "def f(x):\n    while x == 1:\n        pass\n    return 2 * x",
        (Outcome.TIMEOUT, Outcome.PASSED),
    ),
    Case(
        "a sleeper is stopped",
        "import time\ndef f(x):\n    time.sleep(60 if x == 1 else 0)\n    return 2 * x",
        (Outcome.TIMEOUT, Outcome.PASSED),
    ),
    Case("memory is limited", "def f(x):\n    return [0] * (10 ** 9)", (Outcome.MEMORY, Outcome.MEMORY)),
    Case(
        "a process that ends has not passed",
        "import os\ndef f(x):\n    os._exit(0)",
        (Outcome.CRASHED, Outcome.CRASHED),
    ),
    Case("an object is opaque", "class A:\n    pass\ndef f(x):\n    return A()", (Outcome.OPAQUE,) * 2, "A"),
    Case(
        "an object that equals everything fools nobody",
        "class A:\n    def __eq__(self, other):\n        return True\ndef f(x):\n    return A()",
        (Outcome.OPAQUE, Outcome.OPAQUE),
        "A",
    ),
    Case(
        "an assertion runs beside the solution", _DOUBLE, (Outcome.PASSED, Outcome.FAILED), checks=_IN_CHILD
    ),
    Case(
        "a program reads and writes",
        "print(sum(map(int, input().split())))",
        (Outcome.PASSED, Outcome.FAILED),
        checks=_PROGRAM,
    ),
    Case("no file can be read", "open('/etc/passwd').read()\n" + _DOUBLE, (Outcome.NOT_LOADED,) * 2),
    Case("no file can be written", "open('/var/tmp/codedpo', 'w')\n" + _DOUBLE, (Outcome.NOT_LOADED,) * 2),
    Case("no process can be made", "import os\nos.fork()\n" + _DOUBLE, (Outcome.NOT_LOADED,) * 2),
    Case(
        "no socket can be made",
        "import socket\nsocket.socket()\n" + _DOUBLE,
        (Outcome.NOT_LOADED, Outcome.NOT_LOADED),
    ),
)


def _case_holds(sandbox: Sandbox, case: Case) -> str:
    """Return what is wrong, or an empty text."""
    # The honest solution after it must still score, and the first is repeated beside others that are tame.
    job = Job(case.name, (case.solution, _DOUBLE, case.solution), case.checks, _LIMITS)
    (matrix,) = sandbox.run([job])
    for row in (matrix.cells[0], matrix.cells[2]):
        found = tuple(cell.outcome for cell in row)
        if found != case.outcomes:
            return f"gave {', '.join(found)}, not {', '.join(case.outcomes)}"
        named = {cell.error_type for cell in row if cell.outcome in (Outcome.ERROR, Outcome.NOT_LOADED)}
        if case.error_type and named and named != {case.error_type}:
            return f"names the error {sorted(named)}, not {case.error_type}"
    if case.checks is _ASKS and any(cell.outcome != Outcome.PASSED for cell in matrix.cells[1]):
        return "spoiled the verdict on the honest solution after it"
    return ""


def _digests_agree_with_equality(sandbox: Sandbox) -> str:
    expressions = ("1", "1.0", "True", "[1]", "(1,)", "{1: 2, 3: 4}", "{3: 4, 1: 2}", "float('nan')")
    solutions = tuple(f"def f():\n    return {expression}" for expression in expressions)
    (matrix,) = sandbox.run([Job("digests", solutions, (Check(call="f()"),), _LIMITS)])
    names = [row[0].value_digest for row in matrix.cells]
    groups = [names.index(name) for name in names]
    return "" if groups == [0, 0, 0, 3, 4, 5, 5, 7] and all(names) else f"groups values as {groups}"


def _order_is_kept(sandbox: Sandbox) -> str:
    jobs = [
        Job(str(number), (f"def f():\n    return {number}",), (Check("", "f()", str(number)),))
        for number in range(40)
    ]
    found = [(matrix.job_id, matrix.cells[0][0].outcome) for matrix in sandbox.run(iter(jobs))]
    return "" if found == [(job.job_id, Outcome.PASSED) for job in jobs] else "results are out of order"


def _time_outs_end_a_solution(sandbox: Sandbox) -> str:
    limits = Limits(cpu_seconds=0.1, timeouts_per_solution=2)
    checks = tuple(Check("", "f()", "1") for _ in range(4))
    (matrix,) = sandbox.run([Job("timeouts", ("def f():\n    while True:\n        pass",), checks, limits)])
    found = [cell.outcome for cell in matrix.cells[0]]
    wanted = [Outcome.TIMEOUT] * 2 + [Outcome.NOT_RUN] * 2
    return "" if found == wanted else f"gave {', '.join(found)}"


def _oracle_is_named(sandbox: Sandbox) -> str:
    (matrix,) = sandbox.run([Job("oracle", (_DOUBLE,), (_ASKS[0], _IN_CHILD[0]), _LIMITS)])
    cells: tuple[Cell, ...] = matrix.cells[0]
    found = [cell.oracle for cell in cells]
    return "" if found == [Oracle.SPLIT, Oracle.IN_PROCESS] else f"named {', '.join(found)}"


def _times_are_measured(sandbox: Sandbox) -> str:
    solutions = (
        "def f(n):\n    return sum(range(n))",
        "def f(n):\n    return sum(range(10 * n))",
        "def f(n):\n    raise ValueError",
    )
    (result,) = sandbox.time([TimingJob("time", solutions, ("f(1000)", "f(2000)"), repeats=3)])
    fast, slow, broken = result.samples_ns
    if len(fast) != 3 or len(slow) != 3 or broken:
        return f"gave {len(fast)}, {len(slow)} and {len(broken)} samples, not 3, 3 and 0"
    return "" if 3 * min(fast) < min(slow) else "did not find ten times the work slower"


_PROPERTIES: dict[str, Callable[[Sandbox], str]] = {
    "digests agree with equality": _digests_agree_with_equality,
    "results come in the order of the jobs": _order_is_kept,
    "a solution's time-outs are counted": _time_outs_end_a_solution,
    "the oracle of each cell is named": _oracle_is_named,
    "CPU time tells fast from slow": _times_are_measured,
}


def names() -> list[str]:
    """Return the names of all checks."""
    return [case.name for case in CASES] + list(_PROPERTIES)


def run_check(sandbox: Sandbox, name: str) -> str:
    """Run one check; return what is wrong in words, or an empty text."""
    if name in _PROPERTIES:
        return _PROPERTIES[name](sandbox)
    return _case_holds(sandbox, next(case for case in CASES if case.name == name))


def check_backend(sandbox: Sandbox) -> int:
    """Run every check; return their number.

    Raises:
        BackendError: some do not hold; the message names them.
    """
    wrong = [f"{name}: it {problem}" for name in names() if (problem := run_check(sandbox, name))]
    if wrong:
        raise BackendError(
            f"The sandbox backend {sandbox.identity.split()[0]} does not conform ({'; '.join(wrong)});"
            " see codedpo.sandbox.conformance."
        )
    return len(names())
