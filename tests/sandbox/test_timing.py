import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codedpo.core.config import ResourcesConfig, SandboxConfig
from codedpo.core.errors import BackendError
from codedpo.core.records import Outcome
from codedpo.sandbox.base import Check, Job, Limits, TimingJob
from codedpo.sandbox.local import LocalSandbox
from codedpo.sandbox.timing import compare, measure

samples = st.lists(st.floats(1, 1e9), min_size=1, max_size=30)


@given(samples)
def test_the_interval_holds_the_ratio_and_equal_samples_are_equal(times: list[float]) -> None:
    same = compare(times, times)
    assert (same.ratio, same.low, same.high, same.repeats) == (1, 1, 1, len(times))
    double = compare([2 * t for t in times], times)
    assert double.low == double.ratio == double.high == 2
    assert double.is_faster


@given(samples, st.randoms())
def test_exchanging_the_sides_turns_the_interval_over(times: list[float], random: object) -> None:
    others = times[::-1]
    forth, back = compare(times, others), compare(others, times)
    assert forth.low <= forth.ratio <= forth.high
    assert forth.ratio == pytest.approx(1 / back.ratio)
    assert forth.low == pytest.approx(1 / back.high)


def test_disturbed_samples_do_not_decide() -> None:
    quiet, disturbed = [100.0] * 15, [100.0] * 13 + [500.0, 700.0]
    assert not compare(disturbed, quiet).is_faster
    assert not compare([120.0] * 11 + [100.0] * 4, quiet).is_faster
    assert compare([120.0] * 15, quiet).is_faster


def test_order_statistics_are_those_of_the_sign_test() -> None:
    rising = [float(n) for n in range(1, 16)]
    found = compare(rising, [1.0] * 15)
    assert (found.low, found.ratio, found.high) == (
        4.0,
        8.0,
        12.0,
    )  # Conover, table A3: the 4th and 12th of 15
    assert [compare(rising[:n], [1.0] * n).low for n in (1, 5, 6, 8, 9)] == [1.0, 1.0, 1.0, 1.0, 2.0]


def test_samples_must_pair() -> None:
    for a, b in (([], []), ([1.0], [1.0, 2.0])):
        with pytest.raises(ValueError, match="cannot pair"):
            compare(a, b)


FAST = "def f(n):\n    return sum(range(n))"
SLOW = "def f(n):\n    total = 0\n    for k in range(n):\n        total += k\n    return total"


def test_solutions_are_timed_against_each_other(sandbox: LocalSandbox) -> None:
    calls = ("f(1000)", "f(2000)")
    broken = "def f(n):\n    return n[0]"
    endless = "def f(n):\n    while True:\n        pass"
    programs, limits = (SLOW, FAST, broken, endless, "def f("), Limits(cpu_seconds=0.1)
    # Five repeats share a process, and where that lies in memory can slow all of them.
    (result,) = sandbox.time([TimingJob("t", programs, calls, repeats=15, limits=limits)])
    assert [len(of_one) for of_one in result.samples_ns] == [15, 15, 0, 0, 0]
    assert compare(*result.samples_ns[:2]).ratio > 1.3


def test_a_liar_is_found_out(sandbox: LocalSandbox) -> None:
    liar = "import time\ntime.process_time_ns = lambda: 0\n" + SLOW
    frozen = (
        SLOW + "\nimport time\nclock = time.process_time_ns\ntime.process_time_ns = lambda: clock() // 1000"
    )
    for source in (liar, frozen):
        (result,) = sandbox.time(
            [TimingJob("t", (SLOW, source), ("f(200000)",), limits=Limits(cpu_seconds=0.5))]
        )
        honest, lying = result.samples_ns
        assert not lying or min(lying) > 0.5 * min(honest)


def test_a_clock_that_a_solution_replaces_is_not_read(level_3: LocalSandbox) -> None:
    """It would say two thirds of the time, and the look from outside leaves room for that."""
    slowed = (
        "import time\n"
        "if not hasattr(time, 'real'):\n"
        "    time.real = time.process_time_ns\n"
        "    time.process_time_ns = lambda: time.real() * 2 // 3\n"
    )
    assert not is_called_faster(level_3, SLOW, slowed + SLOW, "f(1000)")


LONG_TO_LOAD = """
import time
from functools import cache
start = time.process_time()
while time.process_time() < start + 0.05:
    pass
@cache
def f():
    return sum(range(100))
"""
FILLING = """
from functools import cache
table = bytes(14_900 << 10)
@cache
def f():
    return sum(range(100))
"""
THREADED = """
import threading
def f():
    thread = threading.Thread(target=sum, args=((1, 2),))
    thread.start()
    thread.join()
"""
SEEDED = """
import random
assert random.randrange(1000) == 864
def f():
    return random.random()
"""


@pytest.mark.parametrize(
    ("programs", "limits"),
    [
        ((LONG_TO_LOAD,), Limits(cpu_seconds=0.1)),
        (("table = bytearray(40 << 20)\ndef f():\n    return table[0]",), Limits(memory_mib=64)),
        (("table = bytes(10 << 20)\ndef f():\n    return table[0]",), Limits(memory_mib=64)),
        ((FILLING,), Limits(memory_mib=64)),
        ((THREADED,) * 16, Limits(threads=2)),
        ((SEEDED,), Limits()),
    ],
    ids=["long to load", "large", "large and quick to load", "copies fill its memory", "threads", "random"],
)
def test_what_is_within_its_limits_is_timed(
    level_3: LocalSandbox, programs: tuple[str, ...], limits: Limits
) -> None:
    """Though copies of it are loaded, and others are alive beside it."""
    (matrix,) = level_3.run([Job("t", programs, (Check(call="f()"),), limits)])
    assert {row[0].outcome for row in matrix.cells} == {Outcome.PASSED}
    (result,) = level_3.time([TimingJob("t", programs, ("f()",), repeats=2, limits=limits)])
    assert {len(of_one) for of_one in result.samples_ns} == {2}


FORGETS = "def f(n):\n    return sum(k * k for k in range(200 * n))"
CACHED = f"from functools import lru_cache\n@lru_cache(maxsize=None)\n{FORGETS}"
TABLE = """
known = {}
def f(n):
    if n not in known:
        known[n] = sum(k * k for k in range(200 * n))
    return known[n]
"""


@pytest.mark.parametrize("keeps", [CACHED, TABLE])
@pytest.mark.parametrize("argument", [8, 18])
def test_what_a_solution_remembers_does_not_make_it_fast(
    level_3: LocalSandbox, keeps: str, argument: int
) -> None:
    (result,) = level_3.time([TimingJob("t", (keeps, FORGETS), (f"f({argument})",), repeats=15)])
    assert 0.5 < compare(*result.samples_ns).ratio < 2


SHORT = "def f(n):\n    total = 0\n    for k in range(n):\n        total += k * k\n    return total"
SHORT_CACHED = f"from functools import lru_cache\n@lru_cache(maxsize=None)\n{SHORT}"
SHORT_TABLE = (
    SHORT.replace("(n)", "(n, known={})", 1)
    .replace("    total", "    if n in known:\n        return known[n]\n    total", 1)
    .replace("return total", "known[n] = total\n    return total")
)


def test_nor_does_a_part_of_its_work_that_it_remembers(level_3: LocalSandbox) -> None:
    part = (
        "from functools import cache\n"
        "@cache\n"
        "def g(n):\n    return sum(k * k for k in range(3 * n // 10))\n"
        "def f(n):\n    return g(n) + sum(k * k for k in range(3 * n // 10, n))\n"
    )
    assert not is_called_faster(level_3, part.replace("@cache\n", ""), part, "f(2000)")


@pytest.mark.parametrize("keeps", [SHORT_CACHED, SHORT_TABLE])
@pytest.mark.parametrize("argument", [8, 12, 16])
def test_what_it_remembers_does_not_make_a_short_pass_fast(
    level_3: LocalSandbox, keeps: str, argument: int
) -> None:
    assert not is_called_faster(level_3, SHORT, keeps, f"f({argument})")


@pytest.mark.parametrize(
    "loads",
    [
        "from collections import namedtuple\nPoint = namedtuple('Point', 'x y')",
        "table = [[number, str(number)] for number in range(2_000)]",
    ],
)
def test_what_loading_takes_or_leaves_behind_is_not_counted(level_3: LocalSandbox, loads: str) -> None:
    assert not is_called_faster(level_3, f"{SHORT_CACHED}\n{loads}", SHORT_CACHED, "f(10)")


def test_a_solution_that_remembers_is_still_called_faster(level_3: LocalSandbox) -> None:
    slower = SHORT_CACHED.replace("range(n)", "range(2 * n)")
    assert is_called_faster(level_3, slower, SHORT_CACHED, "f(200)")


def is_called_faster(sandbox: LocalSandbox, slow: str, fast: str, call: str) -> bool:
    """Three of five comparisons say so: one may err, and more often on a loaded machine."""
    jobs = [TimingJob(str(number), (slow, fast), (call,), repeats=15) for number in range(5)]
    return sum(compare(*result.samples_ns).is_faster for result in sandbox.time(jobs)) > 2


OFTEN_REMEMBERS = """
import os
known = {}
def f():
    found = known.get(0) or sum(range(200_000))
    if os.getpid() % 2:
        known[0] = found
    return found
"""
LATER_SLOW = """
passes = 0
def f():
    global passes
    passes += 1
    return passes > 1 and sum(range(200_000))
"""


def test_all_samples_of_a_comparison_are_of_one_kind(level_3: LocalSandbox) -> None:
    """Of three solutions, each has a process of the other parity in the next group of samples."""
    programs = (LATER_SLOW, OFTEN_REMEMBERS, "def f():\n    pass")
    (result,) = level_3.time([TimingJob("t", programs, ("f()",), repeats=15)])
    assert max(result.samples_ns[0]) < 20 * min(result.samples_ns[0])


def test_a_solution_that_pickles_its_own_class_is_timed(level_3: LocalSandbox) -> None:
    program = "import pickle\nclass Point:\n    pass\ndef f():\n    return pickle.dumps(Point())"
    (result,) = level_3.time([TimingJob("t", (program,), ("f()",), repeats=2)])
    assert len(result.samples_ns[0]) == 2


def test_many_solutions_are_timed_at_once(level_3: LocalSandbox) -> None:
    programs = tuple(f"def f(n):\n    return n + {number}" for number in range(70))
    (result,) = level_3.time([TimingJob("t", programs, ("f(1)",), repeats=2, sample_ms=0.1)])
    assert {len(of_one) for of_one in result.samples_ns} == {2}


@pytest.mark.parametrize("count", [1, 2])
def test_several_workers_measure_at_once(count: int) -> None:
    jobs = [TimingJob(f"t{number}", (SLOW, FAST), (f"f({number})",), repeats=5) for number in range(40, 52)]
    resources = ResourcesConfig(workers=2, timing_workers=count)
    others = set(psutil.Process().children())
    with LocalSandbox.from_config(SandboxConfig(), resources) as sandbox:
        results = list(sandbox.time(jobs))
        oracles = set(psutil.Process().children()) - others
        assert [result.job_id for result in results] == [job.job_id for job in jobs]
        assert all(len(of_one) == 5 for result in results for of_one in result.samples_ns)
        assert len(oracles) == count


def test_printing_does_not_disturb_the_samples(sandbox: LocalSandbox) -> None:
    source = "import os\ndef f(n):\n    print('x' * 1000)\n    os.write(2, b'x')\n    return n"
    (result,) = sandbox.time([TimingJob("t", (source,), ("f(1)",), repeats=3)])
    assert len(result.samples_ns[0]) == 3


def test_a_clear_ratio_is_measured(level_3: LocalSandbox) -> None:
    found = measure(level_3, TimingJob("t", (SLOW, FAST), ("f(20000)",)))
    assert found
    assert found.is_faster
    assert measure(level_3, TimingJob("t", (SLOW, "def f(n):\n    return n[0]"), ("f(1)",))) is None
    with pytest.raises(BackendError, match="holds 1 solutions"):
        measure(level_3, TimingJob("t", (SLOW,), ("f(1)",)))
