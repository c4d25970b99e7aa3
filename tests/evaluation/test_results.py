import pytest

from codedpo.evaluation.results import Score, print_scores


@pytest.mark.parametrize("name", ["runs/mine[v2]", "mine:bug:"])
def test_names_of_subjects_are_printed_as_they_are(name, tmp_path, capsys):
    subjects = [name, "base"]
    score = Score("humaneval", subjects, [], [], [], dict.fromkeys(subjects, 1.0), {}, {}, tmp_path)
    print_scores([score])
    assert name.removeprefix("runs/") in capsys.readouterr().out
