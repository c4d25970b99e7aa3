"""``codedpo rank`` as a person meets it, on the matrices of a run on recorded answers of the embedded model."""

import json
import os
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.text import Text
from tests.test_cli import ROOT, codedpo

from codedpo.core.records import SolutionScore
from codedpo.core.stage import StageFolder
from codedpo.core.tables import read_rows
from codedpo.rankings.ranked import Ranked, print_ranked

pytestmark = pytest.mark.xdist_group("chain")


def of_the_run(run, strategy):
    rows = read_rows(StageFolder(run / "5-rankings").parts_of(SolutionScore), SolutionScore)
    return [row for row in rows if row.strategy == strategy]


def test_the_executions_of_a_run_are_ranked_as_the_run_ranks_them(run, tmp_path):
    output = tmp_path / "scores.parquet"
    done = codedpo("rank", run / "4-executions" / "executions", "--output", output, "--json")
    assert done.returncode == 0, done.stderr
    expected = of_the_run(run, "self_validation")
    assert len(expected) > 30
    unknown = {"probability": None}  # which the run's own table writes as -1
    assert [row.probability for row in expected] == [-1.0] * len(expected)
    assert pq.read_table(output).to_pylist() == [asdict(row) | unknown for row in expected]
    assert pq.read_schema(output).field("probability").type == pa.float64()
    printed = json.loads(done.stdout)
    assert printed["strategy"] == "self_validation"
    assert printed["scores"] == [asdict(row) | unknown for row in expected]
    assert printed["tasks"] == len({row.task_id for row in expected})


def test_a_table_of_many_tasks_names_best_and_worst(run):
    lines = codedpo(
        "rank", run / "4-executions" / "executions", "--strategy", "consensus", COLUMNS="40"
    ).stdout.splitlines()
    assert lines[0].startswith("ranked by consensus: ")
    assert lines[1].split("  ")[0] == "task"
    assert "tied for best" in lines[1]
    assert lines[1].count("  score") == 2
    assert "probability" in lines[1]
    expected = of_the_run(run, "consensus") or of_the_run(run, "self_validation")
    assert [line.split()[0] for line in lines[2:]] == list(dict.fromkeys(row.task_id for row in expected))


NAMES = ("HumanEval/131/sample-000000017", "list[int]", "[/i]", "[bold]x[/bold]", ":smile:")


def many_tasks():
    return Ranked(
        "mine[x]",
        [
            SolutionScore(task, f"{task}/{name}", "mine", score, rank, 0.25)
            for task in ("HumanEval/131-with-a-long-name", "other[int]")
            for name, score, rank in (
                (NAMES[0], 0.9375, 1),
                (NAMES[1], 0.9375, 1),
                (NAMES[2], 0.0625, 3),
            )
        ],
    )


@pytest.mark.parametrize("names", [(name,) for name in NAMES] + [NAMES])
def test_ids_are_whole_and_no_markup(capsys, names):
    rows = [SolutionScore("a[b]", f"a[b]/{name}", "x", 1.0, 1) for name in names]
    print_ranked(Ranked("x", rows))
    title, _, *shown = capsys.readouterr().out.splitlines()
    assert title == "ranked by x, task a[b]"
    assert [line.split()[0] for line in shown] == list(names)


def test_both_scores_and_ties_of_every_task(capsys):
    print_ranked(many_tasks())
    title, _, *shown = capsys.readouterr().out.splitlines()
    assert title == (
        "ranked by mine[x]: 2 tasks, 6 solutions; 0 tasks have one best solution, 2 several, in 0 all are equal"
    )
    assert [line.split() for line in shown] == [
        [task, "3", NAMES[0], "0.9375", "25.0%", "2", NAMES[2], "0.0625"]
        for task in ("HumanEval/131-with-a-long-name", "other[int]")
    ]


def test_of_many_tasks_the_first_are_shown_and_the_others_counted(capsys):
    best = {"one": (1.0, 0.5, 0.5), "two": (1.0, 1.0, 0.5), "all": (1.0, 1.0, 1.0)}
    rows = [
        SolutionScore(f"t{number}", f"t{number}/s{place}", "x", score, 1 if score == 1.0 else 3)
        for number, scores in enumerate([*best.values(), *[best["one"]] * 1200])
        for place, score in enumerate(scores)
    ]
    print_ranked(Ranked("x", rows))
    title, _, *shown, left_out = capsys.readouterr().out.splitlines()
    assert title == (
        "ranked by x: 1,203 tasks, 3,609 solutions; 1,201 tasks have one best solution, 1 several, in 1 all are equal"
    )
    assert [line.split()[0] for line in shown] == [f"t{number}" for number in range(50)]
    assert left_out.startswith(
        "1,153 more tasks are left out; --json prints and --output FILE.parquet writes"
    )


def test_a_narrow_terminal_breaks_ids_and_cuts_nothing(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "90")
    print_ranked(many_tasks())
    shown = Text.from_ansi(capsys.readouterr().out).plain
    assert "…" not in shown
    assert "probability" in shown
    assert max(len(line) for line in shown.splitlines()) <= 90
    lines = shown.splitlines()
    head = next(number for number, line in enumerate(lines) if line.startswith("task "))
    column = lines[head].index("best")
    best = "".join(line[column:].split(" ")[0] for line in lines[head + 1 :])
    assert best.startswith(NAMES[0])


def test_json_lines_and_npz_of_one_task_give_the_scores_of_the_parquet(run, tmp_path):
    rows = pq.read_table(run / "4-executions" / "executions").to_pylist()
    task_id = rows[0]["task_id"]
    cells = [row for row in rows if row["task_id"] == task_id]
    (tmp_path / "one.jsonl").write_text("".join(json.dumps(row) + "\n" for row in cells))
    solutions = list(dict.fromkeys(row["solution_id"] for row in cells))
    passed = np.array([row["outcome"] == "passed" for row in cells]).reshape(len(solutions), -1)
    np.savez(tmp_path / "one.npz", passed=passed, solution_ids=solutions)
    expected = [
        (row.solution_id, row.score) for row in of_the_run(run, "self_validation") if row.task_id == task_id
    ]
    for name in ("one.jsonl", "one.npz"):
        printed = json.loads(codedpo("rank", tmp_path / name, "--json").stdout)
        assert [(row["solution_id"], row["score"]) for row in printed["scores"]] == expected
    shown = codedpo("rank", tmp_path / "one.npz").stdout
    assert all(solution_id in shown for solution_id in solutions)


def test_options_and_plug_ins_reach_the_strategy(tmp_path):
    np.savez(tmp_path / "m.npz", passed=np.array([[1, 1, 0], [0, 1, 1], [0, 1, 0]]))

    def scores(*arguments):
        printed = json.loads(codedpo("rank", tmp_path / "m.npz", *arguments, "--json").stdout)
        return printed["strategy"], [row["score"] for row in printed["scores"]]

    label, once = scores("iterations=1", "damping=1.0", "--strategy", "self_validation")
    assert label == "self_validation(damping=1.0, iterations=1)"
    assert once == pytest.approx([1, 1, 0.5])
    assert scores("--strategy", "self_validation")[1] != pytest.approx(once)
    plugin = scores("--strategy", "codedpo.rankings.baselines:number_passed")
    assert plugin == ("codedpo.rankings.baselines:number_passed", once)


def test_the_example_of_the_contributors_page_ranks(tmp_path):
    page = (ROOT / "CONTRIBUTING.md").read_text()
    (tmp_path / "mine.py").write_text(page.partition("```python\n")[2].partition("```")[0])
    np.savez(tmp_path / "m.npz", passed=np.array([[1, 1], [0, 1], [0, 0]]))
    for options, expected in (([], [1, 0.5, 0]), (["strict=true"], [1, 0, 0])):
        path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
        done = codedpo(
            "rank", tmp_path / "m.npz", "--strategy", "mine:rank", *options, "--json", PYTHONPATH=path
        )
        assert [row["score"] for row in json.loads(done.stdout)["scores"]] == expected, done.stderr


def test_what_was_written_is_said_beside_the_output(tmp_path):
    np.savez(tmp_path / "m.npz", passed=np.array([[1, 1, 0], [0, 1, 1]]))
    output = tmp_path / "new" / "scores.parquet"
    done = codedpo("rank", tmp_path / "m.npz", "--output", output, "--json")
    assert done.stderr == f"2 scores are written to {output}\n"
    assert len(json.loads(done.stdout)["scores"]) == pq.read_table(output).num_rows == 2


def test_what_cannot_be_ranked_is_one_sentence(tmp_path):
    np.savez(tmp_path / "m.npz", passed=np.array([[1, 0]]))
    np.savez(tmp_path / "shares.npz", passed=np.array([[0.5, 0]]))
    cell = {"task_id": "a", "solution_id": "s", "test_id": "t"}
    for name, rows in {
        "text.jsonl": [cell | {"passed": "false"}],
        "many.jsonl": [cell | {"passed": [True]}],
        "outcome.jsonl": [cell | {"outcome": "fine"}],
        "none.jsonl": [cell | {"passed": True, "test_id": None}],
        "list.jsonl": [[1]],
        "empty.jsonl": [],
        "torn.jsonl": [cell | {"passed": True}, cell | {"passed": True}],
    }.items():
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    for arguments, words in [
        (["none.npz"], "none.npz does not exist"),
        (["shares.npz"], "other values than 0 and 1"),
        (["text.jsonl"], "passed of cell 1 is 'false'"),
        (["many.jsonl"], "passed of cell 1 is [True]"),
        (["outcome.jsonl"], "outcome of cell 1 is 'fine'"),
        (["none.jsonl"], "cell 1 has no test_id"),
        (["list.jsonl"], "line 1 is not a JSON object"),
        (["empty.jsonl"], "has no column task_id"),
        (["torn.jsonl"], "do not fill 1 solutions x 1 tests"),
        (["."], "holds no Parquet file"),
        (["m.npz", "--strategy", "best"], "there is no ranking strategy of kind best"),
        (["m.npz", "power=2"], "it has damping"),
        (["m.npz", "--strategy", "agreement"], "m.npz holds no returned value, by which"),
        (["m.npz", "--strategy", "nowhere:rank"], "name its folder in PYTHONPATH"),
        (["m.npz", "damping"], "not of the form name=value"),
        (["m.npz", "--output", f"{tmp_path}/s.csv"], "s.csv does not end in .parquet"),
        (["m.npz", "--output", f"{tmp_path}"], "does not end in .parquet"),
        (["m.npz", "--output", f"{tmp_path}/m.npz/scores.parquet"], "cannot be written"),
    ]:
        done = codedpo("rank", tmp_path / arguments[0], *arguments[1:])
        assert done.returncode == 2, (arguments, done.stderr)
        (line,) = done.stderr.strip().splitlines()
        assert words in line, line
        assert done.stdout == ""
    assert not (tmp_path / "s.csv").exists()
