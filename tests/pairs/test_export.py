import gc
import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from codedpo.core.config import Config
from codedpo.core.records import Pair, PairKind
from codedpo.pairs.card import Origin, Provenance, dataset_card
from codedpo.pairs.export import EXPORTS, MEASURED, SPLITS, write_exports
from codedpo.pairs.preflight import preflight


def pair(number, split, kind=PairKind.CORRECTNESS, chosen="return x", rejected="return y"):
    return Pair(
        pair_id=f"t{number:06d}/{kind.value}/0",
        task_id=f"t{number:06d}",
        kind=kind.value,
        prompt=f"Write f{number}: a «function»\nwith two lines.",
        chosen=f"```python\n{chosen}\n```",
        rejected=f"```python\n{rejected}\n```",
        chosen_solution_id=f"t{number:06d}/s00",
        rejected_solution_id=f"t{number:06d}/s01",
        chosen_score=1.0,
        rejected_score=0.25,
        chosen_cpu_ns=0.0,
        rejected_cpu_ns=0.0,
        speed_ratio=0.0,
        speed_ratio_low=0.0,
        split=split,
    )


PAIRS = [
    pair(1, "train"),
    pair(1, "train", PairKind.EFFICIENCY, rejected="return z"),
    pair(2, "train"),
    pair(3, "validation"),
]


def test_counts_and_unpaired_sides_once(tmp_path):
    assert write_exports(PAIRS, tmp_path).rows == {
        "preferences/train": 3,
        "preferences/validation": 1,
        "plain/train": 3,
        "plain/validation": 1,
        "unpaired/train": 4,
        "unpaired/validation": 2,
        "chosen/train": 2,
        "chosen/validation": 1,
        "llama_factory/train": 3,
        "llama_factory/validation": 1,
    }


def test_a_text_has_one_label_and_a_slow_program_is_no_negative(tmp_path):
    pairs = [
        pair(1, "train", chosen="return best", rejected="return wrong"),
        pair(1, "train", chosen="return other", rejected="return best"),
        pair(1, "train", PairKind.EFFICIENCY, chosen="return fast", rejected="return slow"),
        pair(1, "train", PairKind.EFFICIENCY, chosen="return best", rejected="return wrong"),
        pair(2, "train", chosen="return fine", rejected="return best"),
    ]
    exported = write_exports(pairs, tmp_path)
    lines = (tmp_path / "unpaired" / "train.jsonl").read_text().splitlines()
    found = [
        (row["task_id"][-1], row["completion"][0]["content"].split()[2], row["label"])
        for row in map(json.loads, lines)
    ]
    assert found == [
        ("1", "best", True),
        ("1", "wrong", False),
        ("1", "other", True),
        ("1", "fast", True),
        ("2", "fine", True),
        ("2", "best", False),
    ]
    card = dataset_card(pairs, exported, Provenance(Config(name="t", tasks={"file": "t.jsonl"}), {}, 0, {}))
    assert "leaves out 2 slow sides of efficiency pairs, which are believed right, 1 rejected sides" in card
    assert "and 1 that repeat a row" in card


def test_pairs_are_gone_through_and_never_held(tmp_path, monkeypatch):
    monkeypatch.setattr("codedpo.pairs.export.ROWS_AT_ONCE", 10)
    alive = []

    class Stored:
        def __iter__(self):
            for number in range(100):
                if number % 20 == 0:
                    alive.append(sum(type(one) is Pair for one in gc.get_objects()))
                yield pair(number, "validation" if number % 4 == 0 else "train")

    exported = write_exports(Stored(), tmp_path)
    dataset_card(Stored(), exported, Provenance(Config(name="t", tasks={"file": "t.jsonl"}), {}, 0, {}))
    assert preflight(Stored()).pairs == exported.pairs == 100
    assert exported.rows["unpaired/train"] == 2 * exported.rows["preferences/train"] == 150
    assert max(alive) < min(alive) + 20
    assert pq.ParquetFile(tmp_path / "plain" / "train.parquet").num_row_groups == 8


def test_a_split_without_rows_has_no_file(tmp_path):
    write_exports(PAIRS[:1], tmp_path)
    assert not (tmp_path / "preferences" / "validation.jsonl").exists()


@pytest.mark.parametrize("builder", ["json", "parquet"])
def test_datasets_loads_every_export_as_it_is(tmp_path, builder):
    datasets = pytest.importorskip("datasets")
    write_exports(PAIRS, tmp_path / "export")
    ending = {"json": "jsonl", "parquet": "parquet"}[builder]
    for name, columns in {
        "preferences": {"prompt", "chosen", "rejected", "kind", "chosen_score"},
        "unpaired": {"prompt", "completion", "label"},
        "chosen": {"prompt", "completion"},
    }.items():
        files = {
            split: str(tmp_path / "export" / name / f"{split}.{ending}") for split in ("train", "validation")
        }
        loaded = datasets.load_dataset(builder, data_files=files, cache_dir=str(tmp_path / "cache"))
        assert columns <= set(loaded["train"].column_names)
        prompt = loaded["validation"][0]["prompt"]
        assert prompt == [{"role": "user", "content": PAIRS[3].prompt}]


def test_json_lines_hold_one_message_a_side(tmp_path):
    write_exports(PAIRS, tmp_path)
    lines = (tmp_path / "preferences" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    first = json.loads(lines[0])
    assert first["chosen"] == [{"role": "assistant", "content": PAIRS[0].chosen}]
    unknown = {key for key, value in first.items() if value is None}
    assert unknown == {*MEASURED, "probability", "source_id"}
    assert all(
        isinstance(value, str | float | int)
        for key, value in first.items()
        if key not in {"prompt", "chosen", "rejected", *unknown}
    )


@pytest.mark.parametrize("timed", ["all", "train", "validation", "none"])
def test_what_was_not_measured_is_null_in_typed_columns(tmp_path, timed):
    datasets = pytest.importorskip("datasets")
    pairs = [
        replace(one, chosen_cpu_ns=10.0, rejected_cpu_ns=30.0, speed_ratio=3.0, speed_ratio_low=2.0)
        if timed in ("all", one.split)
        else one
        for one in PAIRS
    ]
    write_exports(pairs, tmp_path / "export")
    for name in ("preferences", "plain", "llama_factory"):
        files = {split: str(tmp_path / "export" / name / f"{split}.parquet") for split in SPLITS}
        assert {pq.read_schema(file).field("speed_ratio_low").type for file in files.values()} == {
            pa.float64()
        }
        loaded = datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))
        found = [row for split in SPLITS for row in loaded[split]]
        for row, one in zip(found, pairs, strict=True):
            assert [row[column] for column in MEASURED] == [
                getattr(one, column) or None for column in MEASURED
            ]


@pytest.mark.parametrize(
    ("builder", "unknown"),
    [
        *(("parquet", unknown) for unknown in ("first of train", "train", "validation", "all")),
        # JSON lines carry no schema, so that a first split of nulls alone tells no type
        *(("json", unknown) for unknown in ("first of train", "validation", "all")),
    ],
)
def test_splits_load_together_whatever_pair_has_no_probability(tmp_path, builder, unknown):
    datasets = pytest.importorskip("datasets")
    known = {"first of train": [1, 2, 3], "train": [3], "validation": [0, 1, 2], "all": []}[unknown]
    pairs = [
        replace(one, probability=0.5 + number / 10 if number in known else -1.0)
        for number, one in enumerate(PAIRS)
    ]
    write_exports(pairs, tmp_path / "export")
    ending = {"json": "jsonl", "parquet": "parquet"}[builder]
    for name in ("preferences", "plain", "llama_factory"):
        files = {
            split: str(tmp_path / "export" / name / f"{split}.{ending}") for split in ("train", "validation")
        }
        loaded = datasets.load_dataset(builder, data_files=files, cache_dir=str(tmp_path / "cache"))
        assert [*loaded["train"]["probability"], *loaded["validation"]["probability"]] == [
            one.probability if one.probability >= 0 else None for one in pairs
        ]
        if builder == "parquet":
            schemas = [pq.read_schema(file).remove_metadata() for file in files.values()]
            assert schemas[0] == schemas[1] == EXPORTS[name].schema


def test_the_plain_form_joins_to_prompt_and_answer(tmp_path):
    write_exports(PAIRS, tmp_path)
    row = json.loads((tmp_path / "plain" / "validation.jsonl").read_text())
    assert row["prompt"] + row["chosen"] == f"{PAIRS[3].prompt}\n{PAIRS[3].chosen}"
    assert row["rejected"] == PAIRS[3].rejected
    assert row["kind"] == "correctness"


def test_llama_factory_finds_its_columns_by_the_dataset_info(tmp_path):
    write_exports(PAIRS, tmp_path)
    folder = tmp_path / "llama_factory"
    info = json.loads((folder / "dataset_info.json").read_text())
    assert set(info) == {"codedpo_train", "codedpo_validation"}
    entry = info["codedpo_train"]
    assert (entry["formatting"], entry["ranking"]) == ("sharegpt", True)
    rows = pq.read_table(folder / entry["file_name"]).to_pylist()
    columns = entry["columns"]
    assert [row[columns["messages"]] for row in rows] == [
        [{"from": "human", "value": pair.prompt}] for pair in PAIRS[:3]
    ]
    for side in ("chosen", "rejected"):
        assert [row[columns[side]] for row in rows] == [
            {"from": "gpt", "value": getattr(pair, side)} for pair in PAIRS[:3]
        ]


def test_axolotl_names_files_and_fields_that_exist(tmp_path):
    write_exports(PAIRS, tmp_path)
    config = yaml.safe_load((tmp_path / "axolotl.yaml").read_text())
    assert config["rl"] == "dpo"
    for key, count in (("datasets", 3), ("test_datasets", 1)):
        (entry,) = config[key]
        assert entry["type"] == "chat_template.default"
        assert entry["ds_type"] == "parquet"
        rows = pq.read_table(tmp_path / entry["path"]).to_pylist()
        assert len(rows) == count
        assert rows[0][entry["field_messages"]][0]["role"] == "user"
        assert rows[0][entry["field_chosen"]][-1]["role"] == "assistant"
    write_exports(PAIRS[:1], tmp_path / "one")
    assert "test_datasets" not in yaml.safe_load((tmp_path / "one" / "axolotl.yaml").read_text())


def test_the_folder_with_its_card_is_a_dataset(tmp_path):
    datasets = pytest.importorskip("datasets")
    hub = pytest.importorskip("huggingface_hub")
    exported = write_exports(PAIRS, tmp_path / "export")
    seeds = {pair.task_id: Origin(f"s{pair.task_id}", "boltons|x==25", "bsd-3-clause") for pair in PAIRS}
    config = Config(name="trial", description="A trial.", model={"url": "http://inside", "name": "coder"})
    card = dataset_card(PAIRS, exported, Provenance(config, seeds, 9, {"tasks": {"same_name": 2}}))
    (tmp_path / "export" / "README.md").write_text(card)

    def load(*name):
        return datasets.load_dataset(str(tmp_path / "export"), *name, cache_dir=str(tmp_path / "cache"))

    found = load()
    assert {split: len(of) for split, of in found.items()} == {"train": 3, "validation": 1}
    assert found["train"][0]["chosen"] == [{"role": "assistant", "content": PAIRS[0].chosen}]
    assert load("unpaired")["train"].column_names[:3] == ["prompt", "completion", "label"]
    assert load("llama_factory")["validation"][0]["rejected"]["from"] == "gpt"
    data = hub.DatasetCard(card).data
    assert data.size_categories == ["n<1K"]
    assert [one["config_name"] for one in data.configs if one.get("default")] == ["preferences"]
    assert "| bsd-3-clause | 3 | 4 |" in card
    assert "| boltons x==25 | bsd-3-clause | 3 | 4 |" in card
    assert "3 functions of 9 drawn" in card
    assert "2 seeds and tasks that repeat a problem" in card
    assert "A trial." in card
    assert "http://inside" not in card


def test_equal_named_exports_with_one_cache_load_as_they_are_on_disk(tmp_path):
    datasets = pytest.importorskip("datasets")

    def loaded(run, pairs):
        export = tmp_path / run / "export"
        exported = write_exports(pairs, export)
        provenance = Provenance(Config(name=run, tasks={"file": "t.jsonl"}), {}, 0, {})
        (export / "README.md").write_text(dataset_card(pairs, exported, provenance))
        return {
            name: datasets.load_dataset(str(export), name, cache_dir=str(tmp_path / "cache"))
            for name in EXPORTS
        }

    def descriptions(source_ids):
        provenance = Provenance(Config(name="t", tasks={"file": "t.jsonl"}), {}, 0, {}, source_ids)
        card = dataset_card(PAIRS, write_exports(PAIRS, tmp_path / "named", source_ids), provenance)
        return [one["description"] for one in yaml.safe_load(card.split("---")[1])["configs"]]

    assert descriptions({}) == descriptions({"t000009": "other"})
    assert not set(descriptions({})) & set(descriptions({"t000001": "mine"}))
    other = [replace(one, chosen="```python\nreturn other\n```") for one in PAIRS]
    for run, pairs in (("first", PAIRS), ("second", other), ("first", other[1:]), ("first", PAIRS)):
        found = loaded(run, pairs)
        assert found["plain"]["train"]["chosen"] == [one.chosen for one in pairs if one.split == "train"]
        for name, export in EXPORTS.items():
            expected = list(export.rows_of(one for one in pairs if one.split == "train"))
            assert found[name]["train"].num_rows == len(expected)
