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


class Watched:
    """A sandbox that keeps the jobs that it was given."""

    def __init__(self, sandbox):
        self._sandbox, self.probe, self.ran = sandbox, sandbox.probe, []

    def run(self, jobs):
        return self._sandbox.run(self.ran.append(job) or job for job in jobs)


def test_only_what_passes_the_base_inputs_runs_on_the_others(data_folder, sandbox):
    benchmark = load_benchmark("mbppplus", data_folder)
    problem = next(one for one in benchmark.problems() if one.problem_id == "Mbpp/267")
    wrong = f"def {problem.entry_point}(n):\n    return -1\n"
    given = ", ".join(problem.base_inputs)
    bases = f"{problem.canonical_solution}\nright, known = {problem.entry_point}, {{{given}}}\n"
    bases += f"def {problem.entry_point}(n):\n    return right(n) if n in known else -1\n"
    watched = Watched(sandbox)
    codes = [problem.canonical_solution, wrong, bases]
    (found,) = scoring.judge(watched, benchmark, [(problem, codes)])
    assert [found[code].outcome for code in codes] == ["passed", "failed", "failed"]
    base, whole = len(problem.base_inputs), len(problem.base_inputs) + len(problem.plus_inputs)
    assert [(len(job.solutions), len(job.checks)) for job in watched.ran] == [(3, base), (2, whole - base)]


@pytest.mark.parametrize("name", ["humaneval", "mbppplus"])
def test_many_programs_of_a_problem_are_cut_into_several_jobs(data_folder, sandbox, name):
    """Their verdicts are those of each program by itself; the problems beside theirs stay whole and in order."""
    benchmark = load_benchmark(name, data_folder)
    before, problem, after = benchmark.problems()[2:5]
    right, head, most = (
        problem.canonical_solution,
        f"def {problem.entry_point}(*_):\n    ",
        scoring.PROGRAMS_OF_A_JOB,
    )
    rights = [f"{right}\n# {number}\n" for number in range(2 * most + 1)]
    wrongs = [f"{head}return {number}\n" for number in range(most)]
    wrongs += [f"{head}return None.x\n", "def broken(:\n", "import no_such_module\n"]
    codes = [*rights[:3], *wrongs, *rights[3:]]
    whole = [(one, [one.canonical_solution]) for one in (before, after)]
    watched = Watched(sandbox)
    found = list(scoring.judge(watched, benchmark, [whole[0], (problem, codes), whole[1]]))
    assert [list(of_one) for of_one in found] == [whole[0][1], codes, whole[1][1]]
    alone = scoring.judge(sandbox, benchmark, [(problem, [code]) for code in codes])
    expected = [(one.outcome, one.error_type) for of_one in alone for one in of_one.values()]
    assert [(one.outcome, one.error_type) for one in found[1].values()] == expected
    assert {outcome for outcome, _ in expected} == {"passed", "failed", "error", "not_loaded"}
    sizes = [len(job.solutions) for job in watched.ran if job.job_id == problem.problem_id]
    further = [5, 6, 6] if problem.plus_inputs else []
    assert sizes == [7, 7, 7, 7, *further]


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
    first = scoring.metrics_of(rows, 3, tries=(3, 1))
    assert first == scoring.metrics_of(rows, 3, tries=(1, 3))
    found = {(row.model, row.name): row.value for row in first}
    assert found["before", "pass@1"] == pytest.approx(1 / 6)
    assert found["before", "pass@3"] == 0.5
    assert found["difference", "pass@3"] == 0.5
    assert ("difference", "mcnemar_p") not in found


@pytest.mark.parametrize(
    ("count", "names"),
    [(1, ["pass@1"]), (9, ["pass@1"]), (10, ["pass@1", "pass@10"]), (100, ["pass@1", "pass@10", "pass@100"])],
)
def test_k_is_1_10_and_100_where_there_are_as_many_samples(count, names):
    rows = samples("before", [[1] + [0] * (count - 1), [0] * count], plain="")
    found = {row.name: row.value for row in scoring.metrics_of(rows, 3)}
    assert list(found) == names
    assert found["pass@1"] == pytest.approx(0.5 / count)
    if count == 100:
        assert (found["pass@10"], found["pass@100"]) == (pytest.approx(0.05), 0.5)


def test_a_problem_with_fewer_samples_does_not_lower_k_for_all():
    some, none = [1] + [0] * 9, [0] * 10
    rows = samples("before", [some, none, some]) + samples("after", [some, some, [1]])
    found = {(row.model, row.name): row for row in scoring.metrics_of(rows, 3)}
    assert {name for _, name in found} == {"pass@1", "pass@10", "pass@1 without extraction"}
    assert (found["before", "pass@10"].value, found["before", "pass@10"].count) == (pytest.approx(2 / 3), 3)
    assert (found["after", "pass@10"].value, found["after", "pass@10"].count) == (1.0, 2)
    assert (found["difference", "pass@10"].value, found["difference", "pass@10"].count) == (0.5, 2)


@pytest.mark.parametrize(("others", "is_given"), [([[1]], True), ([[1], [0]], False)])
def test_a_figure_of_fewer_than_half_of_the_problems_is_left_out(others, is_given):
    rows = samples("before", [[1] * 10, *others])
    assert ("pass@10" in {row.name for row in scoring.metrics_of(rows, 3)}) == is_given


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
