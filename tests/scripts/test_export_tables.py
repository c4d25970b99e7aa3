import json


def head_of(path):
    with path.open() as file:
        return file.readline()


def test_the_tables_of_a_run(start, run, tables, tmp_path):
    done = start("export_tables", run, tmp_path / "here")
    assert (done.code, done.err) == (0, "")
    summary = json.loads((tmp_path / "here" / "summary.json").read_text())
    assert (summary["run"], summary["folder"]) == ("tiny", "runs/experiments/tiny")
    assert "somewhere" not in str(summary)
    committed = json.loads((tables / "second" / "summary.json").read_text())
    assert summary.keys() >= committed.keys()
    assert summary["stages"][0].keys() == committed["stages"][0].keys()
    steps, outcomes = (tmp_path / "here" / name for name in ("training_steps.csv", "outcomes.csv"))
    assert steps.read_text() == "step,epoch,split,name,value\n1,0.5,train,loss,0.25\n"
    assert outcomes.read_text().splitlines()[1:] == [
        "before,humaneval,HumanEval/0,failed,9,7",
        "after,humaneval,HumanEval/0,not_loaded,9,7",
    ]
    for path in (steps, outcomes):
        assert head_of(path) == head_of(tables / "second" / path.name)


def test_no_run_and_one_that_was_not_evaluated_are_refused(refusal, run, tmp_path):
    here = tmp_path / "here"
    assert f"{tmp_path} is not a run folder (it has no run.json)" in refusal("export_tables", tmp_path, here)
    (run / "8-evaluation" / "stage.json").unlink()
    assert f"{run} has no finished stage evaluation" in refusal("export_tables", run, here)
    assert not here.exists()
