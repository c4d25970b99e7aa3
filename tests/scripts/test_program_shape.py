import pytest


def test_sides_of_training_pairs_and_answers(start, run, tables, tmp_path):
    done = start("program_shape", tmp_path / "here.csv", run)
    assert (done.code, done.err) == (0, "")
    head, *rows = (line.split(",") for line in (tmp_path / "here.csv").read_text().splitlines())
    assert ",".join(head) == (tables / "grid" / "program_shape.csv").read_text().partition("\n")[0]
    assert rows == [
        ["tiny", "correctness", "chosen", "1", "0", "1", "5", "1", "105", "1"],
        ["tiny", "correctness", "rejected", "1", "0", "0", "2", "0", "32", "0"],
        ["tiny", "efficiency", "chosen", "1", "0", "1", "5", "1", "105", "1"],
        ["tiny", "efficiency", "rejected", "1", "0", "0", "2", "0", "32", "0"],
        ["tiny", "humaneval", "before", "1", "0", "1", "2", "0", "35", ""],
        ["tiny", "humaneval", "after", "0", "1", "", "", "", "", ""],
    ]


@pytest.mark.parametrize("stage", ["pairs", "evaluation"])
def test_a_run_without_pairs_or_with_half_an_evaluation_is_refused(refusal, run, tmp_path, stage):
    (folder,) = run.glob(f"*-{stage}")
    (folder / "stage.json").unlink()
    assert f"{run} has no finished stage {stage}" in refusal("program_shape", tmp_path / "here.csv", run)
    assert not (tmp_path / "here.csv").exists()
