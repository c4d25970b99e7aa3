"""``codedpo trace`` on a run folder that is written here."""

from contextlib import redirect_stdout
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codedpo.core.errors import ConfigError
from codedpo.core.records import Pair, Reject, Seed, Solution, SolutionScore, Task, Test, TestScore
from codedpo.core.stage import StageFolder
from codedpo.stages import STAGE_NAMES, STAGES, stage_path
from codedpo.trace import print_trace, trace_of

TASK = "t000001"
BRACKETED = (
    "list[int]",
    "x[i]",
    "[bold]not bold[/bold]",
    "[/i]",
    "[link=x]",
    r"\[red]",
    ":smile:",
    "[[]]",
)


def write_run(folder, text, source_id="", rejects=()):
    """Write a run in which every text that a person or a model writes is ``text``."""
    (folder / "run.json").parent.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text("{}")
    solution_ids = (f"{TASK}/s00", f"{TASK}/s01")
    pair = Pair(
        f"{TASK}/correctness/0", TASK, "correctness", text, text, text, *solution_ids, 1.0, 0.5,
        0.0, 0.0, 0.0, 0.0, "train",
    )  # fmt: skip
    tables = {
        "seeds": {Seed: [Seed("s000001", "f", text, text, text, text, 1, 2, "")]},
        "tasks": {Task: [Task(TASK, "s000001", [text], text, text, "f", source_id)]},
        "candidates": {
            Solution: [Solution(name, TASK, "x", text) for name in solution_ids],
            Test: [Test(f"{TASK}/a00", TASK, "x", text, "", "")],
        },
        "rankings": {
            SolutionScore: [SolutionScore(TASK, name, "codet", 1.0, 1) for name in solution_ids],
            TestScore: [],
        },
        "pairs": {Pair: [pair]},
    }
    for stage in STAGES[: STAGE_NAMES.index("pairs") + 1]:
        rows = {row_type: [] for row_type in stage.writes} | tables.get(stage.name, {})
        own = [Reject(f"{TASK}/efficiency", "reason", text)] if stage.name == "pairs" else []
        opened = StageFolder(stage_path(folder, stage.name)).open({"stage": stage.name})
        opened.write_part(0, rows, [*own, *(rejects if stage.name == "tasks" else ())])
        opened.finish()
    return folder


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    return trace_of(write_run(tmp_path_factory.mktemp("run"), "PLACE"), TASK)


def with_text(value, text):
    """Put a text in the place of every ``PLACE`` of plain data."""
    if isinstance(value, dict):
        return {key: with_text(one, text) for key, one in value.items()}
    if isinstance(value, list):
        return [with_text(one, text) for one in value]
    return value.replace("PLACE", text) if isinstance(value, str) else value


def printed(trace):
    """Return what is printed at a width at which no line breaks."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as shown:
        patch.setenv("COLUMNS", "400")
        print_trace(trace)
    return shown.getvalue()


@given(
    st.lists(
        st.one_of(st.sampled_from(BRACKETED), st.from_regex(r"[a-z\[\]/:=#@]{1,8}", fullmatch=True)),
        max_size=4,
    )
)
def test_brackets_are_shown_in_every_place(trace, parts):
    text = f"§{''.join(parts)}§"
    shown = printed(with_text(trace, text))
    # of the seed its repository, path, licence and code; of the task concept, prompt and signature; two solutions, a
    # test, both sides of the pair, and a reject
    assert shown.count(text) == 13, shown


def test_a_task_is_found_by_the_name_that_its_file_gave_it(tmp_path):
    run = write_run(tmp_path, "x", source_id="HumanEval/7")
    found = trace_of(run, "HumanEval/7")
    assert found == trace_of(run, TASK)
    assert "task t000001  HumanEval/7" in printed(found)


@pytest.mark.parametrize(
    ("task_id", "words"),
    [
        ("t000002", r"dropped in stage tasks \(near_duplicate: t000001\); name a task that was kept"),
        ("t000003", r"dropped in stage tasks \(no_signature: Task: two lines\)"),
        ("t000004", r"dropped in stage tasks \(no_concepts\)"),
        ("t000005", "has no task t000005; they go from t000001 to t000001"),
        ("HumanEval/8", "has no task HumanEval/8; they go from"),
    ],
)
def test_of_a_task_that_is_not_there_the_reason_is_said(tmp_path, task_id, words):
    rejects = [
        Reject("t000002", "near_duplicate", "t000001"),
        Reject("s000003/task-00", "no_signature", "Task:\ntwo lines"),
        Reject("s000004", "no_concepts", ""),
    ]
    run = write_run(tmp_path, "x", rejects=rejects)
    with pytest.raises(ConfigError, match=words) as caught:
        trace_of(run, task_id)
    assert "\n" not in str(caught.value)
