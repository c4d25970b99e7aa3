"""Pairs as files that trainers load as they are.

Each export is a folder with ``train`` and ``validation`` in Parquet and JSONL. ``preferences`` has TRL's
conversational columns ``prompt``, ``chosen``, ``rejected`` (lists of messages), ``plain`` the same as texts for models
without a chat template, ``unpaired`` has ``prompt``, ``completion``, ``label`` for KTO, ``chosen`` has ``prompt`` and
``completion`` for SFT, ``llama_factory`` is in the sharegpt form of LLaMA-Factory with its ``dataset_info.json``;
``axolotl.yaml`` makes axolotl read ``preferences``. Extra columns are flat: nested optional keys would come back
filled with nulls. Every row of an export has the same keys, null where nothing is known, and its Parquet files one
schema: readers take the columns of all splits from the first rows that they see, which of JSONL may all be null.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from codedpo.core.records import Pair
from codedpo.core.tables import replacing, schema_of, write_atomically
from codedpo.core.unpaired import Answer, sides

ExportRow = dict[str, Any]
SPLITS = ("train", "validation")
ROWS_AT_ONCE = 1000
"""Rows that are held, and that a row group of a Parquet file has."""
_SIDES = ("chosen", "rejected")
_FACTS = pa.schema([field for field in schema_of(Pair) if field.name not in {"prompt", *_SIDES}])
"""All columns of pairs but their texts."""
_SOURCE = ("source_id", pa.string())
"""What ``tasks.file`` calls the task of a row."""
_NO_SOURCES: Mapping[str, str] = MappingProxyType({})
MEASURED = ("chosen_cpu_ns", "rejected_cpu_ns", "speed_ratio", "speed_ratio_low", "speed_ratio_high")
"""Columns of a pair that only efficiency pairs fill."""


def _messages(role: str, content: str) -> list[dict[str, str]]:
    return [{"role": role, "content": content}]


def preferences(pairs: Iterable[Pair]) -> Iterator[ExportRow]:
    """Rows for TRL's DPOTrainer: the chat template is applied by the trainer, never here."""
    for pair in pairs:
        yield {
            "prompt": _messages("user", pair.prompt),
            **{side: _messages("assistant", getattr(pair, side)) for side in _SIDES},
            **_facts(pair),
        }


def plain(pairs: Iterable[Pair]) -> Iterator[ExportRow]:
    """Rows for trainers that join prompt and answer as they stand; a line break parts the two."""
    for pair in pairs:
        yield {"prompt": f"{pair.prompt}\n", **{side: getattr(pair, side) for side in _SIDES}, **_facts(pair)}


def llama_factory(pairs: Iterable[Pair]) -> Iterator[ExportRow]:
    """Rows for LLaMA-Factory: ``formatting: sharegpt``, ``ranking: true``, one message a side."""
    for pair in pairs:
        yield {
            "conversations": [{"from": "human", "value": pair.prompt}],
            **{side: {"from": "gpt", "value": getattr(pair, side)} for side in _SIDES},
            **_facts(pair),
        }


def _facts(pair: Pair) -> ExportRow:
    """All of a pair but its texts; null where no probability is estimated and where nothing is timed."""
    unknown = {name for name in MEASURED if getattr(pair, name) <= 0} | (
        {"probability"} if pair.probability < 0 else set()
    )
    return {name: None if name in unknown else getattr(pair, name) for name in _FACTS.names}


def labelled(pairs: Iterable[Pair]) -> Iterator[ExportRow]:
    """Rows for TRL's KTOTrainer: every answer once, labelled desirable or not (``core.unpaired`` says which)."""
    return (_answer(answer, label=answer.is_desirable) for answer, reason in sides(pairs) if not reason)


def chosen_only(pairs: Iterable[Pair]) -> Iterator[ExportRow]:
    """Rows for TRL's SFTTrainer with the loss on the completion: every chosen side once."""
    return (_answer(answer) for answer, reason in sides(pairs) if answer.is_desirable and not reason)


def _answer(answer: Answer, **more: bool) -> ExportRow:
    return {
        "prompt": _messages("user", answer.pair.prompt),
        "completion": _messages("assistant", answer.text),
        **more,
        "kind": answer.pair.kind,
        "task_id": answer.pair.task_id,
        "solution_id": answer.solution_id,
    }


@dataclass(frozen=True, slots=True)
class Export:
    """One form of the pairs."""

    rows_of: Callable[[Iterable[Pair]], Iterator[ExportRow]]
    """Every column but ``source_id``, which pairs do not hold."""
    schema: pa.Schema
    """Of its Parquet files, whatever the rows of a split hold."""


_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
_TURN = pa.struct([("from", pa.string()), ("value", pa.string())])
_COMPLETION = [("prompt", _MESSAGES), ("completion", _MESSAGES)]
_ORIGIN = [(name, pa.string()) for name in ("kind", "task_id", "solution_id")]

EXPORTS: dict[str, Export] = {
    "preferences": Export(
        preferences, pa.schema([*((name, _MESSAGES) for name in ("prompt", *_SIDES)), *_FACTS, _SOURCE])
    ),
    "plain": Export(
        plain, pa.schema([*((name, pa.string()) for name in ("prompt", *_SIDES)), *_FACTS, _SOURCE])
    ),
    "unpaired": Export(labelled, pa.schema([*_COMPLETION, ("label", pa.bool_()), *_ORIGIN, _SOURCE])),
    "chosen": Export(chosen_only, pa.schema([*_COMPLETION, *_ORIGIN, _SOURCE])),
    "llama_factory": Export(
        llama_factory,
        pa.schema(
            [("conversations", pa.list_(_TURN)), *((side, _TURN) for side in _SIDES), *_FACTS, _SOURCE]
        ),
    ),
}
"""Folder name -> what it holds."""


@dataclass(frozen=True, slots=True)
class OfSplit(Iterable[Pair]):
    """The pairs of one split, as often as somebody goes through them."""

    pairs: Iterable[Pair]
    split: str

    def __iter__(self) -> Iterator[Pair]:
        return (pair for pair in self.pairs if pair.split == self.split)


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    rows: dict[str, int]
    """Rows of each ``export/split`` that has any."""
    fingerprints: dict[str, str]
    """For each export 16 hex digits that stand for its columns and rows, the same for equal files."""

    @property
    def splits(self) -> list[str]:
        """The splits that have a pair."""
        return [split for split in SPLITS if f"preferences/{split}" in self.rows]

    @property
    def pairs(self) -> int:
        """How many pairs there are."""
        return sum(self.rows[f"preferences/{split}"] for split in self.splits)


def write_exports(
    pairs: Iterable[Pair], folder: Path, source_ids: Mapping[str, str] = _NO_SOURCES
) -> Exported:
    """Write every export under ``folder``.

    Args:
        pairs: of all splits; gone through once or twice for every file, and never held.
        folder: is made where it does not exist.
        source_ids: task id -> what ``tasks.file`` calls the task; other tasks have null.

    A split without rows gets no file, since readers cannot tell the columns of an empty JSONL file.
    """
    exported = Exported({}, {})
    for name, export in EXPORTS.items():
        digest = hashlib.sha256(str(export.schema).encode())
        for split in SPLITS:
            digest.update(f"\n{split}\n".encode())
            rows = (
                row | {"source_id": source_ids.get(row["task_id"])}
                for row in export.rows_of(OfSplit(pairs, split))
            )
            if count := _write(folder / name / split, rows, export.schema, digest.update):
                exported.rows[f"{name}/{split}"] = count
        exported.fingerprints[name] = digest.hexdigest()[:16]
    info = json.dumps(llama_factory_info(exported.splits), indent=2) + "\n"
    write_atomically(folder / "llama_factory" / "dataset_info.json", info.encode())
    write_atomically(folder / "axolotl.yaml", axolotl_config(exported.splits).encode())
    return exported


def _write(stem: Path, rows: Iterator[ExportRow], schema: pa.Schema, seen: Callable[[bytes], None]) -> int:
    """Write rows as Parquet and as JSON lines, which ``seen`` is shown, and return their number."""
    some = list(islice(rows, ROWS_AT_ONCE))
    if not some:
        return 0
    count = 0
    with (
        replacing(stem.with_suffix(".jsonl")) as lines,
        replacing(stem.with_suffix(".parquet")) as table,
        pq.ParquetWriter(table, schema, compression="zstd") as writer,
    ):
        while some:
            writer.write_table(pa.Table.from_pylist(some, schema=schema))
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in some).encode()
            lines.write(text)
            seen(text)
            count += len(some)
            some = list(islice(rows, ROWS_AT_ONCE))
    return count


def llama_factory_info(splits: Iterable[str]) -> dict[str, Any]:
    """Return ``dataset_info.json``: ``codedpo_train`` and ``codedpo_validation`` of ``dataset_dir: llama_factory``.

    It names the Parquet files, whose columns have types even where a whole split is null.
    """
    columns = {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"}
    return {
        f"codedpo_{split}": {
            "file_name": f"{split}.parquet",
            "formatting": "sharegpt",
            "ranking": True,
            "columns": columns,
        }
        for split in splits
    }


def axolotl_config(splits: Iterable[str]) -> str:
    """Return the part of an axolotl config that reads the pairs; paths are relative to the export folder."""
    keys = {"train": "datasets", "validation": "test_datasets"}
    config: dict[str, Any] = {"rl": "dpo"}
    for split in splits:
        config[keys[split]] = [
            {
                "path": f"preferences/{split}.parquet",
                "ds_type": "parquet",
                "split": "train",  # the one split of a file, whatever it holds
                "type": "chat_template.default",
                "field_messages": "prompt",
                "field_chosen": "chosen",
                "field_rejected": "rejected",
            }
        ]
    return yaml.safe_dump(config, sort_keys=False)
