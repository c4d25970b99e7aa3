import json

import pytest

from codedpo.core import progress
from codedpo.core.progress import Voice


def test_without_a_terminal_plain_lines_carry_an_estimate(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    with Voice().progress("seeds", 4, done=1) as advance:
        advance(1)
        advance(2)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("  seeds: 2 of 4, about 0:00:0")


def test_there_is_no_estimate_from_the_first_step_of_many(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    with Voice().progress("replies", 100) as advance:
        advance(1)
        advance(4)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "  replies: 1 of 100"
    assert second.startswith("  replies: 5 of 100, about 0:00:0")


def test_steps_are_followed_as_they_come(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    steps = Voice().follow("answers", iter("abc"), 3)
    assert next(steps) == "a"
    assert capsys.readouterr().err == ""
    assert list(steps) == ["b", "c"]
    assert [line.split(",")[0] for line in capsys.readouterr().err.splitlines()] == [
        "  answers: 1 of 3",
        "  answers: 2 of 3",
    ]


def test_json_lines_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    Voice(json_lines=True).say("two rows", event="stage_finished", stage="seeds", rows=2)
    logged = json.loads(capsys.readouterr().err)
    assert (logged["event"], logged["stage"], logged["rows"]) == ("stage_finished", "seeds", 2)


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    Voice(quiet=True).say("something")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("json_lines", [False, True])
def test_brackets_are_brackets(capsys: pytest.CaptureFixture[str], json_lines: bool) -> None:
    Voice(json_lines=json_lines).say("set sandbox.modules=[bold] or [/]", style="dim")
    said = capsys.readouterr().err
    assert "set sandbox.modules=[bold] or [/]" in said
