"""Log-probabilities under the untrained weights: computed once for a row, whatever training asks for them again."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from codedpo.core.fingerprint import digest_of
from codedpo.core.tables import write_atomically

REFERENCE = "reference.json"
"""Name of the store in the folder of a training."""


class ReferenceStore:
    """What TRL adds to rows before training, by their tokens; outlives a kill and serves the ablations of a run.

    Args:
        path: The file of this training.
        identity: Digest of all but the tokens that values depend on: weights, precision, method, weights of tokens.
        earlier: Files of other trainings; those of another identity are not used.
    """

    def __init__(self, path: Path, identity: str, earlier: Iterable[Path] = ()) -> None:
        self._path = path
        self._identity = identity
        self._values: dict[str, dict[str, Any]] = {}
        for file in (*earlier, path):
            if file.exists():
                stored = json.loads(file.read_text(encoding="utf-8"))
                self._values |= stored["rows"] if stored["identity"] == identity else {}

    def missing(self, rows: Iterable[Mapping[str, Any]]) -> list[int]:
        """Return the places of rows whose values are not known."""
        return [place for place, row in enumerate(rows) if _key(row) not in self._values]

    def values(self, rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
        """Return the values of rows that are all known, column by column."""
        known = [self._values[_key(row)] for row in rows]
        return {column: [values[column] for values in known] for column in known[0]}

    def add(self, rows: Iterable[Mapping[str, Any]], columns: Mapping[str, Sequence[Any]]) -> None:
        """Remember the values of rows."""
        for place, row in enumerate(rows):
            self._values[_key(row)] = {column: values[place] for column, values in columns.items()}

    def write(self) -> None:
        """Store all that is known."""
        content = json.dumps({"identity": self._identity, "rows": self._values})
        write_atomically(self._path, content.encode())


def _key(row: Mapping[str, Any]) -> str:
    return digest_of({name: value for name, value in row.items() if isinstance(value, list)})
