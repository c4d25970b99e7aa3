import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.training.conftest import CHATML, make_pair, save_model
from transformers import AutoModelForCausalLM
from transformers.models.qwen2.modeling_qwen2 import Qwen2MLP

from codedpo.core.config import LoraConfig, TrainingConfig
from codedpo.core.errors import BackendError, ConfigError, DataError
from codedpo.core.progress import Advance
from codedpo.core.records import Pair
from codedpo.training import fast_loss
from codedpo.training.job import Job, ShowProgress, Trained, train

LORA = LoraConfig(rank=4, alpha=8)


class Killed(BaseException):
    """Stands for the end of the process in the middle of training."""


@contextmanager
def silent(description: str, total: int, done: int) -> Iterator[Advance]:
    yield lambda count: None


def settings(**changes: Any) -> TrainingConfig:
    values: dict[str, Any] = {
        "learning_rate": 1e-2,
        "epochs": 3.0,
        "gradient_accumulation": 2,
        "evaluations": 3,
        "lora": LORA,
        "max_length": 128,
        "dtype": "float32",
    }
    return TrainingConfig(**values | changes)


def run(base: Path, output: Path, pairs: list[Pair], **changes: Any) -> Trained:
    output.mkdir(exist_ok=True)
    job = Job(str(base), "tiny", CHATML, str(output), settings(**changes), 3, "cpu")
    assert Job.from_json(job.to_json()) == job
    return train(job, pairs, silent)


@pytest.mark.parametrize("changes", [{"balance_length": True}, {"kinds": ("efficiency",)}])
def test_pairs_that_the_options_leave_out_are_not_said_to_be_missing(
    changes: dict[str, Any], base: Path, tmp_path: Path, pairs: list[Pair]
) -> None:
    longer = [replace(pair, chosen=pair.chosen + 400 * "#") for pair in pairs]
    with pytest.raises(
        DataError, match=r"no pair to train on: .*training\.balance_length .* none of 8; loosen"
    ):
        run(base, tmp_path, longer, **changes)


def curve(trained: Trained, name: str, split: str = "train") -> list[float]:
    return [row.value for row in trained.steps if row.name == name and row.split == split]


@pytest.mark.parametrize(("method", "lora"), [("dpo", LORA), ("kto", LORA), ("sft", LORA), ("dpo", None)])
def test_every_method_learns_and_leaves_a_model(
    method: str, lora: LoraConfig | None, base: Path, tmp_path: Path, pairs: list[Pair]
) -> None:
    trained = run(base, tmp_path, pairs, method=method, lora=lora)
    validation = curve(trained, "loss", "validation")
    assert len(validation) == 4  # at the start and after each third
    assert min(validation[1:]) < validation[0]
    right, wrong = (curve(trained, f"probe/{name}", "validation") for name in ("right", "wrong"))
    assert len(right) == len(wrong) == 4
    assert right[-1] != right[0]
    assert wrong[-1] != wrong[0]
    names = {row.name for row in trained.steps}
    assert (("rewards/chosen" in names), ("kl" in names)) == (method != "sft", method == "kto")
    assert (tmp_path / "adapter").exists() == (lora is not None)
    assert "Best validation loss" in (tmp_path / "model" / "README.md").read_text()
    before, after = (AutoModelForCausalLM.from_pretrained(folder) for folder in (base, tmp_path / "model"))
    assert after.dtype == torch.float32
    changed = before.model.layers[0].mlp.up_proj.weight - after.model.layers[0].mlp.up_proj.weight
    assert float(changed.detach().abs().max()) > 1e-4


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_a_reference_is_computed_once_for_a_run_and_its_ablations(
    method: str, base: Path, tmp_path: Path, pairs: list[Pair]
) -> None:
    computed = 0

    @contextmanager
    def counted(description: str, total: int, done: int) -> Iterator[Advance]:
        def advance(count: int) -> None:
            nonlocal computed
            computed += count

        yield advance if "reference" in description else lambda count: None

    def trained(name: str, *references: str, digest: str = "1", **changes: Any) -> tuple[Trained, int]:
        nonlocal computed
        folder, computed = tmp_path / name, 0
        folder.mkdir()
        files = tuple(str(tmp_path / other / "reference.json") for other in references)
        options = settings(method=method, epochs=1.0, evaluations=1, **changes)
        job = Job(str(base), "tiny", CHATML, str(folder), options, 3, "cpu", digest, files)
        return train(job, pairs, counted), computed

    _, calls = trained("first")
    assert calls > 0
    alone, again = trained("alone", beta=0.3)
    assert again == calls
    ablation, none = trained("ablation", "missing", "first", beta=0.3)
    assert none == 0
    assert [row.value for row in ablation.steps if "loss" in row.name] == pytest.approx(
        [row.value for row in alone.steps if "loss" in row.name], rel=1e-6
    )
    assert trained("other weights", "first", digest="2")[1] == calls
    assert trained("all weights", "first", lora=None)[1] == 0


def test_a_reference_serves_no_training_whose_weights_are_stored_otherwise(
    base: Path, tmp_path: Path, pairs: list[Pair]
) -> None:
    options: dict[str, Any] = {"epochs": 1.0, "evaluations": 1, "dtype": "bfloat16", "nll_weight": 0.0}
    run(base, tmp_path / "adapters", pairs, **options)  # frozen weights in bfloat16
    files = (str(tmp_path / "adapters" / "reference.json"),)
    margins = []
    for name, references in (("alone", ()), ("after", files)):
        folder = tmp_path / name
        folder.mkdir()
        config = settings(lora=None, **options)  # trained weights in float32
        job = Job(str(base), "tiny", CHATML, str(folder), config, 3, "cpu", "", references)
        margins.append(curve(train(job, pairs, silent), "rewards/chosen", "validation")[0])
    assert margins[0] == margins[1] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_a_reference_that_was_broken_off_goes_on_where_it_was(
    method: str, base: Path, tmp_path: Path, pairs: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_loss, "REFERENCE_SLICE", 3)  # KTO has two rows a batch, so its slices have four
    whole = run(base, tmp_path / "whole", pairs, method=method, epochs=1.0, evaluations=1)
    computed: list[int] = []

    def progress(most: int) -> ShowProgress:
        @contextmanager
        def shown(description: str, total: int, done: int) -> Iterator[Advance]:
            def advance(count: int) -> None:
                if "reference" in description:
                    if len(computed) == most:
                        raise Killed
                    computed.append(count)

            yield advance

        return shown

    output = tmp_path / "broken"
    output.mkdir()
    options = settings(method=method, epochs=1.0, evaluations=1)
    job = Job(str(base), "tiny", CHATML, str(output), options, 3, "cpu")
    batches = 8  # of one pair, or of two of the 16 answers
    with pytest.raises(Killed):
        train(job, pairs, progress(5))
    first = len(computed)
    resumed = train(job, pairs, progress(100))
    stored = {"dpo": 3, "kto": 4}[method]
    assert (first, len(computed) - first) == (5, batches - stored)
    assert curve(resumed, "loss") == pytest.approx(curve(whole, "loss"), rel=1e-5)


def test_kinds_and_numbers_of_pairs_choose_what_is_trained_on(base: Path, tmp_path: Path) -> None:
    pairs = [make_pair(index) for index in range(6)]
    pairs += [make_pair(index, kind="efficiency") for index in range(5)]
    pairs += [make_pair(index, "validation") for index in range(6, 10)]
    changes: dict[str, Any] = {"epochs": 1.0, "evaluations": 1}
    some = run(base, tmp_path / "kinds", pairs, kinds=("efficiency",), **changes)
    few = run(base, tmp_path / "few", pairs, most_pairs=3, validation_pairs=2, **changes)
    assert (some.counters["train rows"], few.counters["train rows"]) == (5, 3)
    assert few.counters["validation rows"] == 2
    sizes = [len(pair.chosen) - len(pair.rejected) for pair in pairs[:6]]
    assert (sizes.count(0), max(sizes)) == (3, 0)
    pairs[0] = replace(pairs[4], pair_id=pairs[0].pair_id, chosen=pairs[4].rejected, rejected=pairs[4].chosen)
    balanced = run(base, tmp_path / "balanced", pairs, kinds=("correctness",), balance_length=True, **changes)
    assert balanced.counters["train rows"] == 2 + 2


def test_kto_says_which_answers_it_had_and_needs_undesirable_ones(base: Path, tmp_path: Path) -> None:
    pairs = [make_pair(index) for index in range(4)] + [
        make_pair(index, kind="efficiency") for index in range(4)
    ]
    changes: dict[str, Any] = {"method": "kto", "epochs": 1.0, "evaluations": 1}
    trained = run(base, tmp_path / "both", pairs, **changes)
    assert trained.counters["train rows"] == 8
    assert trained.counters["sides left out, slow_side"] == 4
    (note,) = [note for note in trained.notes if note.startswith("KTO had")]
    assert "4 desirable and 4 undesirable answers" in note
    assert "left out: slow_side 4, chosen_elsewhere 0, repeated 4." in note
    with pytest.raises(DataError, match="none of the 4 training pairs gives an undesirable answer"):
        run(base, tmp_path / "slow", pairs, kinds=("efficiency",), **changes)


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({}, 9),
        ({"epochs": 2.0}, 6),
        ({"batch_size": 3}, 3),
        ({"gradient_accumulation": 1}, 18),
    ],
)
def test_so_many_steps_are_made_at_the_learning_rate(
    changes: dict[str, Any], steps: int, base: Path, tmp_path: Path, pairs: list[Pair]
) -> None:
    trained = run(base, tmp_path, pairs, learning_rate=3e-3, warmup_share=0.0, evaluations=1, **changes)
    assert trained.counters["steps"] == steps
    rates = curve(trained, "learning_rate")
    assert len(rates) == steps
    assert rates[0] == max(rates) == pytest.approx(3e-3)


def test_the_learning_rate_warms_up(base: Path, tmp_path: Path, pairs: list[Pair]) -> None:
    trained = run(base, tmp_path, pairs, learning_rate=3e-3, warmup_share=0.5, evaluations=1)
    rates = curve(trained, "learning_rate")
    assert rates[:5] == sorted(rates[:5])
    assert rates.index(max(rates)) == 4
    assert max(rates) == pytest.approx(3e-3)


def test_adapters_have_the_rank_scale_and_layers_of_the_config(
    base: Path, tmp_path: Path, pairs: list[Pair]
) -> None:
    run(base, tmp_path, pairs, epochs=1.0, evaluations=1, lora=LoraConfig(rank=2, alpha=6, layers=1))
    adapter = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    (up,) = [weight for name, weight in adapter.items() if "up_proj.lora_B" in name]
    (down,) = [weight for name, weight in adapter.items() if "up_proj.lora_A" in name]
    assert (down.shape[0], up.shape[1]) == (2, 2)
    assert all(".layers.2." in name for name in adapter)
    before, after = (AutoModelForCausalLM.from_pretrained(folder) for folder in (base, tmp_path / "model"))
    change = after.model.layers[2].mlp.up_proj.weight - before.model.layers[2].mlp.up_proj.weight
    torch.testing.assert_close(change.detach(), 6 / 2 * up @ down, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("lora", [LORA, None])
def test_checkpointed_activations_are_computed_twice(
    lora: LoraConfig | None, base: Path, tmp_path: Path, pairs: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []
    forward = Qwen2MLP.forward
    monkeypatch.setattr(
        Qwen2MLP,
        "forward",
        lambda self, states: counts.append(torch.is_grad_enabled()) or forward(self, states),
    )
    forwards = []
    for twice in (False, True):
        counts.clear()
        changes = {"epochs": 1.0, "evaluations": 1, "lora": lora, "activation_checkpointing": twice}
        run(base, tmp_path / str(twice), [pair for pair in pairs if pair.split == "train"], **changes)
        forwards.append(len(counts))
    assert forwards[1] - forwards[0] == 6 * 3  # once more for every pair and layer


def test_a_tracker_that_cannot_be_used_is_named(base: Path, tmp_path: Path, pairs: list[Pair]) -> None:
    for tracker in ("nothing", "wandb"):
        with pytest.raises(ConfigError, match=f"training.tracker {tracker} cannot be used"):
            run(base, tmp_path, pairs, tracker=tracker)


def test_a_device_that_is_not_there_is_named(base: Path, tmp_path: Path, pairs: list[Pair]) -> None:
    if torch.cuda.is_available():
        pytest.skip("needs a machine without GPU")
    with pytest.raises(BackendError, match=r"resources\.device is cuda, but torch finds no GPU"):
        train(Job(str(base), "tiny", CHATML, str(tmp_path), settings(), 3, "cuda"), pairs, silent)


def test_margins_grow_and_the_start_is_log_two(base: Path, tmp_path: Path, pairs: list[Pair]) -> None:
    trained = run(base, tmp_path, pairs, nll_weight=0.0)
    assert curve(trained, "loss")[0] == pytest.approx(0.693147, abs=1e-4)
    assert curve(trained, "rewards/margins", "validation")[0] == pytest.approx(0.0, abs=1e-5)
    assert curve(trained, "rewards/margins")[-1] > 0.1


@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False")  # PEFT then sets it itself
@pytest.mark.parametrize("kind", ["Llama", "Starcoder2", "Phi", "GPTBigCode", "GPT2"])
def test_other_architectures_train_and_merge(
    kind: str, tokenizer: Any, tmp_path: Path, pairs: list[Pair]
) -> None:
    base = save_model(kind, tokenizer, tmp_path / "base")
    options = {"epochs": 1.0, "evaluations": 1, "activation_checkpointing": kind == "Llama"}
    trained = run(base, tmp_path / "out", pairs, **options)
    validation = curve(trained, "loss", "validation")
    assert validation[-1] < validation[0]
    assert trained.counters["update kept at the base precision"] == pytest.approx(1.0)
    after = AutoModelForCausalLM.from_pretrained(tmp_path / "out" / "model")
    assert after.config.model_type.replace("_", "") == kind.lower()
    before = AutoModelForCausalLM.from_pretrained(base).state_dict()
    changed = {name for name, weight in after.state_dict().items() if not torch.equal(weight, before[name])}
    assert {name.split(".")[2] for name in changed} == {
        "0",
        "1",
        "2",
    }  # layers, and neither embedding nor head


@pytest.mark.filterwarnings("ignore")
def test_an_adapter_trained_on_four_bits_is_merged_into_the_weights_before_them(
    tokenizer: Any, tmp_path: Path, pairs: list[Pair]
) -> None:
    pytest.importorskip("bitsandbytes", reason="needs the extra `gpu`")
    base = save_model("Llama", tokenizer, tmp_path / "base", hidden_size=128, intermediate_size=256)
    output = tmp_path / "out"
    output.mkdir()
    job = Job(str(base), "tiny", CHATML, str(output), settings(four_bit=True), 3, "auto")
    trained = train(job, pairs, silent)
    validation = curve(trained, "loss", "validation")
    assert min(validation[1:]) < validation[0]
    before, after = (AutoModelForCausalLM.from_pretrained(folder) for folder in (base, output / "model"))
    weights = dict(after.named_parameters())
    for name, weight in before.named_parameters():
        change = (weights[name] - weight).detach().float()
        adapted = ".layers." in name and weight.dim() == 2
        assert torch.linalg.matrix_rank(change, rtol=1e-3) == LORA.rank if adapted else not change.any(), name


@pytest.mark.parametrize(("rate", "stored"), [(1e-4, torch.float32), (1.0, torch.bfloat16)])
def test_what_bfloat16_would_round_away_is_stored_in_float32(
    rate: float, stored: torch.dtype, base: Path, tmp_path: Path, pairs: list[Pair]
) -> None:
    trained = run(base, tmp_path, pairs, dtype="bfloat16", epochs=1.0, learning_rate=rate)
    after = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert after.dtype == stored
    assert any("would outlive rounding" in note for note in trained.notes) == (stored == torch.float32)
    before = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    assert not torch.equal(
        after.model.layers[0].mlp.up_proj.weight, before.model.layers[0].mlp.up_proj.weight
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_precision_of_the_config_is_that_of_the_weights(
    dtype: str, base: Path, tmp_path: Path, pairs: list[Pair]
) -> None:
    run(base, tmp_path, pairs, dtype=dtype, epochs=1.0, evaluations=1, learning_rate=1.0)
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "model").dtype == getattr(torch, dtype)


def test_pairs_weigh_by_their_probability_and_those_without_one_are_counted(
    base: Path, tmp_path: Path, pairs: list[Pair]
) -> None:
    pairs = [replace(pair, probability=-1.0 if index % 3 == 0 else 0.9) for index, pair in enumerate(pairs)]
    changes: dict[str, Any] = {"epochs": 1.0, "evaluations": 1, "gradient_accumulation": 1}
    plain = run(base, tmp_path / "plain", pairs, **changes)
    equal = run(base, tmp_path / "equal", pairs, confidence_weighted=True, **changes)
    assert curve(equal, "loss") == pytest.approx(curve(plain, "loss"), rel=1e-4)
    assert equal.counters["pairs without probability"] == 2
    assert "2 of 6 training pairs have no estimated probability and weigh 1." in equal.notes
    sure = [replace(pair, probability=0.1 + 0.1 * index) for index, pair in enumerate(pairs)]
    weighted = run(base, tmp_path / "weighted", sure, confidence_weighted=True, **changes)
    assert weighted.counters["pairs without probability"] == 0
    assert curve(weighted, "loss") != pytest.approx(curve(plain, "loss"), rel=1e-2)


def test_pairs_that_cannot_be_trained_on_are_dropped_with_a_reason(
    base: Path, tmp_path: Path, pairs: list[Pair]
) -> None:
    trained = run(base, tmp_path, pairs, max_length=60, epochs=1.0)
    assert {reject.reason for reject in trained.rejects} == {"too_long"}
    assert trained.counters["train rows"] + trained.counters["validation rows"] + len(trained.rejects) == len(
        pairs
    )
    assert trained.notes[0].startswith(f"{len(trained.rejects)} of {len(pairs)} pairs")


def test_no_pair_left_is_one_sentence(base: Path, tmp_path: Path, pairs: list[Pair]) -> None:
    with pytest.raises(DataError, match="no pair to train on: 8 of 8 pairs .*prompt_fills_window 8"):
        run(base, tmp_path, pairs, max_length=8)
    with pytest.raises(DataError, match="the stage pairs made none"):
        run(base, tmp_path, [])


def test_a_loss_that_overflows_stops_the_training(base: Path, tmp_path: Path, pairs: list[Pair]) -> None:
    with pytest.raises(DataError, match=r"training broke at step \d+: .* is (nan|inf)"):
        run(base, tmp_path, pairs, lora=None, learning_rate=1e30, warmup_share=0.0)


@pytest.mark.parametrize("torn", [False, True])
def test_a_broken_training_goes_on_and_ends_with_the_same_result(
    torn: bool, base: Path, tmp_path: Path, pairs: list[Pair]
) -> None:
    whole = run(base, tmp_path / "whole", pairs)

    @contextmanager
    def killing(description: str, total: int, done: int) -> Iterator[Advance]:
        steps = iter(range(14))

        def advance(count: int) -> None:
            if next(steps, None) is None:
                raise Killed

        yield advance

    output = tmp_path / "broken"
    output.mkdir()
    job = Job(str(base), "tiny", CHATML, str(output), settings(), 3, "cpu")
    with pytest.raises(Killed):
        train(job, pairs, killing)
    checkpoints = sorted((output / "checkpoints").glob("checkpoint-*"))
    assert [path.name for path in checkpoints] == ["checkpoint-3", "checkpoint-6"]
    if torn:
        shutil.copytree(checkpoints[-1], output / "checkpoints" / "checkpoint-7", ignore=lambda *_: ["whole"])
    resumed = train(job, pairs, silent)
    assert [(row.step, row.split, row.name) for row in resumed.steps] == [
        (row.step, row.split, row.name) for row in whole.steps
    ]
    for row, expected in zip(resumed.steps, whole.steps, strict=True):
        assert row.value == pytest.approx(expected.value, rel=1e-4, abs=1e-5)
    first, second = (
        AutoModelForCausalLM.from_pretrained(tmp_path / name / "model").state_dict()
        for name in ("whole", "broken")
    )
    for name, weight in first.items():
        torch.testing.assert_close(second[name], weight, rtol=1e-4, atol=1e-6)
