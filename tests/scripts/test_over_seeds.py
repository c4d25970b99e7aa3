import gzip

import pytest

MODEL = "rank_number_passed"


@pytest.fixture
def inputs(tables):
    return tables / "grid" / "outcomes.csv.gz", MODEL, tables / "main" / "outcomes.csv"


def test_the_committed_table(start, tables, inputs, tmp_path):
    done = start("over_seeds", tmp_path / "here.csv", *inputs)
    assert (done.code, done.out, done.err) == (0, "", "")
    assert (tmp_path / "here.csv").read_bytes() == (tables / "main" / "two_seeds.csv").read_bytes()


def test_a_training_that_is_not_there_is_refused(refusal, inputs, tmp_path):
    grid, _, run = inputs
    sentence = refusal("over_seeds", tmp_path / "here.csv", grid, "rank_other", run)
    assert "outcomes.csv.gz has no answers of untrained and rank_other to the same problems" in sentence
    assert MODEL in sentence
    assert "has no column group" in refusal("over_seeds", tmp_path / "here.csv", run, MODEL, run)
    assert "no answers of before and after" in refusal("over_seeds", tmp_path / "here.csv", grid, MODEL, grid)
    assert not (tmp_path / "here.csv").exists()


def test_other_problems_are_refused(refusal, inputs, tmp_path):
    grid, _, run = inputs
    lines = run.read_text().splitlines(keepends=True)
    kept = [line for line in lines if ",HumanEval/0," not in line]
    (tmp_path / "less.csv").write_text("".join(kept))
    sentence = refusal("over_seeds", tmp_path / "here.csv", grid, MODEL, tmp_path / "less.csv")
    assert sentence.startswith("the problems of humanevalplus are not the same in ")
    (tmp_path / "less.csv").write_text("".join(kept + lines[1:2]))
    sentence = refusal("over_seeds", tmp_path / "here.csv", grid, MODEL, tmp_path / "less.csv")
    assert "less.csv has no answers of before and after to the same problems" in sentence


def test_a_missing_or_torn_table_is_refused(refusal, inputs, tmp_path):
    grid, _, run = inputs
    missing = tmp_path / "missing.csv"
    assert f"{missing} does not exist" in refusal("over_seeds", tmp_path / "here.csv", grid, MODEL, missing)
    torn = tmp_path / "torn.csv.gz"
    torn.write_bytes(gzip.compress(b"group,model\n" * 99)[:-9])
    assert f"{torn} is torn" in refusal("over_seeds", tmp_path / "here.csv", torn, MODEL, run)


def test_an_argument_that_is_left_out_is_named(start, inputs, tmp_path):
    done = start("over_seeds", tmp_path / "here.csv", *inputs[:2])
    assert done.code == 2
    assert "Missing argument" in done.err
