import ast

import pytest

from codedpo.benchmarks import load_benchmark
from codedpo.benchmarks.base import Problem
from codedpo.benchmarks.humaneval import checks, program
from codedpo.core.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def problems(data_folder):
    return load_benchmark("humaneval", data_folder).problems()


def test_all_problems_are_there(problems):
    assert len(problems) == 164
    assert problems[0].problem_id == "HumanEval/0"
    assert {problem.benchmark for problem in problems} == {"humaneval"}


def test_most_assertions_are_judged_outside_the_child(problems):
    all_checks = [check for problem in problems for check in checks(problem)]
    assert sum(bool(check.call) for check in all_checks) == 1083
    assert sum(not check.call for check in all_checks) == 13
    for check in all_checks:
        assert not check.call or check.expected
        ast.parse(check.code)


def test_every_problem_is_checked(problems):
    assert all(checks(problem) for problem in problems)


def test_helper_of_the_prompt_comes_with_the_check_that_needs_it(problems):
    (check,) = checks(problems[38])
    assert check.code.count("def encode_cyclic") == 1
    assert "def decode_cyclic" not in check.code


def test_completion_is_joined_to_its_prompt_and_a_whole_program_is_not(problems):
    problem = problems[53]
    assert program(problem, "    return x + y\n") == problem.prompt + "    return x + y\n"
    whole = "def add(x, y):\n    return x + y\n"
    assert program(problem, whole) == whole
    assert program(problem, "add = lambda x, y: x + y\n") == "add = lambda x, y: x + y\n"


def test_statement_order_and_tolerances_are_kept():
    problem = Problem(
        "humaneval",
        "x",
        "",
        "f",
        "def f(x): ...\n",
        "def check(candidate):\n    eps = 1\n    assert candidate(1) == 2, 'm'\n    assert True\n"
        "    assert abs(candidate(2) - 3) < eps\n    assert [1] == candidate([1])\n",
    )
    first, second, rest = checks(problem)
    assert (first.call, first.expected) == ("f(1)", "2")
    assert (second.call, second.expected) == ("f([1])", "[1]")
    assert rest.code == "eps = 1\nassert abs(f(2) - 3) < eps"


def test_request_holds_the_prompt(problems, data_folder):
    assert problems[7].prompt.strip() in load_benchmark("humaneval", data_folder).request(problems[7])


def test_wrong_bytes_are_refused(tmp_path):
    (tmp_path / "humaneval").mkdir()
    (tmp_path / "humaneval" / "HumanEval.jsonl.gz").write_bytes(b"x")
    with pytest.raises(DataError, match="sha256"):
        load_benchmark("humaneval", tmp_path).problems()


def test_unknown_benchmark_is_refused():
    with pytest.raises(ConfigError, match="no benchmark of kind humanevil"):
        load_benchmark("humanevil")
