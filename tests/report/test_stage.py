import json
import re
import shutil
from types import SimpleNamespace

import pytest
from tests.report.conftest import context_of

from codedpo.core.config import Config, ReportConfig
from codedpo.report.browse import letter
from codedpo.report.stage import run


@pytest.fixture(scope="module")
def page(run_folder):
    return (run_folder / "9-report" / "index.html").read_text()


def data_of(page):
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S).group(1)
    )


def test_the_page_loads_nothing(page):
    assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', page)
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page
    assert "default-src 'none'" in page


def test_text_of_the_run_cannot_become_markup(page):
    assert "alert(1)</script>" not in page
    assert "A run of &lt;three&gt; tasks." in page
    codes = [row["code"] for task in data_of(page)["tasks"] for row in task["solutions"]]
    assert any("</script>" in code for code in codes)


def test_every_part_of_the_run_is_there_without_script(page):
    body = page.split('<script type="application/json"')[0]
    for text in ("no docstring", "Scores of solutions", "Largest change of a score", "Loss", "HumanEval/1"):
        assert text in body
    for name in (
        "learning_rate",
        "self_validation",
        "made by hand",
        "a processor, 2 cores",
        "gained",
        "lost",
    ):
        assert name in body
    assert "HumanEval pass@1 66.7% → 66.7% (+0.0 points" in body
    assert "3 problems show no clear change" in body


def test_speed_of_right_answers_has_a_place_of_its_own(page):
    body = page.split('<script type="application/json"')[0]
    assert "4 <span" in body
    assert "(2 timed, 1 same program, 1 no call; 4 long inputs left out)" in body
    assert "1.13 <span" in body
    assert "(0.97 to 1.33)" in body
    assert "33.3 <span" in body
    assert "HumanEval: CPU time before over after" in body
    assert body.count("<td>speed-up</td>") == 0  # not among the shares of solved problems


def test_every_interval_plot_says_what_it_measures(page):
    body = page.split('<script type="application/json"')[0]
    for name in ("problems solved", "tests passed on held-out tasks"):
        for title, unit in (("Before and after", "%"), ("Paired difference", "percentage points")):
            assert f"<figcaption>{title}: {name}</figcaption>" in body
            assert f">{name}, {unit}</text>" in body


def test_matrix_is_sorted_by_score_and_tells_outcomes(page):
    data = data_of(page)
    kinds = {letter(index): kind for index, kind in enumerate(data["kinds"])}
    task = next(task for task in data["tasks"] if task["id"] == "t000000")
    scores = [row["score"] for row in task["solutions"]]
    assert scores == sorted(scores, reverse=True)
    assert [row["score"] for row in task["tests"]] == sorted(
        (row["score"] for row in task["tests"]), reverse=True
    )
    outcomes = {
        row["id"].rpartition("/")[2]: {kinds[cell][0] for cell in cells}
        for row, cells in zip(task["solutions"], task["cells"], strict=True)
    }
    assert outcomes["s00"] == {"passed", "failed"}
    assert outcomes["s03"] == {"error"}
    assert "timeout" in outcomes["s04"]
    assert outcomes["s05"] == {"not_loaded"}
    assert ["error", "TypeError"] in data["kinds"]


def test_pairs_point_at_solutions_of_their_task(page):
    data = data_of(page)
    pair = next(pair for pair in data["pairs"] if pair["kind"] == "correctness")
    task = data["tasks"][pair["task"]]
    assert task["solutions"][pair["chosen"]]["score"] > task["solutions"][pair["rejected"]]["score"]
    fast = next(pair for pair in data["pairs"] if pair["kind"] == "efficiency")
    solutions = data["tasks"][fast["task"]]["solutions"]
    assert min(solutions[fast["chosen"]]["ns"]) < min(solutions[fast["rejected"]]["ns"])


@pytest.mark.parametrize(
    ("pairs", "sentence", "absent"),
    [
        ({}, "the best-scored solution of a task against the worst. Efficiency pairs set", "Up to"),
        ({"kinds": ["correctness"]}, "against the worst.</p>", "Efficiency pairs set"),
        (
            {"rejected": "hardest"},
            "against the commonest mistake: one of the largest group of lower",
            "worst.",
        ),
        ({"pairs_per_task": 3}, "against the worst. Up to 3 of a task, each of other programs", "hardest."),
    ],
)
def test_the_page_says_which_pairs_the_config_makes(run_folder, tmp_path, pairs, sentence, absent):
    shutil.copytree(run_folder, tmp_path / "small", ignore=lambda *_: ["9-report"])
    stored = tmp_path / "small" / "config.resolved.json"
    content = json.loads(stored.read_text())
    stored.write_text(json.dumps(content | {"pairs": content["pairs"] | pairs}))
    config = Config(name="small", runs_folder=str(tmp_path))
    run(context_of(config.run_folder, config, "report", SimpleNamespace(run_folder=config.run_folder)))
    lead = (config.run_folder / "9-report" / "index.html").read_text().split("Preference pairs</h2>")[1][:600]
    assert sentence in lead
    assert absent not in lead


def test_only_so_many_tasks_are_browsable(run_folder, tmp_path):
    shutil.copytree(run_folder, tmp_path / "small", ignore=lambda *_: ["9-report"])
    config = Config(name="small", runs_folder=str(tmp_path), report=ReportConfig(tasks=2))
    services = SimpleNamespace(run_folder=config.run_folder)
    run(context_of(config.run_folder, config, "report", services))
    data = data_of((config.run_folder / "9-report" / "index.html").read_text())
    assert [task["id"] for task in data["tasks"]] == ["t000000", "t000001"]
    assert data["total"] == 3


def test_long_curves_are_thinned_and_say_so(page):
    assert "200 of 300 logged steps drawn" in page
