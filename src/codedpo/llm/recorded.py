"""Answers that a model gave before, replayed: tests, demonstrations and repeated runs without a model."""

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

from codedpo.core.config import ModelConfig, ResourcesConfig
from codedpo.core.errors import ConfigError, DataError
from codedpo.core.fingerprint import file_sha256
from codedpo.core.registry import call
from codedpo.llm.base import Reply, Request


def read_recording(path: Path) -> list[dict[str, Any]]:
    """Read the lines of a recording (``llm.cache.export_recording`` says what they hold).

    Raises:
        DataError: the file is missing, torn, or not a recording.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    rows: list[dict[str, Any]] = []
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                if missing := {"model", "key", "position", "text", "finish_reason"} - row.keys():
                    raise ValueError(f"it lacks {', '.join(sorted(missing))}")
                rows.append(row)
    except (OSError, EOFError, zlib.error, ValueError, AttributeError) as error:
        raise DataError(
            f"{path}, line {len(rows) + 1}, is no readable recording of replies ({error}); export it again."
        ) from error
    return rows


def replies_by_model(path: Path) -> Counter[str]:
    """Count the replies of each model in a recording, by its identity.

    Raises:
        DataError: the file is missing, torn, or not a recording.
    """
    return Counter(row["model"] for row in read_recording(path))


class RecordedGenerator:
    """Answers from a recording by request key and sample number, whatever model wrote it.

    Args:
        path: A recording, ``*.jsonl`` or ``*.jsonl.gz``.
        model: Identity of the model whose replies to take; needed only where the file holds several.

    Raises:
        DataError: the file is not a recording, or holds several models and none of them is named.
    """

    def __init__(self, path: Path | str, *, model: str = "") -> None:
        self.path = Path(path)
        rows = read_recording(self.path)
        models = sorted({row["model"] for row in rows})
        if (len(models) > 1 and not model) or (model and model not in models):
            raise DataError(f"{self.path} holds replies of {', '.join(models)}; name one as the model.")
        self.model = model or "".join(models)
        self._replies = {(row["key"], row["position"]): row for row in rows if row["model"] == self.model}
        self._identity = f"recorded/{file_sha256(self.path)[:16]}/{self.model}"

    @classmethod
    def from_config(cls, section: ModelConfig, resources: ResourcesConfig) -> Self:  # noqa: ARG003
        """Make the generator that a config asks for: ``model.path``, and ``model.options.model``."""
        if not section.path:
            raise ConfigError("a model of kind recorded needs a recording; give model.path.")
        made: Self = call(cls, section.path, options=section.options, place="model.options")
        return made

    @property
    def origin(self) -> str:
        """Whose replies they are."""
        return f"replies of {self.model}"

    @property
    def identity(self) -> str:
        """The digest of the recording, and the model that wrote it."""
        return self._identity

    def generate(self, requests: Iterable[Request]) -> Iterator[Reply]:
        """Yield the recorded samples in the order of the requests.

        Raises:
            DataError: a sample was not recorded.
        """
        for request in requests:
            key = request.key
            for position in range(request.first, request.first + request.count):
                row = self._replies.get((key, position))
                if row is None:
                    raise DataError(
                        f"{self.path} holds no sample {position} for {request.request_id}, which asks "
                        f"{request.messages[-1].content[:60]!r} (key {key}); record it with these prompts."
                    )
                tokens = row.get("prompt_tokens", 0), row.get("completion_tokens", 0)
                yield Reply(request.request_id, position, row["text"], row["finish_reason"], *tokens)

    def close(self) -> None:
        """Nothing to free."""
