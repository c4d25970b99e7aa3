"""``codedpo eval`` as a person or a program meets it: real problems, real processes, a real endpoint."""

import gzip
import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from codedpo.benchmarks import load_benchmark
from codedpo.cli import app
from codedpo.core import progress
from codedpo.evaluation.answering import Item, requests_of
from codedpo.evaluation.command import settings
from codedpo.llm.replay_server import ReplayServer

LIMIT = 20


@pytest.fixture
def evaluate(data_folder, tmp_path):
    def run(*arguments, code=0):
        command = [sys.executable, "-W", "error", "-m", "codedpo", "eval", *map(str, arguments)]
        environment = {**os.environ, "CODEDPO_DATA_DIR": str(data_folder)}
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
        )
        assert done.returncode == code, done.stderr
        return done

    return run


@pytest.fixture(scope="module")
def problems(data_folder):
    return load_benchmark("humaneval", data_folder).problems()[:LIMIT]


def last_line(done):
    return json.loads(done.stdout.splitlines()[-1])


def broken(problem):
    return problem.prompt + "    return None\n"


def write_samples(path, rows):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def test_published_solutions_pass(evaluate, tmp_path):
    done = evaluate("canonical", "--benchmarks", "humaneval,mbpp", "--limit", LIMIT, "--json")
    result = last_line(done)
    assert {name: (found["passed"], found["total"]) for name, found in result.items()} == {
        "humaneval": (LIMIT, LIMIT),
        "mbpp": (LIMIT, LIMIT),
    }
    assert result["humaneval"]["cpu_s"] >= 0
    assert result["humaneval"]["figures"]["pass@1"]["low"] == pytest.approx(0.8389, abs=1e-4)
    stored = tmp_path / "runs" / "evaluations" / f"canonical-first-{LIMIT}"
    assert json.loads((stored / "result.json").read_text()) == result
    assert len((stored / "mbpp.jsonl").read_text().splitlines()) == LIMIT


def test_without_json_a_table_is_printed(evaluate, tmp_path):
    done = evaluate("canonical", "--limit", 3, "--output", tmp_path / "here")
    assert "humaneval  3/3     100.0 (43.9 to 100.0)" in done.stdout
    assert "pass@10" not in done.stdout
    assert done.stdout.endswith(f"samples and result: {tmp_path}/here/canonical-first-3\n")
    assert (tmp_path / "here" / "canonical-first-3" / "humaneval.jsonl").exists()


def test_a_trial_with_a_limit_leaves_the_whole_result(evaluate, problems, tmp_path):
    rows = [{"task_id": problem.problem_id, "solution": problem.canonical_solution} for problem in problems]
    path = write_samples(tmp_path / "all.jsonl", rows)
    (whole,) = {line for line in evaluate(path).stdout.splitlines() if line.startswith("samples and result")}
    result = tmp_path / whole.partition(": ")[2] / "result.json"
    before = result.read_text()
    assert "first-2\n" in evaluate(path, "--limit", 2).stdout
    assert result.read_text() == before
    assert json.loads(before)["humaneval"]["total"] == LIMIT


@pytest.mark.parametrize("quiet", [False, True])
def test_a_quiet_evaluation_prints_its_table_only(quiet, data_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setenv("CODEDPO_DATA_DIR", str(data_folder))
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["eval", "canonical", "--limit", "8", *(["--quiet"] if quiet else [])])
    assert done.exit_code == 0
    assert "humaneval" in done.stdout
    assert (done.stderr == "") == quiet


def test_several_samples_a_problem_whole_and_as_completions(evaluate, problems, tmp_path):
    rows = []
    for number, problem in enumerate(problems[:6]):
        body = problem.canonical_solution.removeprefix(problem.prompt)
        rows.append({"task_id": problem.problem_id, "completion": body})
        good = number % 2 == 0
        code = problem.canonical_solution if good else broken(problem)
        rows += [{"task_id": problem.problem_id, "solution": code}] * 9
    path = write_samples(tmp_path / "some.jsonl.gz", rows)
    done = evaluate(path, "--benchmarks", "humaneval", "--limit", LIMIT, "--json")
    found = last_line(done)["humaneval"]
    assert "pass@10 (95%)" in done.stderr
    assert "100.0 (61.0 to 100.0)" in done.stderr
    assert (found["passed"], found["total"], found["problems"]) == (33, 60, 6)
    assert found["outcomes"] == {"passed": 33, "failed": 27}
    assert found["figures"]["pass@1"]["value"] == pytest.approx(0.55)
    assert found["figures"]["pass@10"]["value"] == 1
    assert f"no sample for {LIMIT - 6} of {LIMIT} problems of humaneval" in done.stderr


def test_a_completion_has_its_prompt_even_where_it_repeats_the_head(evaluate, data_folder, tmp_path):
    """HumanEval/0 needs the import and HumanEval/10 the helper of the prompt; a solution has to bring them."""
    found = {problem.problem_id: problem for problem in load_benchmark("humaneval", data_folder).problems()}
    rows = []
    for problem in (found["HumanEval/0"], found["HumanEval/10"]):
        head = problem.canonical_solution.index(f"def {problem.entry_point}")
        code = problem.canonical_solution[head:]
        rows += [{"task_id": problem.problem_id, key: code} for key in ("completion", "solution")]
    path = write_samples(tmp_path / "heads.jsonl", rows)
    evaluate(path, "--benchmarks", "humaneval,humanevalplus", "--json")
    for name in ("humaneval", "humanevalplus"):
        (stored,) = (tmp_path / "runs" / "evaluations").glob(f"*/{name}.jsonl")
        samples = [json.loads(line) for line in stored.read_text().splitlines()]
        assert [row["outcome"] == "passed" for row in samples] == [True, False] * 2


def test_two_files_are_compared_on_the_same_problems(evaluate, problems, tmp_path):
    def file(name, wrong):
        return write_samples(
            tmp_path / name,
            [
                {
                    "task_id": problem.problem_id,
                    "solution": broken(problem) if number in wrong else problem.canonical_solution,
                }
                for number, problem in enumerate(problems)
            ],
        )

    new, old = file("new.jsonl", {0}), file("old.jsonl", {0, 1, 2, 3, 4, 5, 6})
    done = evaluate(new, "--against", old, "--benchmarks", "humaneval", "--limit", LIMIT, "--json")
    found = last_line(done)["humaneval"]
    assert (found["passed"], found["against"]["passed"]) == (19, 13)
    change = found["difference"]["pass@1"]
    assert change["value"] == pytest.approx(0.3)
    assert 0 < change["low"] < 0.3 < change["high"]
    assert found["difference"]["mcnemar_p"] == {"value": 2 / 64, "low": 2 / 64, "high": 2 / 64, "count": 6}
    assert "+30.0 (" in done.stderr
    assert "McNemar's exact p 0.0312 (6 problems changed)" in done.stderr


def test_right_answers_of_two_files_are_timed_against_each_other(evaluate, data_folder, tmp_path):
    """ENAMEL's expert references against HumanEval's programs, on HumanEval+ inputs."""

    def file(name, comment=""):
        programs = json.loads((data_folder / "enamel" / f"{name}.json").read_text())[:4]
        rows = [
            {"task_id": f"HumanEval/{number}", "solution": codes[0] + comment}
            for number, codes in enumerate(programs)
        ]
        return write_samples(tmp_path / f"{name}{len(comment)}.jsonl", rows)

    new, old = file("enamel-references"), file("humaneval-canonical")
    arguments = ("--benchmarks", "humanevalplus", "--limit", 4, "--json")
    done = evaluate(new, "--against", old, "--efficiency", *arguments)
    found = last_line(done)["humanevalplus"]
    both = found["efficiency"]["solved_by_both"]
    assert 2 <= both <= min(found["passed"], found["against"]["passed"])
    assert found["efficiency"]["timed"] + found["efficiency"].get("same_program", 0) == both
    change = found["difference"]
    assert change["speed-up"]["count"] == both
    assert change["at least 10% faster"]["value"] > 0  # has_close_elements: sorting against all pairs
    assert f"CPU time on {both} problems solved by both" in done.stderr
    (stored,) = (tmp_path / "runs" / "evaluations").rglob("humanevalplus-speeds.jsonl")
    rows = [json.loads(line) for line in stored.read_text().splitlines()]
    assert rows[0]["problem_id"] == "HumanEval/0"
    assert rows[0]["low"] > 1.1
    assert rows[0]["after_id"].startswith(str(new))
    without = last_line(evaluate(new, "--against", old, *arguments))["humanevalplus"]
    assert "efficiency" not in without
    assert "speed-up" not in without["difference"]
    kept = json.loads((stored.parent / "result.json").read_text())["humanevalplus"]
    assert kept["efficiency"] == found["efficiency"]
    assert kept["difference"]["speed-up"] == change["speed-up"]


def test_an_import_that_the_sandbox_refuses_is_said_and_numpy_is_none(evaluate, problems, tmp_path):
    rows = [
        {"task_id": problem.problem_id, "solution": f"import {module}\n{problem.canonical_solution}"}
        for problem, module in zip(problems, ("numpy", "no_such_module", "numpy"), strict=False)
    ]
    done = evaluate(write_samples(tmp_path / "new.jsonl", rows), "--benchmarks", "humaneval", "--json")
    found = last_line(done)["humaneval"]
    assert found["passed"] == 2
    assert found["imports_refused"] == {"no_such_module": 1}
    assert "failed by an import that the sandbox refuses: no_such_module 1" in done.stderr


def test_a_model_behind_an_address_is_asked_once(evaluate, problems, data_folder, tmp_path):
    benchmark = load_benchmark("humaneval", data_folder)
    config = settings([], "humaneval", 4, 2, 0.5, 0.9)
    items = [Item("m", "humaneval", problem) for problem in problems[:4]]
    rows = [
        {
            "model": "small",
            "key": request.key,
            "position": position,
            "text": "I would rather not." if number == 3 else f"Sure:\n```python\n{code}\n```",
            "finish_reason": "stop",
            "prompt_tokens": 10,
            "completion_tokens": 20,
        }
        for number, (request, problem) in enumerate(
            zip(requests_of(items, {"humaneval": benchmark}, config), problems, strict=False)
        )
        for position, code in enumerate(
            (problem.canonical_solution + "\nassert no_such_name", broken(problem))
        )
    ]
    sampling = ("--samples", 2, "--temperature", 0.5, "--top-p", 0.9)
    arguments = ("--benchmarks", "humaneval", "--limit", 4, *sampling, "--json")
    with ReplayServer(rows, model="small") as server:
        first = last_line(evaluate(f"{server.url}#small", *arguments))["humaneval"]
        asked = len(server.calls)
        again = last_line(evaluate(f"{server.url}#small", *arguments))["humaneval"]
    assert asked > 0
    assert len(server.calls) == asked
    assert {(call["temperature"], call["top_p"]) for call in server.calls} == {(0.5, 0.9)}
    for found in (first, again):
        found.pop("cpu_s")
    assert first == again
    assert (first["passed"], first["total"]) == (3, 8)
    assert first["figures"]["pass@1"]["value"] == pytest.approx(3 / 8)
    assert first["figures"]["pass@1 without extraction"]["value"] == 0
    (stored,) = (tmp_path / "runs" / "evaluations").glob("http*/humaneval.jsonl")
    samples = [json.loads(line) for line in stored.read_text().splitlines()]
    assert "has_close_elements" in samples[0]["prompt"]
    assert samples[0]["text"] == rows[0]["text"]
    assert samples[0]["outcome"] == "passed"
    assert samples[0]["plain_outcome"] == "not_loaded"
    assert samples[6]["error_type"] == "no_code"


def test_a_prompt_that_an_endpoint_refuses_is_no_wrong_answer(evaluate, problems, data_folder):
    benchmark = load_benchmark("humaneval", data_folder)
    items = [Item("m", "humaneval", problem) for problem in problems[:4]]
    requests = requests_of(items, {"humaneval": benchmark}, settings([], "humaneval", 4))
    codes = [problems[0].canonical_solution, broken(problems[1]), problems[2].canonical_solution]
    rows = [
        {"model": "small", "key": request.key, "position": 0, "text": code, "finish_reason": "stop"}
        for request, code in zip(requests, codes, strict=False)
    ]
    with ReplayServer(rows, model="small") as server:
        done = evaluate(f"{server.url}#small", "--benchmarks", "humaneval", "--limit", 4, "--json")
    found = last_line(done)["humaneval"]
    assert (found["passed"], found["total"], found["figures"]["pass@1"]["count"]) == (2, 3, 3)
    assert found["outcomes"] == {"passed": 2, "failed": 1}
    assert found["not_run"] == {"no reply": 1}
    assert found["first_refusal"].startswith("HumanEval/3: status 400: the recording lacks")
    assert "1 not run (no reply), left out of the figures" in done.stderr
    assert "the first reply that is missing, HumanEval/3: status 400" in done.stderr


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (['{"task_id": "HumanEval/0", "solution": "x"}', "{"], "line 2"),
        (['{"task_id": "HumanEval/0"}'], "line 1, is no sample: it needs the texts task_id and solution"),
        (['{"task_id": "Mbpp/2", "solution": "x"}'], "no sample for humaneval (its first task is Mbpp/2)"),
        ([], "holds no samples"),
    ],
)
def test_a_file_that_is_no_sample_file_is_named(evaluate, tmp_path, lines, sentence):
    (tmp_path / "bad.jsonl").write_text("\n".join(lines))
    done = evaluate("bad.jsonl", "--benchmarks", "humaneval", code=2)
    assert sentence in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["none.jsonl"], "none.jsonl cannot be read as samples (No such file or directory"),
        (["canonical", "--benchmarks", "nothing"], "there is no benchmark of kind nothing"),
        (["canonical", "--against", "canonical"], "compared with itself"),
        (
            ["canonical", "--efficiency"],
            "efficiency compares two subjects; name the other one after --against",
        ),
        (["canonical", "--samples", "3"], "set evaluation.temperature above 0 or evaluation.samples to 1"),
        (["canonical", "evaluation.foo=1"], "there is no option evaluation.foo"),
        (["no_such_model", "--limit", "1"], "the model 'no_such_model' is unknown"),
    ],
)
def test_bad_arguments_get_one_sentence(evaluate, arguments, sentence):
    done = evaluate(*arguments, code=2)
    (line,) = done.stderr.strip().splitlines()
    assert sentence in line


def test_json_names_every_problem_that_was_not_solved(evaluate, data_folder, tmp_path):
    problems = load_benchmark("humaneval", data_folder).problems()[:25]
    rows = [{"task_id": problem.problem_id, "solution": "x = 1"} for problem in problems]
    done = evaluate(write_samples(tmp_path / "bad.jsonl", rows), "--benchmarks", "humaneval", "--json")
    assert last_line(done)["humaneval"]["not_passed"] == [problem.problem_id for problem in problems]
    (line,) = [line for line in done.stderr.splitlines() if "25 did not pass; see " in line]
    stored = (tmp_path / line.partition("; see ")[2]).read_text().splitlines()
    assert [json.loads(row)["outcome"] != "passed" for row in stored] == [True] * 25


def test_every_benchmark_that_is_named_must_have_a_sample(evaluate, problems, tmp_path):
    rows = [{"task_id": problem.problem_id, "solution": problem.canonical_solution} for problem in problems]
    path = write_samples(tmp_path / "some.jsonl", rows[5:])
    done = evaluate(path, "--benchmarks", "humaneval,mbpp", code=2)
    assert "some.jsonl has no sample for mbpp (its first task is HumanEval/5); name only" in done.stderr
    done = evaluate(path, "--benchmarks", "humaneval", "--limit", 5, code=2)
    assert "some.jsonl has no sample for the first 5 problems of humaneval; raise --limit" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_submissions_of_livecodebench_are_set_against_the_verdicts_that_they_came_with(evaluate, data_folder):
    file = data_folder / "livecodebench" / "submission_o1-mini.json.gz"
    done = evaluate(file, "--benchmarks", "livecodebench", "--limit", 30, "--json")
    found = last_line(done)["livecodebench"]
    graded = found["graded"]
    assert found["total"] == 30
    assert graded["passed_both"] + graded["passed_here_only"] == found["passed"]
    assert graded["passed_both"] > 0
    assert graded["failed_both"] + graded["passed_here_only"] > 0
    assert (graded["passed_there_only"], graded["exceptions"]) == (0, [])
    assert sum(group["total"] for group in found["groups"].values()) == 30
    assert "of its 880 tasks are not in livecodebench" in done.stderr


def test_samples_of_ds1000_have_its_numbers_as_ids(evaluate, data_folder, tmp_path):
    """What the environment lacks is not run, and what it has is judged and broken down by library."""
    problems = load_benchmark("ds1000", data_folder).problems()
    of_numpy = [problem for problem in problems if problem.modules == ("numpy",)][:6]
    online = next(problem for problem in problems if problem.needs)
    rows = [
        *({"task_id": int(one.problem_id), "completion": one.canonical_solution} for one in of_numpy[:3]),
        *({"task_id": one.problem_id, "solution": "result = None"} for one in of_numpy[3:]),
        {"task_id": online.problem_id, "solution": online.canonical_solution},
    ]
    file = write_samples(tmp_path / "samples.jsonl", rows)
    done = evaluate(file, "--benchmarks", "ds1000", "--json", "resources.workers=1")
    found = last_line(done)["ds1000"]
    assert (found["passed"], found["total"]) == (3, 6)
    assert found["groups"] == {"Numpy": {"passed": 3, "total": 6}}
    assert found["not_passed"] == [problem.problem_id for problem in of_numpy[3:]]
    assert found["not_run"] == {"needs the network": 1}
