import json

import pytest

from codedpo.core.records import Pair, PairKind
from codedpo.pairs.export import write_exports


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
    assert write_exports(PAIRS, tmp_path) == {
        "preferences/train": 3,
        "preferences/validation": 1,
        "unpaired/train": 5,
        "unpaired/validation": 2,
        "chosen/train": 2,
        "chosen/validation": 1,
    }


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
    assert all(
        isinstance(value, str | float | int)
        for key, value in first.items()
        if key not in ("prompt", "chosen", "rejected")
    )
