import psutil
import pytest

from codedpo.benchmarks import load_benchmark
from codedpo.benchmarks.humaneval import HumanEval
from codedpo.core.records import Oracle, Outcome, Sample
from codedpo.evaluation import scoring
from codedpo.llm.parse import Extraction
from codedpo.sandbox.base import Cell
from codedpo.sandbox.local import LocalSandbox

REPLY = "Here it is:\n```python\ndef add(x, y):\n    return x + y\n\nprint(add(1, 2))\n```\nThat adds."


def test_first_block_is_taken_as_it_stands():
    assert scoring.plain_code(REPLY) == "def add(x, y):\n    return x + y\n\nprint(add(1, 2))\n"
    assert scoring.plain_code("def f(): pass") == "def f(): pass"
    assert scoring.plain_code("```python\nx = 1\n") == "x = 1\n"


def cell(outcome, error=""):
    return Cell(outcome, error_type=error, cpu_ns=5, oracle=Oracle.SPLIT)


def test_a_program_passes_only_if_all_its_cells_do():
    good = cell(Outcome.PASSED)
    assert scoring.verdict_of([good, good]) == scoring.Verdict("passed", "", 10)
    bad = scoring.verdict_of([good, cell(Outcome.ERROR, "KeyError"), cell(Outcome.TIMEOUT)])
    assert bad == scoring.Verdict("error", "KeyError", 15)


@pytest.fixture(scope="module")
def problems(data_folder):
    benchmark = HumanEval(data_folder)
    return benchmark, benchmark.problems()


@pytest.fixture(scope="module")
def sandbox():
    with LocalSandbox() as sandbox:
        yield sandbox


def test_published_solutions_pass_and_a_spoilt_one_is_named(problems, sandbox):
    from dataclasses import replace

    benchmark, found = problems
    verdicts = dict(scoring.canonical_verdicts(sandbox, benchmark, found))
    assert list(verdicts) == [problem.problem_id for problem in found]
    assert {verdict.outcome for verdict in verdicts.values()} == {"passed"}
    spoilt = replace(found[4], canonical_solution=found[4].prompt + "    return None\n")
    verdicts = dict(scoring.canonical_verdicts(sandbox, benchmark, (*found[:4], spoilt)))
    assert [key for key, verdict in verdicts.items() if verdict.outcome != "passed"] == ["HumanEval/4"]


def test_judging_leaves_the_sandbox_running(problems):
    """A worker that ends early takes what it says of its CPU time along, and another has to be started."""
    benchmark, found = problems
    work = [(problem, [problem.canonical_solution]) for problem in found[:40]]
    with LocalSandbox(workers=1) as sandbox:
        sandbox.probe()
        helpers = {process.pid for process in psutil.Process().children(recursive=True)}
        list(scoring.judge(sandbox, benchmark, work))
        list(scoring.canonical_verdicts(sandbox, benchmark, found[:2]))
        assert helpers
        assert helpers <= {process.pid for process in psutil.Process().children(recursive=True)}


def test_judging_runs_equal_programs_once_and_keeps_the_order(problems, sandbox):
    benchmark, found = problems
    right, wrong = found[0].canonical_solution, found[0].prompt + "    return None\n"
    verdicts = list(scoring.judge(sandbox, benchmark, [(found[0], [wrong, right, right]), (found[1], [])]))
    assert [list(of_one) for of_one in verdicts] == [[wrong, right], []]
    assert (verdicts[0][right].outcome, verdicts[0][wrong].outcome) == ("passed", "failed")


def test_only_what_passes_the_base_inputs_runs_on_the_others(data_folder, sandbox):
    benchmark = load_benchmark("mbppplus", data_folder)
    problem = next(one for one in benchmark.problems() if one.problem_id == "Mbpp/267")
    wrong = f"def {problem.entry_point}(n):\n    return -1\n"
    given = ", ".join(problem.base_inputs)
    bases = f"{problem.canonical_solution}\nright, known = {problem.entry_point}, {{{given}}}\n"
    bases += f"def {problem.entry_point}(n):\n    return right(n) if n in known else -1\n"
    ran = []

    class Watched:
        probe = sandbox.probe

        def run(self, jobs):
            return sandbox.run(ran.append(job) or job for job in jobs)

    codes = [problem.canonical_solution, wrong, bases]
    (found,) = scoring.judge(Watched(), benchmark, [(problem, codes)])
    assert [found[code].outcome for code in codes] == ["passed", "failed", "failed"]
    base, whole = len(problem.base_inputs), len(problem.base_inputs) + len(problem.plus_inputs)
    assert [(len(job.solutions), len(job.checks)) for job in ran] == [(3, base), (2, whole - base)]


def test_an_answer_without_a_program_is_told_apart(problems):
    _, found = problems
    answer = scoring.answer_of("I cannot do that.", found[0])
    assert answer.solution == ""
    assert answer.extraction is not Extraction.FOUND


def samples(model, outcomes, plain="failed"):
    return [
        Sample(
            f"{model}/b/{problem}/{position}", model, "b", str(problem), position, "[]", "", "stop", 1, "",
            "passed" if passed else "failed", "", 1, plain,
        )
        for problem, of_one in enumerate(outcomes)
        for position, passed in enumerate(of_one)
    ]  # fmt: skip


def test_figures_of_one_sample_a_problem():
    rows = scoring.metrics_of(
        samples("before", [[1], [0], [0], [1]]) + samples("after", [[1], [1], [1], [0]]), 3
    )
    found = {(row.model, row.name): row for row in rows}
    assert found["before", "pass@1"].value == 0.5
    assert found["after", "pass@1"].value == 0.75
    assert found["difference", "pass@1"].value == 0.25
    assert found["difference", "mcnemar_p"].value == 1.0
    assert found["difference", "mcnemar_p"].count == 3
    assert found["before", "pass@1 without extraction"].value == 0


def test_figures_of_several_samples_are_seeded_and_need_no_order():
    rows = samples("before", [[1, 0, 0], [0, 0, 0]]) + samples("after", [[1, 1, 0], [0, 0, 1]])
    first = scoring.metrics_of(rows, 3)
    assert first == scoring.metrics_of(rows, 3)
    found = {(row.model, row.name): row.value for row in first}
    assert found["before", "pass@1"] == pytest.approx(1 / 6)
    assert found["before", "pass@3"] == 0.5
    assert found["difference", "pass@3"] == 0.5
    assert ("difference", "mcnemar_p") not in found


def test_a_problem_with_fewer_samples_does_not_lower_k_for_all():
    rows = samples("before", [[1, 0, 0], [0, 0, 0], [1, 0, 0]]) + samples(
        "after", [[1, 1, 0], [0, 0, 1], [1]]
    )
    found = {(row.model, row.name): row for row in scoring.metrics_of(rows, 3)}
    assert {name for _, name in found} == {"pass@1", "pass@3", "pass@1 without extraction"}
    assert (found["before", "pass@3"].value, found["before", "pass@3"].count) == (pytest.approx(2 / 3), 3)
    assert (found["after", "pass@3"].value, found["after", "pass@3"].count) == (1.0, 2)
    assert (found["difference", "pass@3"].value, found["difference", "pass@3"].count) == (0.5, 2)


def test_one_model_alone_has_no_difference():
    assert {row.model for row in scoring.metrics_of(samples("before", [[1], [0]]), 0)} == {"before"}


def test_a_file_of_programs_has_no_figure_without_extraction():
    rows = scoring.metrics_of(
        samples("model", [[1], [0]], plain="passed") + samples("file", [[1], [1]], plain=""),
        0,
        before="file",
        after="model",
    )
    figures = {row.model: row.value for row in rows if row.name == "pass@1 without extraction"}
    assert figures == {"model": 1.0}
