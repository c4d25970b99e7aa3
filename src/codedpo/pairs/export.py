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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from codedpo.core.records import Pair
from codedpo.core.tables import schema_of, write_atomically
from codedpo.core.unpaired import Answer, unpaired

ExportRow = dict[str, Any]
SPLITS = ("train", "validation")
ROWS_AT_ONCE = 1000
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
    return (_answer(answer, label=answer.is_desirable) for answer in unpaired(pairs).answers)


def chosen_only(pairs: Iterable[Pair]) -> Iterator[ExportRow]:
    """Rows for TRL's SFTTrainer with the loss on the completion: every chosen side once."""
    return (_answer(answer) for answer in unpaired(pairs).desirable)


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


def _rows(
    export: Export, pairs: Sequence[Pair], split: str, source_ids: Mapping[str, str]
) -> Iterator[ExportRow]:
    for row in export.rows_of(pair for pair in pairs if pair.split == split):
        yield row | {"source_id": source_ids.get(row["task_id"])}


def write_exports(
    pairs: Sequence[Pair], folder: Path, source_ids: Mapping[str, str] = _NO_SOURCES
) -> dict[str, int]:
    """Write every export under ``folder`` and return the rows of each ``export/split``.

    Args:
        pairs: of all splits.
        folder: is made where it does not exist.
        source_ids: task id -> what ``tasks.file`` calls the task; other tasks have null.

    A split without rows gets no file, since readers cannot tell the columns of an empty JSONL file.
    """
    counts: dict[str, int] = {}
    folder.mkdir(parents=True, exist_ok=True)
    for name, export in EXPORTS.items():
        for split in SPLITS:
            table = _table(_rows(export, pairs, split, source_ids), export.schema)
            if not table.num_rows:
                continue
            stem = folder / name / split
            write_atomically(stem.with_suffix(".parquet"), _parquet(table))
            write_atomically(stem.with_suffix(".jsonl"), _json_lines(_rows(export, pairs, split, source_ids)))
            counts[f"{name}/{split}"] = table.num_rows
    splits = [split for split in SPLITS if f"preferences/{split}" in counts]
    info = json.dumps(llama_factory_info(splits), indent=2) + "\n"
    write_atomically(folder / "llama_factory" / "dataset_info.json", info.encode())
    write_atomically(folder / "axolotl.yaml", axolotl_config(splits).encode())
    return counts


def fingerprint(name: str, pairs: Sequence[Pair], source_ids: Mapping[str, str] = _NO_SOURCES) -> str:
    """Return 16 hex digits that stand for the columns and the rows of an export, the same for equal files."""
    export = EXPORTS[name]
    digest = hashlib.sha256(str(export.schema).encode())
    for split in SPLITS:
        digest.update(f"\n{split}\n".encode())
        for line in _json_lines(_rows(export, pairs, split, source_ids)):
            digest.update(line)
    return digest.hexdigest()[:16]


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


def _table(rows: Iterator[ExportRow], schema: pa.Schema) -> pa.Table:
    """Turn rows into columns some at a time, as Python's objects take several times the memory."""
    tables = [schema.empty_table()]
    while some := list(islice(rows, ROWS_AT_ONCE)):
        tables.append(pa.Table.from_pylist(some, schema=schema))
    return pa.concat_tables(tables)


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _json_lines(rows: Iterable[ExportRow]) -> Iterator[bytes]:
    for row in rows:
        yield (json.dumps(row, ensure_ascii=False) + "\n").encode()
