"""Pairs as files that trainers load as they are.

Each export is a folder with ``train`` and ``validation`` in Parquet and JSONL. ``preferences`` has TRL's
conversational columns ``prompt``, ``chosen``, ``rejected`` (lists of messages), ``unpaired`` has ``prompt``,
``completion``, ``label`` for KTO, ``chosen`` has ``prompt`` and ``completion`` for SFT. Extra columns are flat: nested
optional keys would come back filled with nulls.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codedpo.core.records import Pair
from codedpo.core.tables import write_atomically

ExportRow = dict[str, Any]
_SIDES = ("chosen", "rejected")


def _messages(role: str, content: str) -> list[dict[str, str]]:
    return [{"role": role, "content": content}]


def preferences(pairs: Iterable[Pair]) -> list[ExportRow]:
    """Rows for TRL's DPOTrainer: the chat template is applied by the trainer, never here."""
    rows = []
    for pair in pairs:
        flat = asdict(pair)
        if pair.probability < 0:
            del flat["probability"]
        messages = {
            "prompt": _messages("user", flat.pop("prompt")),
            **{side: _messages("assistant", flat.pop(side)) for side in _SIDES},
        }
        rows.append(messages | flat)
    return rows


def unpaired(pairs: Iterable[Pair]) -> list[ExportRow]:
    """Rows for TRL's KTOTrainer: every side of every pair once, labelled desirable or not."""
    rows: dict[tuple[str, str, bool], ExportRow] = {}
    for pair in pairs:
        for side in _SIDES:
            completion, label = getattr(pair, side), side == "chosen"
            rows.setdefault(
                (pair.prompt, completion, label),
                {
                    "prompt": _messages("user", pair.prompt),
                    "completion": _messages("assistant", completion),
                    "label": label,
                    "kind": pair.kind,
                    "task_id": pair.task_id,
                    "solution_id": getattr(pair, f"{side}_solution_id"),
                },
            )
    return list(rows.values())


def chosen_only(pairs: Iterable[Pair]) -> list[ExportRow]:
    """Rows for TRL's SFTTrainer with the loss on the completion: every chosen side once."""
    return [
        {key: value for key, value in row.items() if key != "label"}
        for row in unpaired(pairs)
        if row["label"]
    ]


EXPORTS: dict[str, Callable[[Iterable[Pair]], list[ExportRow]]] = {
    "preferences": preferences,
    "unpaired": unpaired,
    "chosen": chosen_only,
}
"""Folder name -> the rows it holds."""


def write_exports(pairs: Sequence[Pair], folder: Path) -> dict[str, int]:
    """Write every export under ``folder`` and return the rows of each ``export/split``.

    A split without rows gets no file, since readers cannot tell the columns of an empty JSONL file.
    """
    counts: dict[str, int] = {}
    for name, rows_of in EXPORTS.items():
        for split in ("train", "validation"):
            rows = rows_of(pair for pair in pairs if pair.split == split)
            if not rows:
                continue
            stem = folder / name / split
            write_atomically(stem.with_suffix(".parquet"), _parquet(rows))
            write_atomically(stem.with_suffix(".jsonl"), _json_lines(rows))
            counts[f"{name}/{split}"] = len(rows)
    return counts


def _parquet(rows: Sequence[ExportRow]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(rows)), sink, compression="zstd")
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _json_lines(rows: Sequence[ExportRow]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
