from pathlib import Path
from typing import Any

import pytest

from codedpo.core.config import Config
from codedpo.core.config_files import config_of, load_config, variants_of
from codedpo.core.errors import ConfigError

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").rglob("*.yaml"))


def write(folder: Path, text: str) -> Path:
    path = folder / "trial.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_config_loads(path: Path) -> None:
    assert load_config(path).name


PAPER_MODELS = {
    "phi-2": "microsoft/phi-2",
    "deepseek-coder-1.3b": "deepseek-ai/deepseek-coder-1.3b-base",
    "deepseek-coder-6.7b": "deepseek-ai/deepseek-coder-6.7b-base",
    "starcoder2-7b": "bigcode/starcoder2-7b",
    "magicoder-ds-6.7b": "ise-uiuc/Magicoder-DS-6.7B",
    "magicoder-s-ds-6.7b": "ise-uiuc/Magicoder-S-DS-6.7B",
    "magicoder-cl-7b": "ise-uiuc/Magicoder-CL-7B",
    "magicoder-s-cl-7b": "ise-uiuc/Magicoder-S-CL-7B",
}


@pytest.mark.parametrize(
    "path", [path for path in CONFIGS if path.parent.name == "models"], ids=lambda path: path.stem
)
def test_the_papers_models_train_on_the_papers_pairs(path: Path) -> None:
    config, paper = load_config(path), load_config(path.parents[1] / "paper.yaml")
    assert config.training.model.partition("@")[0] == PAPER_MODELS[path.stem]
    assert (config.name, config.base_run) == (f"paper-{path.stem}", str(paper.run_folder))
    for section in ("seeds", "tasks", "candidates", "sandbox", "rankings", "pairs"):
        assert getattr(config, section) == getattr(paper, section)
    assert config.training == paper.training.model_copy(update={"model": config.training.model})
    assert config.evaluation.engine == "transformers"
    assert config.model.model_copy(update={"template": ""}) == paper.model.model_copy(update={"template": ""})
    if "magicoder" in path.stem:
        assert (path.parents[2] / config.model.template).is_file()
    else:
        assert config.model.template == "plain"


def test_there_is_a_config_for_each_of_the_papers_models() -> None:
    assert {path.stem for path in CONFIGS if path.parent.name == "models"} == set(PAPER_MODELS)


def test_name_defaults_to_the_file_and_overrides_apply(tmp_path: Path) -> None:
    config = load_config(
        write(tmp_path, "seed: 3"), ["training.learning_rate=5e-6", "evaluation.benchmarks=[humaneval]"]
    )
    assert (config.name, config.seed, config.training.learning_rate) == ("trial", 3, 5e-6)
    assert config.run_folder == Path("runs/trial")


@pytest.mark.parametrize(
    ("text", "overrides", "sentence"),
    [
        ("tasks: {task_sampling: {temperature: no}}", [], "tasks.task_sampling.temperature is False"),
        ("seed: '1'", [], "seed is '1'"),
        ("candidates: {solution: 3}", [], "there is no option candidates.solution"),
        ("seed: 1\nseed: 2", [], "gives seed twice"),
        ("a: [1", [], "is not valid YAML"),
        ("- 1", [], "holds a list"),
        ("seed: 2026-01-01", [], "quote it"),
        ("seeds: {sources: [{kind: pypi, name: toolz}]}", [], "a source of kind pypi needs version"),
        ("seeds: {sources: [{kind: rows, path: x, name: y}]}", [], "rows has no use for name"),
        (
            "pairs: {timing_repeats: 15}",
            [],
            r"decisive_repeats is 15, but must be more than timing_repeats \(15",
        ),
        ("sandbox: {kind: plugin}", [], 'plugin needs a path "package.module:name"'),
        ("rankings: {strategy: {kind: codet, path: 'a:b'}}", [], "the kind codet has no use for path"),
        ("{}", ["seed"], "is not of the form section.key=value"),
        ("{}", ["seed=[1"], "the value of the override seed"),
        ("{}", ["evaluation.samples=3"], "3 samples at temperature 0 are 3 copies of one answer"),
        ("seed: 1", ["seed.x=1"], "which is not a section"),
        ("candidates: {solutions: 0, tests: 0}", [], r"candidates.solutions is 0.*and 1 more"),
    ],
)
def test_bad_input_gets_one_sentence(tmp_path: Path, text: str, overrides: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        load_config(write(tmp_path, text), overrides)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        (
            "rankings.strategy=b4",
            r"rankings\.strategy is 'b4': .* an object; write rankings\.strategy\.kind=b4\.$",
        ),
        ("rankings.compare=[b4]", r"rankings\.compare\.0 is 'b4': .*; write \{kind: b4\} there\.$"),
        ("model=openai", r"model is 'openai': .*; write model\.kind=openai\.$"),
        ("training=dpo", r"training is 'dpo': input should be an object\.$"),
        ("training.lora=", r"training\.lora is '': input should be an object\.$"),
        ("name=2026", r"name is 2026: .*; put it in quotes\.$"),
        (
            "seeds.sources=[{kind: pypi, name: boltons, version: 1.10}]",
            r"version is 1\.1: .*; put it in quotes\.$",
        ),
        ("decontamination=mbpp", r"decontamination is 'mbpp': .*; write \[mbpp\]\.$"),
        ("name=", r"name is '': string should have at least 1 character\.$"),
    ],
)
def test_a_value_of_another_type_is_named_with_its_form(override: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        config_of({"name": "trial"}, [override])


def test_an_override_without_value_is_the_empty_text() -> None:
    values = {"name": "trial", "tasks": {"file": "mine.jsonl"}}
    assert config_of(values, ["tasks.file="]).tasks.file == ""
    assert config_of(values, ["training.lora=null"]).training.lora is None


def test_a_model_that_is_not_named_is_the_embedded_one_where_weights_are_loaded() -> None:
    for kind, name in (("local", "qwen2.5-coder-0.5b-instruct"), ("recorded", ""), ("plugin", "")):
        config = config_of({"name": "trial"}, [f"model.kind={kind}", "model.path=x"])
        assert config.model.name == name
        assert Config.model_validate(config.model_dump()) == config
        assert config_of({"name": "trial"}, [f"model.kind={kind}", "model.name=mine"]).model.name == "mine"


def test_a_missing_or_binary_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none.yaml cannot be read"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="binary.yaml cannot be read"):
        load_config(tmp_path / "binary.yaml")


def test_a_config_extends_another_section_by_section(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(
        "seed: 5\nseeds: {count: 9, least_lines: 4}\npairs: {kinds: [efficiency]}\n"
        "rankings: {strategy: {kind: self_validation, options: {damping: 0.5}}}\n"
    )
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "middle.yaml").write_text("extends: ../base.yaml\nseeds: {count: 7}\n")
    path = write(
        tmp_path,
        "extends: below/middle.yaml\nseed: 6\npairs: {kinds: [correctness]}\nrankings: {strategy: {kind: b4}}",
    )
    config = load_config(path, ["seeds.count=3"])
    assert (config.name, config.seed) == ("trial", 6)
    assert (config.seeds.count, config.seeds.least_lines) == (3, 4)
    assert config.pairs.kinds == ("correctness",)
    assert (config.rankings.strategy.kind, config.rankings.strategy.options) == ("b4", {})
    assert load_config(tmp_path / "below" / "middle.yaml").seeds.count == 7


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("extends: none.yaml", "none.yaml cannot be read"),
        ("extends: trial.yaml", "break the circle"),
        ("extends: [a.yaml]", "name one YAML file"),
    ],
)
def test_an_extended_config_that_is_not_there_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_config(write(tmp_path, text))


def test_a_variant_is_the_config_with_other_values_on_what_it_made() -> None:
    config = config_of(
        {
            "name": "trial",
            "seed": 4,
            "variants": {"sft": {"training": {"method": "sft"}}, "full": {"training": {"lora": None}}},
        }
    )
    variants = variants_of(config)
    assert [one.name for one in variants.values()] == ["trial/sft", "trial/full"]
    assert variants["sft"].training == config.training.model_copy(update={"method": "sft"})
    assert (variants["full"].training.lora, variants["full"].seed) == (None, 4)
    assert {one.base_run for one in variants.values()} == {"runs/trial"}
    assert not any(one.variants for one in variants.values())


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        ({"a": {"training": {"methd": "sft"}}}, r"the variant a: there is no option training\.methd"),
        ({"a": {"base_run": "elsewhere"}}, r"the variant a gives base_run, which follows from the config"),
    ],
)
def test_what_a_variant_may_not_say_is_named(variants: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_of({"name": "trial", "variants": variants})


def test_the_name_of_a_variant_is_that_of_a_folder_beside_the_stages() -> None:
    with pytest.raises(ConfigError, match="variants"):
        config_of({"name": "trial", "variants": {"1-seeds": {}}})


@pytest.mark.parametrize(
    ("given", "expected"),
    [("first", "elsewhere/first"), ("runs/first", "runs/first"), ("", ""), ("/a/b", "/a/b")],
)
def test_a_base_run_without_slash_is_a_name_in_runs_folder(given: str, expected: str) -> None:
    config = Config(name="second", runs_folder="elsewhere", base_run=given)
    assert config.base_run == expected
    assert Config.model_validate(config.model_dump()) == config
