"""What earlier commands left in a folder stays: real evaluations of small files of samples."""

import json

import pytest

from codedpo.benchmarks import load_benchmark
from codedpo.core.errors import ConfigError, DataError, StaleError
from codedpo.core.progress import Voice
from codedpo.evaluation import command
from codedpo.evaluation.results import json_of, print_scores


@pytest.fixture
def evaluate(data_folder, tmp_path):
    """Return a function that judges, and gives what was found and all files that are there afterwards."""

    def run(path, *overrides, benchmarks="humaneval", limit=2, **options):
        config = command.settings([f"resources.data_folder={data_folder}", *overrides], benchmarks, limit)
        scores = command.evaluate(str(path), config, Voice(quiet=True), folder=tmp_path / "out", **options)
        print_scores(scores)
        return json_of(scores)

    return run


@pytest.fixture
def samples(data_folder, tmp_path):
    """Return a function that writes a file of right answers to both benchmarks, with a comment at their end."""

    def write(name, comment=""):
        rows = [
            {"task_id": problem.problem_id, "solution": problem.canonical_solution + comment}
            for benchmark in ("humaneval", "mbpp")
            for problem in load_benchmark(benchmark, data_folder).problems()[:2]
        ]
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write


def written(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def stored(tmp_path, *parts):
    (path,) = (tmp_path / "out").glob("/".join([*parts, "result.json"]))
    return json.loads(path.read_text())


def test_other_benchmarks_are_added_and_equal_ones_judged_again(evaluate, samples, tmp_path):
    path = samples("new.jsonl")
    first = evaluate(path)
    assert stored(tmp_path, "*new*") == first
    second = evaluate(path, benchmarks="mbpp")
    assert list(second) == ["mbpp"]
    assert stored(tmp_path, "*new*") == first | second
    again = evaluate(path)
    assert stored(tmp_path, "*new*") == again | second
    whole = evaluate(path, limit=None)
    assert stored(tmp_path, "*new.jsonl") == whole
    assert stored(tmp_path, "*new*-first-2") == again | second


def test_other_settings_and_a_file_that_has_changed_are_refused_and_nothing_is_lost(
    evaluate, samples, tmp_path
):
    path = samples("new.jsonl")
    evaluate(path)
    before = written(tmp_path / "out")
    with pytest.raises(
        StaleError, match=r"first-2 holds results .*\(config\.sandbox\.cpu_seconds: 1\.0 -> 5\.0\); re"
    ):
        evaluate(path, "sandbox.cpu_seconds=5.0", benchmarks="mbpp")
    samples("new.jsonl", comment="\n# another\n")
    with pytest.raises(StaleError, match=r'\(subject: "file .*" -> "file .*"\); rename it to keep them'):
        evaluate(path, benchmarks="mbpp")
    assert written(tmp_path / "out") == before
    (folder,) = (tmp_path / "out").iterdir()
    folder.rename(tmp_path / "kept")
    assert evaluate(path, "sandbox.cpu_seconds=5.0", benchmarks="mbpp") == stored(tmp_path, "*new*")
    (settings,) = (tmp_path / "out").rglob("settings.json")
    settings.unlink()
    with pytest.raises(StaleError, match=r"no settings\.json"):
        evaluate(path)


def test_settings_that_change_nothing_of_a_file_of_samples_are_taken(evaluate, samples, tmp_path):
    path = samples("new.jsonl")
    first = evaluate(path)
    sampling = ("samples=10", "temperature=0.8", "top_p=0.9", "max_tokens=1024")
    other = (*sampling, "engine=transformers", "held_out_tasks=true")
    second = evaluate(path, *(f"evaluation.{one}" for one in other), benchmarks="mbpp")
    assert stored(tmp_path, "*new*") == first | second
    with pytest.raises(StaleError, match=r"config\.seed: 0 -> 1"):
        evaluate(path, "seed=1")


def test_an_option_that_is_newer_than_the_folder_was_at_its_default(evaluate, samples, tmp_path):
    path = samples("new.jsonl")
    first = evaluate(path)
    (settings,) = (tmp_path / "out").rglob("settings.json")
    old = json.loads(settings.read_text())
    del old["config"]["sandbox"]["temporary_folder_kib"]
    settings.write_text(json.dumps(old))
    assert stored(tmp_path, "*new*") == first
    assert first | evaluate(path, benchmarks="mbpp") == stored(tmp_path, "*new*")


def test_a_comparison_has_a_folder_of_its_own(evaluate, samples, tmp_path, capsys):
    new, old, older = samples("new.jsonl"), samples("old.jsonl", "\n# 1\n"), samples("older.jsonl", "\n# 2\n")
    alone = evaluate(new)
    first = evaluate(new, against=str(old))
    said = [line.partition(": ") for line in capsys.readouterr().out.splitlines() if ": " in line]
    assert [what for what, _, _ in said][-3:] == ["samples", "result", "samples"]
    second = evaluate(new, against=str(older))
    assert stored(tmp_path, "*new*") == alone
    assert stored(tmp_path, "*new*", "against-*old.jsonl") == first
    assert stored(tmp_path, "*new*", "against-*older.jsonl") == second
    samples("old.jsonl", "\n# 3\n")
    before = written(tmp_path / "out")
    with pytest.raises(StaleError, match=r"old\.jsonl-first-2 holds results that were made otherwise"):
        evaluate(new, against=str(old))
    assert written(tmp_path / "out") == before


@pytest.mark.parametrize("name", ["settings.json", "result.json"])
@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_torn_file_is_said_before_anything_is_judged(evaluate, samples, tmp_path, name, content):
    path = samples("new.jsonl")
    evaluate(path)
    (torn,) = (tmp_path / "out").rglob(name)
    torn.write_text(content)
    before = written(tmp_path / "out")
    with pytest.raises(DataError, match=rf"{name} is torn; remove .* and run again"):
        evaluate(path, benchmarks="mbpp")
    assert written(tmp_path / "out") == before


def test_two_that_would_share_a_folder_are_refused(evaluate, samples, tmp_path):
    new, other = samples("a b.jsonl"), samples("a-b.jsonl", "\n# 1\n")
    with pytest.raises(ConfigError, match=r"would be stored in one folder, .*a-b\.jsonl; rename one"):
        evaluate(new, against=str(other))
    assert not (tmp_path / "out").exists()


def test_a_benchmark_that_is_named_twice_is_judged_once(data_folder, samples, tmp_path):
    config = command.settings([f"resources.data_folder={data_folder}"], "humaneval,humaneval", 2)
    path = str(samples("new.jsonl"))
    (score,) = command.evaluate(path, config, Voice(quiet=True), folder=tmp_path / "out")
    assert len(score.samples) == 2
