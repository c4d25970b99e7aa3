from codedpo.sandbox.audit import differences
from codedpo.sandbox.base import Check, Job, Limits
from codedpo.sandbox.local import LocalSandbox

COUNTER = "calls = 0\ndef f(x):\n    global calls\n    calls += 1\n    return calls"
PURE = "def f(x):\n    return x"
CACHE = "def f(x, seen=[]):\n    seen.append(x)\n    return len(seen)"
LOOP = "def f(x):\n    while True:\n        pass"


def test_verdicts_that_depend_on_their_order_are_found(level_3: LocalSandbox) -> None:
    checks = tuple(Check("", f"f({n})", "1") for n in range(1, 4))
    job = Job("audit", (COUNTER, PURE, CACHE, LOOP), checks, Limits(cpu_seconds=0.1))
    with LocalSandbox(workers=1, child_per="test") as fresh:
        found = [(one.solution, one.test) for one in differences(*level_3.run([job]), *fresh.run([job]))]
    assert found == [(0, 1), (0, 2), (2, 1), (2, 2)]
