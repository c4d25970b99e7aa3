from dataclasses import replace

import pytest

from codedpo.core.records import HELD_OUT, TESTS_PASSED, Metric, Sample
from codedpo.report import results


def metrics(low, high, p=0.04):
    return [
        Metric("before", "humanevalplus", "pass@1", 0.5, 0.4, 0.6, 164),
        Metric("after", "humanevalplus", "pass@1", 0.55, 0.4, 0.6, 164),
        Metric("difference", "humanevalplus", "pass@1", 0.05, low, high, 164),
        Metric("difference", "humanevalplus", "mcnemar_p", p, p, p, 12),
        Metric("before", "humanevalplus", "pass@1 without extraction", 0.3, 0.2, 0.4, 164),
    ]


@pytest.mark.parametrize(
    ("low", "high", "meaning"),
    [
        (0.01, 0.09, "better"),
        (-0.09, -0.01, "worse"),
        (-0.02, 0.12, "no clear change"),
        (0.0, 0.1, "no clear change"),
    ],
)
def test_verdict_follows_the_interval_of_the_difference(low, high, meaning):
    sentence = results.verdict_of(metrics(low, high))
    assert sentence.startswith("HumanEval+ pass@1 50.0% → 55.0% (+5.0 points")
    assert meaning in sentence


@pytest.mark.parametrize(
    ("benchmark", "title"),
    [("mbppplus", "MBPP+"), ("enamel", "ENAMEL"), ("my.bench:surplus", "my.bench:surplus")],
)
def test_benchmarks_are_called_as_their_authors_do_and_others_as_they_are(benchmark, title):
    assert results.title_of(benchmark) == title


def test_an_interval_alone_makes_no_change_when_the_exact_test_disagrees():
    sentence = results.verdict_of(metrics(0.004, 0.091, p=0.065))
    assert "no clear change" in sentence
    assert "better" not in sentence
    assert "12 changed problems" in sentence
    assert "0.065" in sentence
    without_test = [row for row in metrics(0.004, 0.091) if row.name != "mcnemar_p"]
    assert "better" in results.verdict_of(without_test)


def test_without_a_comparison_there_is_no_verdict():
    assert results.verdict_of([]) == ""
    assert results.verdict_of(metrics(0, 0)[:1]) == ""


def test_rows_put_both_models_side_by_side():
    first, second = results.result_rows(metrics(0.01, 0.09))
    assert (first["before"].value, first["after"].value, first["p"].value) == (0.5, 0.55, 0.04)
    assert (second["figure"], second["after"], second["p"]) == ("pass@1 without extraction", None, None)


def test_held_out_tasks_have_a_row_and_an_interval_of_their_own():
    own = [
        Metric(model, HELD_OUT, TESTS_PASSED, 0.4, 0.3, 0.5, 32)
        for model in ("before", "after", "difference")
    ]
    row = results.result_rows([*metrics(0.01, 0.09), *own])[-1]
    assert (row["benchmark"], row["figure"], row["count"]) == ("held-out tasks", "tests passed", 32)
    groups = results.interval_groups([*metrics(0.01, 0.09), *own], difference=True)
    assert {quantity: [one.label for one in rows] for quantity, rows in groups.items()} == {
        "problems solved": ["HumanEval+"],
        "tests passed on held-out tasks": ["held-out tasks"],
    }
    assert results.verdict_of([*metrics(0.01, 0.09), *own]).startswith("HumanEval+ pass@1")


def test_interval_plots_show_the_main_figure_in_percent():
    (shown,) = results.interval_groups(metrics(0.01, 0.09), difference=False).values()
    assert [(row.label, row.value) for row in shown] == [("before", 50.0), ("after", pytest.approx(55.0))]
    ((change,),) = results.interval_groups(metrics(0.01, 0.09), difference=True).values()
    assert change.label == "HumanEval+"
    assert (change.low, change.high) == pytest.approx((1.0, 9.0))


def sample(model, problem, position, outcome):
    name = f"{model}/humaneval/{problem}/{position}"
    return Sample(
        name,
        model,
        "humaneval",
        problem,
        position,
        "[]",
        "",
        "stop",
        10,
        f"{model} {position}",
        outcome,
        "",
        1,
        outcome,
    )


def test_changed_problems_show_the_answers_that_differ():
    rows = [
        sample("before", "P/0", 0, "passed"),
        sample("before", "P/1", 0, "passed"),
        sample("before", "P/1", 1, "failed"),
        sample("before", "P/2", 0, "failed"),
        sample("after", "P/0", 0, "passed"),
        sample("after", "P/1", 0, "failed"),
        sample("after", "P/1", 1, "failed"),
        sample("after", "P/2", 0, "passed"),
    ]
    gained, lost = results.changed_problems(rows)
    assert (gained["problem"], gained["gained"], gained["after"]["outcome"]) == ("P/2", True, "passed")
    assert (lost["problem"], lost["before"]["code"], lost["after"]["outcome"]) == (
        "P/1",
        "before 0",
        "failed",
    )


def test_answers_that_were_not_run_are_no_failures_and_are_counted():
    missing = replace(
        sample("after", "P/0", 0, "not_run"),
        error_type="no reply",
        finish_reason="refused",
        completion_tokens=0,
    )
    rows = [sample("before", "P/0", 0, "passed"), sample("after", "P/1", 0, "passed"), missing]
    assert results.changed_problems(rows) == []
    assert results.not_run_counts(rows) == [
        {"benchmark": "HumanEval", "model": "after", "reason": "no reply", "count": 1}
    ]
    after = results.outcome_counts(rows)[1]
    assert (after["samples"], after["failed"], after["tokens"]) == (2, 0, 10)


def test_the_verdict_says_how_many_problems_both_models_answered():
    fewer = [replace(row, count=160 if row.model == "difference" else 164) for row in metrics(0.01, 0.09)]
    assert results.verdict_of(fewer).endswith("better on the 160 problems that both models answered.")


def test_outcomes_are_counted_by_model():
    rows = [sample("before", "P/0", 0, "passed"), sample("before", "P/1", 0, "error")]
    (row,) = results.outcome_counts(rows)
    assert (row["samples"], row["passed"], row["failed"], row["tokens"]) == (2, 1, 0, 10)
