import gzip
import json

import pytest

from codedpo.benchmarks import load_benchmark
from codedpo.benchmarks.livecodebench import checks
from codedpo.core.records import Outcome
from codedpo.evaluation.scoring import answer_of
from codedpo.llm.parse import Extraction
from codedpo.llm.source import syntax_tree
from codedpo.sandbox.local import PRELOAD, LocalSandbox


@pytest.fixture(scope="module")
def benchmark(data_folder):
    return load_benchmark("livecodebench", data_folder)


@pytest.fixture(scope="module")
def problems(benchmark):
    return {problem.problem_id: problem for problem in benchmark.problems()}


@pytest.fixture(scope="module")
def submissions(data_folder):
    with gzip.open(data_folder / "livecodebench" / "submission_o1-mini.json.gz") as file:
        return {row["question_id"]: row for row in json.load(file)}


@pytest.fixture(scope="module")
def sandbox(benchmark):
    with LocalSandbox(workers=1, preload=(*PRELOAD, *benchmark.modules)) as sandbox:
        yield sandbox


def outcomes(sandbox, benchmark, problem, code):
    (matrix,) = sandbox.run([benchmark.job(problem, [code])])
    return [cell.outcome for cell in matrix.cells[0]]


def test_sizes(problems):
    assert len(problems) == 742
    assert sum(bool(problem.entry_point) for problem in problems.values()) == 306
    assert {problem.group for problem in problems.values()} == {"easy", "medium", "hard"}
    assert sum(len(checks(problem)) for problem in problems.values()) == 1193 + 754


def test_a_program_is_judged_by_its_output(sandbox, benchmark, problems, submissions):
    problem = problems["1873_A"]
    (code,) = submissions["1873_A"]["code_list"]
    assert problem.entry_point == ""
    assert outcomes(sandbox, benchmark, problem, code) == [Outcome.PASSED]
    assert outcomes(sandbox, benchmark, problem, code.replace("YES", "yes")) == [Outcome.FAILED]
    assert outcomes(sandbox, benchmark, problem, "print(int('a'))") == [Outcome.ERROR]


def test_a_method_is_judged_by_its_value(sandbox, benchmark, problems):
    problem = problems["2727"]
    body = "return sum(int(one[11:13]) > {} for one in details)"
    method = "class Solution:\n    def countSeniors(self, details: List[str]) -> int:\n        " + body
    assert set(outcomes(sandbox, benchmark, problem, method.format(60))) == {Outcome.PASSED}
    assert Outcome.FAILED in outcomes(sandbox, benchmark, problem, method.format(99 - 98))
    function = "def countSeniors(details: List[str]) -> int:\n    " + body
    assert set(outcomes(sandbox, benchmark, problem, function.format(60))) == {Outcome.PASSED}


def test_a_bare_function_in_a_reply_is_judged(sandbox, benchmark, problems):
    """As in the official harness, which takes the function where there is no class."""
    problem = problems["2727"]
    reply = (
        "It is:\n```python\nOLD = 60\n\ndef countSeniors(details):\n"
        "    return sum(int(one[11:13]) > OLD for one in details)\n\nprint(countSeniors([]))\n```"
    )
    answer = answer_of(reply, problem)
    assert answer.extraction is Extraction.FOUND
    assert "print" not in answer.solution
    assert set(outcomes(sandbox, benchmark, problem, answer.solution)) == {Outcome.PASSED}
    other = answer_of(reply.replace("countSeniors", "seniors"), problem)
    assert other.extraction is Extraction.NO_ENTRY_POINT


def test_published_answers_are_found_whole_without_a_fence(problems, submissions):
    """Programs of o1-mini as bare replies, with and without a sentence above them."""
    found = {}
    for problem_id, row in submissions.items():
        problem = problems.get(problem_id)
        (code,) = row["code_list"]
        if problem and not problem.entry_point and syntax_tree(code):
            replies = (code, f"Here is the program:\n\n{code}")
            found |= {(problem_id, reply): answer_of(reply, problem).solution for reply in replies}
    assert len(found) > 400
    different = [
        key for key, code in found.items() if code.strip() != submissions[key[0]]["code_list"][0].strip()
    ]
    assert not different


def test_a_tuple_counts_as_a_list(sandbox, benchmark, problems):
    problem = problems["3708"]
    code = (
        "class Solution:\n    def zigzagTraversal(self, grid):\n"
        "        flat = [x for k, row in enumerate(grid) for x in (row[::-1] if k % 2 else row)]\n"
        "        return {}(flat[::2])\n"
    )
    assert set(outcomes(sandbox, benchmark, problem, code.format("tuple"))) == {Outcome.PASSED}
    assert Outcome.PASSED not in outcomes(sandbox, benchmark, problem, code.format("set"))


def test_names_of_the_standard_library_and_numpy_are_there(sandbox, benchmark, problems, submissions):
    (code,) = submissions["abc341_c"]["code_list"]
    assert "import numpy" in code
    assert submissions["abc341_c"]["graded_list"] == [True]
    assert set(outcomes(sandbox, benchmark, problems["abc341_c"], code)) == {Outcome.PASSED}
    bare = "words = input()\nprint(Counter(words).most_common(1)[0][0], gcd(4, 6), exit())"
    assert Outcome.NOT_LOADED not in outcomes(sandbox, benchmark, problems["1873_A"], bare)


def test_requests_hold_question_form_and_starter_code(benchmark, problems):
    program = benchmark.request(problems["1873_A"])
    assert "abc" in program
    assert "standard input" in program
    method = benchmark.request(problems["2727"])
    assert "```python\nclass Solution:\n    def countSeniors(self, details: List[str]) -> int:\n```" in method
    assert "standard input" not in method
    assert method.count("class Solution") == 1
