"""The folder of one stage: identity first, parts that survive a kill, completion last.

Stages themselves are functions ``run(context: codedpo.context.StageContext) -> None``; they read tables, cut
their work into parts, and write each part once. What a kill leaves without a marker is done again.

```
5-rankings/identity.json  solution_scores/part-00000.parquet ...  rejects/part-00000.parquet ...
           parts/00000.json  (rows and counters of a finished part)   stage.json (last)
```
"""

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from codedpo.core.errors import DataError, StaleError
from codedpo.core.fingerprint import completed, differing_fields, digest_of
from codedpo.core.records import Reject
from codedpo.core.tables import table_name, write_atomically, write_rows

ADOPTED = "adopted.json"
"""In the place of a stage's own files: where the folder is that this run uses, and whose."""


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); remove its stage folder and run again.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} does not hold an object; remove its stage folder and run again.")
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object as indented JSON, atomically."""
    write_atomically(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


@dataclass(frozen=True, slots=True)
class StageSummary:
    """What a finished stage says of itself."""

    fingerprint: str
    """Digest of the identity and of every row: equal only where the stored result is the same."""
    rows: dict[str, int]
    """Rows of each table."""
    rejects: dict[str, int]
    """Dropped rows by reason."""
    counters: dict[str, float]
    cpu_seconds: float
    wall_seconds: float


@dataclass(frozen=True, slots=True)
class StageFolder:
    """One stage's folder, which may belong to an adopted base run."""

    path: Path

    @classmethod
    def of(cls, path: Path) -> Self:
        """Return the stage of a run at ``path``: its own folder, or the one that it adopted."""
        marker = path / ADOPTED
        return cls((path / _read_json(marker)["path"]).resolve() if marker.exists() else path)

    def lend(self, path: Path, base_run: str) -> None:
        """Have a run use this folder as its stage at ``path``; relative, so that runs can be moved together."""
        place = os.path.relpath(self.path.resolve(), path.resolve())
        write_json(path / ADOPTED, {"path": place, "base_run": base_run})

    def part_path(self, row_type: type, index: int) -> Path:
        """Return the path of one part of a table."""
        return self.path / table_name(row_type) / f"part-{index:05d}.parquet"

    def parts_of(self, row_type: type) -> list[Path]:
        """List the finished parts of a table, in order."""
        return [self.part_path(row_type, index) for index in self.finished_parts()]

    def finished_parts(self) -> list[int]:
        """List the indices of parts whose marker is written."""
        return sorted(int(path.stem) for path in (self.path / "parts").glob("[0-9]*.json"))

    def differences(
        self, identity: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
    ) -> list[str]:
        """Name what an identity has otherwise than the one that the folder was opened with.

        A setting that is newer than the folder counts as having been at its default.

        Args:
            identity: What the stage would be run with now.
            defaults: Default values, section by section, of the config that identities hold.
        """
        stored = self.stored_identity()
        if stored is None:
            return ["identity"]
        old = completed(stored, defaults) if defaults else stored
        return differing_fields(old, dict(json.loads(json.dumps(identity))))

    def open(self, identity: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> Self:
        """Start or resume a stage with this identity; the arguments are those of ``differences``.

        Raises:
            StaleError: the folder holds a result of another identity; the fields that differ are named.
        """
        if self.stored_identity() is None or self._is_empty():
            if self.path.exists():
                shutil.rmtree(self.path)
            write_json(self.path / "identity.json", identity)
        self.check(identity, defaults)
        return self

    def _is_empty(self) -> bool:
        """Whether the stage has written nothing yet: it failed at once, and what it rests on may have been mended."""
        return {path.name for path in self.path.iterdir()} == {"identity.json"}

    def check(self, identity: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> None:
        """Compare the stored identity, and write nothing; the arguments are those of ``differences``.

        Raises:
            StaleError: the folder holds a result of another identity; the fields that differ are named.
        """
        if fields := self.differences(identity, defaults):
            name = self.path.name.partition("-")[2]
            raise StaleError(
                f"{self.path} was made with other settings ({'; '.join(fields)}); "
                f"go back to them, name a new run, or redo it with --redo {name}."
            )

    def stored_identity(self) -> dict[str, Any] | None:
        """Return the identity that the folder was opened with, or None where it was not."""
        path = self.path / "identity.json"
        return _read_json(path) if path.exists() else None

    def write_part(
        self,
        index: int,
        tables: Mapping[type, Iterable[Any]],
        rejects: Iterable[Reject] = (),
        counters: Mapping[str, float] | None = None,
        cpu_seconds: float = 0.0,
        wall_seconds: float = 0.0,
    ) -> None:
        """Write all tables of one part, then its marker; a part without marker does not exist."""
        reject_rows = list(rejects)
        rows = {
            table_name(row_type): write_rows(self.part_path(row_type, index), row_type, items)
            for row_type, items in tables.items()
        }
        write_rows(self.part_path(Reject, index), Reject, reject_rows)
        marker = {
            "rows": rows,
            "rejects": dict(Counter(reject.reason for reject in reject_rows)),
            "counters": dict(counters or {}),
            "cpu_seconds": round(cpu_seconds, 3),
            "wall_seconds": round(wall_seconds, 3),
        }
        write_json(self.path / "parts" / f"{index:05d}.json", marker)

    def part_markers(self) -> list[dict[str, Any]]:
        """Read the markers of all finished parts, in order."""
        return [_read_json(self.path / "parts" / f"{index:05d}.json") for index in self.finished_parts()]

    def finish(self) -> StageSummary:
        """Write ``stage.json``, the sign that the stage is complete."""
        totals: dict[str, Counter[str]] = {"rows": Counter(), "rejects": Counter(), "counters": Counter()}
        seconds = {"cpu_seconds": 0.0, "wall_seconds": 0.0}
        for marker in self.part_markers():
            for key, counter in totals.items():
                counter.update(marker[key])
            for key in seconds:
                seconds[key] += marker[key]
        digest = hashlib.sha256(digest_of(self.stored_identity()).encode())
        for path in sorted(self.path.glob("*/part-*.parquet")):
            digest.update(path.relative_to(self.path).as_posix().encode())
            digest.update(path.read_bytes())
        summary: dict[str, Any] = {"fingerprint": digest.hexdigest()[:16]}
        summary |= {key: dict(sorted(counter.items())) for key, counter in totals.items()}
        summary |= {key: round(value, 3) for key, value in seconds.items()}
        write_json(self.path / "stage.json", summary)
        return StageSummary(**summary)

    def summary(self) -> StageSummary | None:
        """Return the summary of a finished stage, or None where it is not finished."""
        path = self.path / "stage.json"
        return StageSummary(**_read_json(path)) if path.exists() else None

    def remove(self) -> None:
        """Delete the folder; the marker of completion goes first, so that a kill leaves no false one."""
        (self.path / "stage.json").unlink(missing_ok=True)
        (self.path / "identity.json").unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)
