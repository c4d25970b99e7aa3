import json
from pathlib import Path

import pytest

from codedpo.benchmarks import BENCHMARKS
from codedpo.core.config import Config
from codedpo.core.processor import Processor
from codedpo.plan import PROBLEMS, outlook, plan_of, print_plan


def config(**sections: object) -> Config:
    return Config.model_validate({"name": "trial", **sections})


def line(plan_config: Config, stage: str):
    return next(line for line in plan_of(plan_config).lines if line.stage == stage)


def test_calls_and_executions_follow_from_the_config() -> None:
    plan = config(seeds={"count": 400}, candidates={"solutions": 10, "tests": 12, "tests_per_reply": 5})
    tasks = 380
    assert line(plan, "tasks").calls == 800
    assert line(plan, "candidates").calls == tasks * (10 + 3)
    assert line(plan, "executions").executions == tasks * 10 * 12


def test_the_size_of_every_benchmark_is_known() -> None:
    assert PROBLEMS.keys() == BENCHMARKS.keys()


def test_given_tasks_are_counted_and_not_asked_for(tmp_path: Path) -> None:
    given = {"prompt": "Return twice the number.", "signature": "def twice(x: int) -> int:"}
    (tmp_path / "tasks.jsonl").write_text(f"{json.dumps(given)}\n" * 3)
    plan = config(tasks={"file": str(tmp_path / "tasks.jsonl")}, candidates={"solutions": 4, "tests": 5})
    assert line(plan, "tasks").calls == 0
    assert line(plan, "executions").executions == 3 * 4 * 5


def test_what_an_endpoint_computes_is_not_counted_here() -> None:
    assert line(config(), "candidates").cpu_hours > 0
    assert line(config(model={"kind": "openai", "url": "http://localhost:1"}), "candidates").cpu_hours == 0


@pytest.mark.parametrize(
    ("stage", "sections"),
    [
        ("training", {"training": {"most_pairs": 10, "epochs": 1.0}}),
        ("training", {"training": {"kinds": ("efficiency",), "epochs": 1.0}}),
        ("pairs", {"pairs": {"kinds": ("correctness",)}}),
        ("evaluation", {"evaluation": {"limit": 20}}),
    ],
)
def test_smaller_settings_cost_less(stage: str, sections: dict[str, object]) -> None:
    assert line(config(**sections), stage).cpu_hours < line(config(), stage).cpu_hours


def test_total_is_the_sum_and_json_carries_it() -> None:
    plan = plan_of(config())
    assert plan.as_dict()["total"]["calls"] == sum(part.calls for part in plan.lines)


def test_data_only_plans_neither_training_nor_evaluation() -> None:
    plan = plan_of(config(data_only=True))
    assert [part.stage for part in plan.lines] == ["tasks", "candidates", "executions", "pairs"]


def test_variants_cost_what_they_do_not_adopt() -> None:
    plan = config(variants={"sft": {"training": {"method": "sft"}}, "kto": {"training": {"method": "kto"}}})
    training, evaluation = line(plan, "training"), line(plan, "evaluation")
    added = line(plan, "variants")
    assert added.cpu_hours == pytest.approx(2 * training.cpu_hours + evaluation.cpu_hours)
    assert added.tokens == evaluation.tokens
    assert plan_of(plan).total.cpu_hours == pytest.approx(plan_of(config()).total.cpu_hours + added.cpu_hours)


def test_hours_follow_the_processor() -> None:
    old, new = (
        plan_of(config(), Processor("one", frozenset(flags)))
        for flags in (("avx2",), ("avx2", "avx512_vnni", "avx512_bf16"))
    )
    for before, after in zip(old.lines, new.lines, strict=True):
        slower = before.stage in ("tasks", "candidates", "training", "evaluation")
        assert (before.cpu_hours > after.cpu_hours) == slower
    for word, plan in (("without", old), ("with", new)):
        assert f"on two cores {word} fast 8-bit products (VNNI, AMX)" in plan.notes[0]
        assert (
            f"{word} fast bfloat16 products (AVX-512 BF16, AMX) for training, like this one." in plan.notes[0]
        )


def test_generation_with_transformers_costs_more() -> None:
    dear = config(model={"kind": "transformers"}, evaluation={"engine": "transformers"})
    for stage in ("tasks", "candidates", "evaluation"):
        assert line(dear, stage).cpu_hours > 5 * line(config(), stage).cpu_hours


def test_an_existing_base_run_is_not_counted_again(tmp_path: Path) -> None:
    base, places = config(), {"base_run": str(tmp_path / "trial"), "runs_folder": str(tmp_path)}
    trained_anew = config(training={"learning_rate": 1e-4}, **places)
    assert plan_of(trained_anew).lines[0].stage == "tasks"
    assert "does not exist" in plan_of(trained_anew).notes[1]
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial/config.resolved.json").write_text(base.model_dump_json())
    plan = plan_of(trained_anew)
    assert [part.stage for part in plan.lines] == ["training", "evaluation"]
    assert plan.lines[1].calls == line(base, "evaluation").calls // 2
    assert "not counted" in plan.notes[1]


def test_a_plan_ends_with_the_last_stage_asked_for() -> None:
    whole = config(
        variants={"sft": {"training": {"method": "sft"}}, "more": {"candidates": {"solutions": 20}}}
    )
    plan = plan_of(whole, until="candidates")
    assert [part.stage for part in plan.lines] == ["tasks", "candidates", "variants"]
    alone = config(candidates={"solutions": 20})
    assert plan.lines[-1].calls == line(alone, "candidates").calls


@pytest.mark.parametrize(
    ("sections", "first"),
    [
        ({"model": {"name": "another"}}, "tasks"),
        ({"shard_size": 7}, "tasks"),
        ({"decontamination": ("ds1000",)}, "tasks"),
        ({"training": {"model": "another"}}, "training"),
    ],
)
def test_what_a_base_run_made_otherwise_is_counted(
    tmp_path: Path, sections: dict[str, object], first: str
) -> None:
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial/config.resolved.json").write_text(config().model_dump_json())
    places = {"base_run": str(tmp_path / "trial"), "runs_folder": str(tmp_path)}
    assert plan_of(config(**places, **sections)).lines[0].stage == first


def test_a_base_run_of_another_version_is_counted(tmp_path: Path) -> None:
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial/config.resolved.json").write_text('{"name": "trial", "long_gone": 1}')
    plan = plan_of(config(base_run=str(tmp_path / "trial"), runs_folder=str(tmp_path)))
    assert plan.lines[0].stage == "tasks"
    assert "of another version" in plan.notes[1]


def test_a_recording_is_named_and_its_replies_are_counted() -> None:
    recording = Path(__file__).resolve().parents[1] / "experiments" / "small" / "answers.jsonl.gz"
    plan = plan_of(config(model={"recording": str(recording)}))
    assert plan.lines == plan_of(config()).lines
    assert (
        f"{recording} (8,664 of openvino/1d9614638d18024d-q8_0/8bb4aad161484801) are counted" in plan.notes[1]
    )


def test_brackets_in_the_name_of_a_run_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    print_plan(plan_of(config(name="trial[v2]")))
    assert "plan of trial[v2]" in capsys.readouterr().out


def test_outlook_says_what_a_run_up_to_a_stage_takes_here() -> None:
    def hours(until: str) -> float:
        return float(outlook(config(), until).split()[1])

    assert hours("report") == pytest.approx(plan_of(config()).total.cpu_hours, abs=0.05)
    assert 0 < hours("candidates") < hours("report")
    assert outlook(config(), "seeds") == ""
    assert outlook(config(model={"recording": "replies.jsonl.gz"}), "report") == ""
