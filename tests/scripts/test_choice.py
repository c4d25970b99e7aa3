import shutil

import pytest

USED = ("own_tasks.csv", "figures.csv", "trainings.csv", "validation_steps.csv")


@pytest.fixture
def grid(tables, tmp_path):
    for name in USED:
        shutil.copy(tables / "grid" / name, tmp_path)
    return tmp_path


def test_the_committed_table_and_the_correlations_of_the_results(start, tables, grid):
    done = start("choice", grid)
    assert (done.code, done.err) == (0, "")
    assert (grid / "choice.csv").read_bytes() == (tables / "grid" / "choice.csv").read_bytes()
    found = [line.rpartition(" ")[2] for line in done.out.splitlines()]
    assert found == ["-0.06", "0.60", "-0.10", "0.11"]


def test_one_training_has_no_correlation(start, grid):
    path = grid / "own_tasks.csv"
    head, *lines = path.read_text().splitlines(keepends=True)
    path.write_text(head + "".join(line for line in lines if line.split(",")[1] in ("untrained", "sft")))
    done = start("choice", grid)
    assert done.code == 0
    assert "1 trainings: correlation requires at least two data points" in done.out
    assert len((grid / "choice.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize("name", USED)
def test_a_table_that_is_missing_or_another_one_is_refused(refusal, grid, name):
    text = (grid / name).read_text()
    (grid / name).unlink()
    assert f"{name} does not exist; make it first" in refusal("choice", grid)
    (grid / name).write_text(text.replace("model", "name of the model", 1))
    assert f"{name} has no column model" in refusal("choice", grid)
    (grid / name).write_text(f"{text[: text.index(chr(10)) + 1]}half a row\n")
    assert f"{name}, line 2, is no row of " in refusal("choice", grid)
    assert not (grid / "choice.csv").exists()


@pytest.mark.parametrize(
    ("name", "gone"), [("own_tasks.csv", "validation,untrained,t"), ("figures.csv", "greedy,sft,")]
)
def test_tables_of_other_models_are_refused(refusal, grid, name, gone):
    lines = (grid / name).read_text().splitlines(keepends=True)
    (grid / name).write_text("".join(line for line in lines if not line.startswith(gone)))
    assert "make both of the same results" in refusal("choice", grid)
