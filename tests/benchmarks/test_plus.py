import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codedpo.benchmarks import load_benchmark
from codedpo.benchmarks.arguments import expression, restore
from codedpo.benchmarks.plus import FLOAT_VALUED
from codedpo.core.records import Outcome
from codedpo.sandbox.local import LocalSandbox

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.complex_numbers(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(), inner, max_size=3)
        | st.sets(st.integers(), max_size=4)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_an_expression_gives_its_value_back(value):
    back = eval(expression(value))  # noqa: S307 - what it wrote itself
    assert (type(back), back) == (type(value), value)


def test_not_a_number_survives():
    assert math.isnan(eval(expression(math.nan)))  # noqa: S307


@pytest.mark.parametrize(
    ("problem_id", "stored", "restored"),
    [
        ("Mbpp/2", [[[1], [2]]], [[(1,), (2,)]]),
        ("Mbpp/63", [[[[1, 2]]]], [[[(1, 2)]]]),
        ("Mbpp/124", [["1", "2j"]], [[1.0, 2j]]),
        ("Mbpp/259", [[[[1], [2]]]], [[((1,), (2,))]]),
        ("Mbpp/307", [[[1], 0, 2]], [[(1,), 0, 2]]),
        ("Mbpp/580", [[[1, [2, [3]]]]], [[(1, (2, (3,)))]]),
        ("Mbpp/722", [[{"a": [1, 2]}, 3]], [[{"a": (1, 2)}, 3]]),
        ("Mbpp/750", [[[1], [2]]], [[[1], (2,)]]),
        ("HumanEval/2", [[[1]]], [[[1]]]),
    ],
)
def test_argument_types(problem_id, stored, restored):
    assert restore(problem_id, stored) == restored


@pytest.fixture(scope="module")
def sandbox():
    with LocalSandbox(workers=1, minimum_level=2) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def problems(data_folder):
    loaded = {}
    for name in ("humanevalplus", "mbppplus", "mbpp"):
        benchmark = load_benchmark(name, data_folder)
        loaded |= {(name, problem.problem_id): (benchmark, problem) for problem in benchmark.problems()}
    return loaded


def outcomes(sandbox, benchmark, problem, code):
    (matrix,) = sandbox.run([benchmark.job(problem, [code])])
    return {cell.outcome for cell in matrix.cells[0]}


def test_sizes(problems):
    names = [name for name, _ in problems]
    assert {name: names.count(name) for name in set(names)} == {
        "humanevalplus": 164,
        "mbppplus": 378,
        "mbpp": 427,
    }
    plus = [problem for (name, _), (_, problem) in problems.items() if name == "humanevalplus"]
    assert sum(len(problem.base_inputs) for problem in plus) == 1570
    assert sum(len(problem.plus_inputs) for problem in plus) == 122683
    assert {key for _, key in problems} >= FLOAT_VALUED


@pytest.mark.parametrize(
    "key",
    [
        *[("humanevalplus", f"HumanEval/{number}") for number in (2, 32, 38, 53)],
        *[("mbppplus", f"Mbpp/{number}") for number in (2, 124, 252, 558, 581, 737, 793)],
        *[("mbpp", f"Mbpp/{number}") for number in (2, 3, 88, 120)],
    ],
)
def test_canonical_solution_passes_and_an_empty_one_does_not(sandbox, problems, key):
    benchmark, problem = problems[key]
    assert outcomes(sandbox, benchmark, problem, problem.canonical_solution) == {Outcome.PASSED}
    empty = f"def {problem.entry_point}(*arguments): raise ValueError"
    assert Outcome.PASSED not in outcomes(sandbox, benchmark, problem, empty)


def test_floats_are_compared_with_tolerance_and_integers_are_not(sandbox, problems):
    benchmark, problem = problems["humanevalplus", "HumanEval/2"]
    near = "def truncate_number(number): return number % 1.0 + 1e-9"
    assert outcomes(sandbox, benchmark, problem, near) == {Outcome.PASSED}
    benchmark, problem = problems["humanevalplus", "HumanEval/53"]
    far = "def add(x, y): return x + y + 1e-9"
    assert outcomes(sandbox, benchmark, problem, far) != {Outcome.PASSED}


def test_second_reading_of_a_task_is_right_too(sandbox, problems):
    benchmark, problem = problems["mbppplus", "Mbpp/581"]
    other = "def surface_Area(a, h): return round(a * a + 2 * a * (a * a / 4 + h * h) ** 0.5)"
    assert outcomes(sandbox, benchmark, problem, other) == {Outcome.PASSED}
    assert outcomes(sandbox, benchmark, problem, "def surface_Area(a, h): return -1") == {Outcome.FAILED}


def test_huge_values_cross_as_digests(sandbox, problems):
    benchmark, problem = problems["humanevalplus", "HumanEval/100"]
    good = "def make_a_pile(n): return [n + 2.0 * step for step in range(n)]"
    assert outcomes(sandbox, benchmark, problem, good) == {Outcome.PASSED}
    bad = "def make_a_pile(n): return [n + 2 * step for step in range(n)][:-1] + [0]"
    assert Outcome.PASSED not in outcomes(sandbox, benchmark, problem, bad)
