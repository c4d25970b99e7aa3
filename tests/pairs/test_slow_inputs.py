import pytest

from codedpo.pairs.slow_inputs import GROWTH, GrowthRule, slow_calls
from codedpo.sandbox.base import Limits, TimingJob
from codedpo.sandbox.local import LocalSandbox

LINEAR = "def f(values):\n    return list(dict.fromkeys(values))\n"
QUADRATIC = (
    "def f(values):\n    found = []\n    for value in values:\n        if value not in found:\n"
    "            found.append(value)\n    return found\n"
)
BREAKS = "def f(values):\n    return list(dict.fromkeys(values)) if len(values) < 100 else []\n"
RECURSIVE = (
    "def f(values):\n    if not values:\n        return []\n    rest = f(values[:-1])\n"
    "    return rest if values[-1] in rest else rest + [values[-1]]\n"
)
FOREVER = (
    "def f(values):\n    while len(values) > 30:\n        pass\n    return list(dict.fromkeys(values))\n"
)
CALL = "f([1, 2, 2])"
RULE = GrowthRule(inputs=3, least_ms=0.5, most_factor=4096)


@pytest.fixture(scope="module")
def sandbox():
    with LocalSandbox(workers=1) as sandbox:
        yield sandbox


def grown_calls(sandbox, calls, rule, *solutions):
    (found,) = slow_calls(sandbox, [TimingJob("task", solutions, calls, limits=Limits())], rule)
    return found


def grow(sandbox, *solutions, calls=(CALL,), rule=RULE):
    return {one.mutation: one for one in grown_calls(sandbox, calls, rule, *solutions)}


def test_an_input_grows_until_the_fastest_takes_long_enough(sandbox):
    small = grow(sandbox, LINEAR, rule=GrowthRule(3, 1e-6, 4096))
    assert {one.factor for one in small.values()} == {GROWTH}
    large = grow(sandbox, LINEAR)
    assert large["continued"].factor > 100
    assert large["continued"].fastest_ns > small["continued"].fastest_ns
    assert large["continued"].text.startswith("f([1, 2, 2, 3, 4, 4, 5,")
    assert large["continued"].label == f"f([1, 2, 2])  # continued x {large['continued'].factor}"


def test_a_slow_solution_stops_the_growth_before_it_runs_out_of_time(sandbox):
    together = grow(sandbox, LINEAR, QUADRATIC)
    assert GROWTH <= together["continued"].factor < grow(sandbox, LINEAR)["continued"].factor * GROWTH
    assert grow(sandbox, LINEAR, FOREVER)["repeated"].factor == GROWTH


@pytest.mark.parametrize(("other", "most"), [(BREAKS, 16), (RECURSIVE, 256)])
def test_an_input_counts_only_while_all_agree_and_none_fails(sandbox, other, most):
    found = grow(sandbox, LINEAR, other)
    assert found["repeated"].factor == most


def test_the_rule_bounds_number_and_growth(sandbox):
    calls = ("f([])", CALL, "f([1, 2, 3, 4])")
    found = grown_calls(sandbox, calls, GrowthRule(1, 0.5, 16), LINEAR)
    assert [(one.call, one.factor) for one in found] == [("f([1, 2, 3, 4])", 16)]
    assert grown_calls(sandbox, calls, GrowthRule(3, 0.5, 3), LINEAR) == []
    assert grown_calls(sandbox, ("f([])",), RULE, LINEAR) == []


def test_the_slowest_inputs_are_kept(sandbox):
    found = grown_calls(sandbox, (CALL,), RULE, LINEAR)
    times = [one.fastest_ns for one in found]
    assert len(found) == 2
    assert times == sorted(times, reverse=True)


def test_jobs_grow_side_by_side(sandbox):
    """Each by itself: one that cannot grow and one that ends early leave the others alone."""
    jobs = [
        TimingJob("grows", (LINEAR,), (CALL,)),
        TimingJob("empty", (LINEAR,), ("f([])",)),
        TimingJob("breaks", (LINEAR, BREAKS), (CALL,)),
    ]
    grows, empty, breaks = slow_calls(sandbox, jobs, RULE)
    assert empty == []
    assert max(one.factor for one in breaks) <= 64 < max(one.factor for one in grows)
