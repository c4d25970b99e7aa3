import pytest
from hypothesis import given
from hypothesis import strategies as st

from codedpo.benchmarks import load_benchmark
from codedpo.benchmarks.base import Problem
from codedpo.benchmarks.decontamination import Decontaminator, grams, is_distinctive, normalised_hash

SHORT = "Write a function to find the shared elements from the given two lists."
PROBLEM = Problem(
    "mbpp",
    "2",
    SHORT,
    "similar_elements",
    "def similar_elements(left, right):\n    found = set(left) & set(right)\n    return tuple(found)\n",
    "",
)


def reason(decontaminator, text, entry_point, code):
    found = decontaminator.match(text, entry_point, code)
    return found and found.reason


@pytest.fixture(scope="module")
def humaneval(data_folder):
    problems = load_benchmark("humaneval", data_folder).problems()
    return problems, Decontaminator(problems)


def test_every_problem_is_found_by_its_prompt_alone(humaneval):
    problems, decontaminator = humaneval
    missed = [
        problem.problem_id for problem in problems if not reason(decontaminator, problem.prompt, None, None)
    ]
    assert missed == []


def test_every_problem_is_found_by_its_solution_alone(humaneval):
    problems, decontaminator = humaneval
    for problem in problems:
        assert reason(decontaminator, problem.canonical_solution, None, problem.canonical_solution)


def test_same_code_under_other_names():
    decontaminator = Decontaminator([PROBLEM])
    renamed = '''def common(a: list[int], b: list[int]) -> tuple:
    """Something else."""
    both: set = set(a) & set(b)
    return tuple(both)
'''
    assert reason(decontaminator, "", None, renamed) == "same_code"
    assert reason(decontaminator, "", None, renamed.replace("&", "|")) is None
    assert reason(decontaminator, "", None, renamed.replace("tuple(both)", "list(both)")) is None


def test_short_prompt_is_found_by_eight_words():
    match = Decontaminator([PROBLEM]).match(
        "Please find the shared elements from the given two lists!", None, None
    )
    assert match is not None
    assert (match.reason, match.problem) == ("shared_8_gram", "mbpp 2")
    assert match.evidence == "find the shared elements from the given two"


def test_distinctive_name_alone_counts_and_a_plain_one_does_not():
    problem = Problem("b", "1", "p", "longest_increasing_subsequence", "", "")
    plain = Problem("b", "2", "p", "is_prime", "", "")
    decontaminator = Decontaminator([problem, plain])
    assert reason(decontaminator, "", "longestIncreasingSubsequence", None) == "same_name"
    assert reason(decontaminator, "", "is_prime", None) is None
    assert is_distinctive("find_nth_digit")
    assert not is_distinctive("add")


def test_code_idioms_and_digits_are_no_evidence():
    assert not grams("for i in range(1, m + 1): for j in range(1, n + 1): return 1 2 3 4 5", 10)
    assert not grams("[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]", 8)


@given(st.text(), st.text())
def test_any_text_is_survived_and_nothing_known_matches_nothing(text, code):
    assert reason(Decontaminator([]), text, text, code) is None


@pytest.mark.parametrize("code", ["def f(:", "\x00", "(" * 10000])
def test_code_that_does_not_parse_has_no_hash(code):
    assert normalised_hash(code) is None


def test_layout_and_comments_do_not_change_the_hash():
    assert normalised_hash("def f(x):\n    # why\n    return (x)\n") == normalised_hash("def g(y):  return y")
    assert normalised_hash("def f(x): return len(x)") != normalised_hash("def f(x): return list(x)")
