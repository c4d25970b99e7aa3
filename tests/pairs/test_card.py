import yaml

from codedpo.core.config import Config, ModelConfig
from codedpo.pairs.card import MAKES_PAIRS, Provenance, dataset_card
from codedpo.pairs.export import Exported

OTHER = {
    "name": "trial",
    "seed": 5,
    "shard_size": 9,
    "decontamination": ("ds1000", "mbpp_full"),
    "seeds": {"count": 7},
    "tasks": {"file": "mine.jsonl"},
    "candidates": {"solutions": 3},
    "sandbox": {"cpu_seconds": 2.0},
    "rankings": {"strategy": {"kind": "b4"}},
    "pairs": {"least_margin": 0.5},
    "evaluation": {"benchmarks": ("mbpp",)},
}
MODEL = {"kind": "openai", "name": "coder", "template": "plain", "options": {"prompt_style": "completion"}}
MAKES_NO_DATA = {
    *("description", "runs_folder", "base_run", "variants", "data_only", "training", "report", "resources"),
}


def settings_of(config):
    card = dataset_card([], Exported({}, {}), Provenance(config, {}, 0, {}))
    text = card.partition("## How it was made")[2].split("```yaml\n")[1].split("```")[0]
    return yaml.safe_load(text)


def test_the_config_of_a_card_has_every_setting_that_the_data_depends_on():
    config = Config(**OTHER, model=MODEL | {"url": "http://inside", "recording": "inside.jsonl.gz"})
    again = Config.model_validate(settings_of(config), strict=False)
    assert again == Config(**OTHER, model=MODEL)
    assert again.kept_out == config.kept_out
    assert {*MAKES_PAIRS, "model", "evaluation"} == Config.model_fields.keys() - MAKES_NO_DATA


def test_the_config_of_a_card_names_a_plug_in_and_keeps_its_options_back():
    plugin = {"kind": "plugin", "path": "mine:Model", "options": {"secret": "inside"}}
    settings = settings_of(Config(name="t", tasks={"file": "t.jsonl"}, model=plugin))
    assert ModelConfig(**settings["model"]) == ModelConfig(kind="plugin", path="mine:Model")


def test_a_card_says_of_a_model_without_name_what_it_calls_itself():
    for model, said in (
        ({}, "`qwen2.5-coder-0.5b-instruct` (kind `local`)"),
        ({"kind": "recorded", "path": "x.jsonl"}, "`recorded/0123/weights` (kind `recorded`)"),
        ({"kind": "recorded", "path": "x.jsonl", "name": "coder"}, "`coder` (kind `recorded`)"),
    ):
        config = Config(name="t", tasks={"file": "t.jsonl"}, model=model)
        card = dataset_card(
            [], Exported({}, {}), Provenance(config, {}, 0, {}, model_identity="recorded/0123/weights")
        )
        assert f"Solutions and tests: {said}." in card
