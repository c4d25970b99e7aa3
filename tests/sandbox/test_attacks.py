"""Every attack is run at both levels; the honest solutions after it must still score, and nothing may be left."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.sandbox.attacks import ATTACKS
from tests.sandbox.honest import HONEST

from codedpo.core.records import Outcome
from codedpo.sandbox.base import Check, Job, Limits, TimingJob
from codedpo.sandbox.local import LocalSandbox

LIMITS = Limits(cpu_seconds=0.15, wall_factor=2, memory_mib=256)
TESTS = tuple(Check(f"assert f({x!r}) == {2 * x!r}", f"f({x!r})", repr(2 * x)) for x in (10, 21, -3, "ab"))
TAME = "def f(x):\n    return x + x\n"
OWN_CHILD = "import sys\ndef f(x):\n    return sys.intern('a') and x + x\n"


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("host")
    file = folder / "canary"
    file.write_text("alive")
    for path in (file, folder):
        path.chmod(0o777)
    return file


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_gains_nothing(sandbox: LocalSandbox, canary: Path, name: str) -> None:
    source = ATTACKS[name].replace("CANARY", str(canary))
    (matrix,) = sandbox.run([Job(name, (TAME, source, TAME, OWN_CHILD), TESTS, LIMITS)])
    before, attack, after, alone = ([cell.outcome for cell in row] for row in matrix.cells)
    assert Outcome.PASSED not in attack
    assert before == after == alone == [Outcome.PASSED] * 4
    assert canary.read_text() == "alive"
    assert [path.name for path in canary.parent.iterdir()] == ["canary"]


REFERENCE = "def f(x):\n    return (x * 7919 + 13) % 1009\n"
SPIES = {
    "the arena": """
import gc, mmap, pickle, struct
def f(x):
    for item in gc.get_objects():
        if isinstance(item, mmap.mmap):
            for place in range(4160, len(item) - 21):
                _, test, kind, _, length = struct.unpack_from("=IIBQI", item, place)
                if (test, kind) == (x, 0) and 3 < length < 40:
                    try:
                        return pickle.loads(item[place + 21 : place + 21 + length])
                    except Exception:
                        pass
""",
    "the frames of the process that made it": """
import pickle, struct, sys
def found(value, x, depth):
    if isinstance(value, (bytes, bytearray, memoryview)):
        content = bytes(value)
        for place in range(len(content) - 21):
            _, test, kind, _, length = struct.unpack_from("=IIBQI", content, place)
            if (test, kind) == (x, 0) and 3 < length < 40:
                try:
                    yield pickle.loads(content[place + 21 : place + 21 + length])
                except Exception:
                    pass
    elif depth:
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
        for part in (*parts, *getattr(value, "__dict__", {}).values()):
            yield from found(part, x, depth - 1)
def f(x):
    frame = sys._getframe().f_back
    while frame:
        for value in found(dict(frame.f_locals), x, 5):
            return value
        frame = frame.f_back
""",
}


@pytest.mark.parametrize("spy", SPIES)
def test_what_a_reference_or_another_solution_returned_is_not_found(sandbox: LocalSandbox, spy: str) -> None:
    """Both would let a solution that knows nothing pass, or agree with others."""
    other = "import sys\n" + REFERENCE  # In a child of its own, before the spy.
    checks = tuple(Check(call=f"f({x})") for x in range(12))
    (matrix,) = sandbox.run([Job("spy", (other, SPIES[spy]), checks, Limits(), REFERENCE)])
    right, wrong = ([cell.outcome for cell in row] for row in matrix.cells)
    assert right == [Outcome.PASSED] * 12
    assert Outcome.PASSED not in wrong


TIMED_SPY = """
import sys
frame, memory = sys._getframe(), []
while frame:
    for value in list(frame.f_locals.values()):
        memory += [one for one in (value, *getattr(value, "__dict__", {}).values()) if type(one).__name__ == "mmap"]
    frame = frame.f_back
for one in memory:
    try:
        content = bytes(one)
    except ValueError:
        continue
    assert b"the sec" b"ret" not in content and b"a ma" b"rk" not in content
    one[:6] = b"a mark"
def f():
    return 1
"""


def test_a_timed_program_finds_nothing_of_those_before_and_beside_it(sandbox: LocalSandbox) -> None:
    secret = Job("secret", ("def f():\n    return 'the secret'",), (Check(call="f()"),))
    list(sandbox.run([secret]))
    (result,) = sandbox.time([TimingJob("spy", (TIMED_SPY, TIMED_SPY), ("f()",), repeats=6)])
    assert [len(samples) for samples in result.samples_ns] == [6, 6]


COUNTING = """
import gc, mmap, threading, time
def count():
    arenas = [item for item in gc.get_objects() if isinstance(item, mmap.mmap)]
    for step in range(1, 1 << 30):
        for arena in arenas:
            arena[4:8] = step.to_bytes(4, "little")
        time.sleep(0.01)
threading.Thread(target=count, daemon=True).start()
def f(x):
    while True:
        pass
"""


def test_cpu_time_is_limited_in_all_whatever_a_child_says_of_its_tests(sandbox: LocalSandbox) -> None:
    """With looks from outside more often than the limit of a test, so that each sees another one."""
    job = Job("counting", (COUNTING,), (Check(call="f(1)", expected="2"),), Limits(cpu_seconds=0.4))
    (matrix,) = sandbox.run([job])
    ((cell,),) = matrix.cells
    assert (cell.outcome, cell.error_type) == (Outcome.NOT_LOADED, "Timeout")


CRASHING = """
import gc, mmap, os, time
def f(test):
    arenas = [item for item in gc.get_objects() if isinstance(item, mmap.mmap)]
    step = 1 << 20
    while time.process_time() < 0.3:
        step += 1
        for arena in arenas:
            arena[4:16] = step.to_bytes(4, "little") + time.process_time_ns().to_bytes(8, "little")
    for arena in arenas:
        arena[4:8] = test.to_bytes(4, "little")
    os._exit(1)
"""


def test_a_child_that_used_more_than_its_tests_may_is_no_mere_crash(sandbox: LocalSandbox) -> None:
    """Else every test would bring another child, and each of them could use the time of all tests."""
    checks = tuple(Check(call=f"f({test})", expected="0") for test in range(6))
    job = Job("crashing", (CRASHING,), checks, Limits(cpu_seconds=0.06, timeouts_per_solution=2))
    (matrix,) = sandbox.run([job])
    assert [cell.outcome for cell in matrix.cells[0]] == [Outcome.CRASHED] * 2 + [Outcome.NOT_RUN] * 4


CLAIM = """
import gc, mmap, os, struct
def f(x):
    for item in gc.get_objects():
        if isinstance(item, mmap.mmap):
            claim = struct.pack("=IIBQI", 0, 0, 4, 2 ** 64 - 1, 0)
            item[4160 : 4160 + len(claim)] = claim
            item[:24] = struct.pack("=IIQQ", 0, 1, 0, len(claim))
    os._exit(0)
"""


def test_any_time_that_a_child_claims_can_be_stored(sandbox: LocalSandbox) -> None:
    checks = (Check(call="f(1)", expected="2"), Check(call="f(2)", expected="4"))
    (matrix,) = sandbox.run([Job("claim", (CLAIM,), checks, LIMITS)])
    (cells,) = matrix.cells
    assert cells[0].outcome is Outcome.TIMEOUT
    assert cells[0].cpu_ns.bit_length() <= 63


@pytest.mark.parametrize("name", HONEST)
def test_honest_work_passes(sandbox: LocalSandbox, name: str) -> None:
    (matrix,) = sandbox.run([Job(name, (HONEST[name], TAME), TESTS, LIMITS)])
    assert [[(cell.outcome, cell.error_type) for cell in row] for row in matrix.cells] == [
        [(Outcome.PASSED, "")] * 4
    ] * 2


def test_the_attacks_are_counted() -> None:
    assert len(ATTACKS) >= 62
