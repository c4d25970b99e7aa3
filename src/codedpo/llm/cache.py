"""Every reply of a model is kept, so that no sample is ever paid for twice."""

import gzip
import json
import os
import sqlite3
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Generator as ClosableStream
from collections.abc import Iterable, Iterator
from dataclasses import asdict, astuple, replace
from itertools import chain
from pathlib import Path

from codedpo.core.errors import DataError
from codedpo.core.tables import replacing
from codedpo.llm.base import Generator, ReceivesAhead, Reply, Request
from codedpo.llm.recorded import read_recording

_SCHEMA = """
CREATE TABLE IF NOT EXISTS requests (key TEXT PRIMARY KEY, request TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS replies (
    model TEXT, key TEXT, position INTEGER, text TEXT, finish_reason TEXT, prompt_tokens INTEGER,
    completion_tokens INTEGER, PRIMARY KEY (model, key, position)) WITHOUT ROWID;
"""
_COLUMNS = "position, text, finish_reason, prompt_tokens, completion_tokens"
_INSERT = """
INSERT INTO replies VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    text = excluded.text, finish_reason = excluded.finish_reason, prompt_tokens = excluded.prompt_tokens,
    completion_tokens = excluded.completion_tokens WHERE replies.finish_reason = 'refused'
"""
_SECONDS_TO_OPEN = 5.0


def _connect(path: Path) -> sqlite3.Connection:
    """Open or create a cache; several processes may hold it open.

    Raises:
        DataError: the file is not such a cache.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        connection = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA synchronous=NORMAL")
        # Creating the file is not covered by SQLite's own waiting: two processes may do it at once.
        deadline = time.monotonic() + _SECONDS_TO_OPEN
        while True:
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.executescript(_SCHEMA)
                break
            except sqlite3.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
    except sqlite3.Error as error:
        raise _unusable(path, error) from error
    return connection


def _connect_to_read(path: Path) -> sqlite3.Connection:
    """Open the cache of another run, which may lie where this one must not write.

    Raises:
        DataError: the file is not such a cache.
    """
    if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
        return _connect(path)
    # SQLite reads through files beside it, which are there while somebody writes, and which it cannot make here.
    mode = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "mode=ro&immutable=1"
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True, check_same_thread=False)
        connection.execute("SELECT 1 FROM replies LIMIT 1")
    except sqlite3.Error as error:
        raise _unusable(path, error) from error
    return connection


def _unusable(path: Path, error: sqlite3.Error) -> DataError:
    return DataError(f"the request cache {path} cannot be opened ({error}); mend or remove the file.")


def _positions(request: Request) -> range:
    return range(request.first, request.first + request.count)


def _runs(positions: Iterable[int]) -> list[tuple[int, int]]:
    """Join positions into (first, count) runs: 2, 3, 7 -> (2, 2), (7, 1)."""
    runs: list[tuple[int, int]] = []
    for position in sorted(positions):
        if runs and sum(runs[-1]) == position:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((position, 1))
    return runs


class CachedGenerator:
    """Answers from a SQLite file what it holds, asks ``inner`` for the missing samples only, and keeps those.

    A sample is found by the identity of the model, the request's key and the sample's number. Refused replies
    are kept for the record, and asked again when they are wanted again. Equal requests in one call are asked
    once. A reply is in the file before it is yielded, and that of a generator that ``ReceivesAhead`` the moment it
    arrives, so that a kill loses none.
    """

    def __init__(
        self, inner: Generator, path: Path, bases: Iterable[Path] = (), recording: Path | None = None
    ) -> None:
        """Open or create the cache.

        Args:
            inner: The model.
            path: The file.
            bases: Caches of other runs, as far as there are any: looked into, never written.
            recording: Replies of an earlier run, as ``export_recording`` writes them.

        Raises:
            DataError: a file is not such a cache, or no recording.
        """
        self.inner = inner
        self.path = Path(path)
        self._recorded: defaultdict[str, dict[int, Reply]] = defaultdict(dict)
        for row in read_recording(recording) if recording else ():
            if row["model"] == inner.identity and row["finish_reason"] != "refused":
                tokens = row.get("prompt_tokens", 0), row.get("completion_tokens", 0)
                reply = Reply("", row["position"], row["text"], row["finish_reason"], *tokens)
                self._recorded[row["key"]][reply.position] = reply
        self._bases = [_connect_to_read(base) for base in bases if base.exists()]
        self._counters: Counter[str] = Counter()
        self._connection = _connect(self.path)
        self._lock = threading.Lock()

    @property
    def counters(self) -> dict[str, float]:
        """Replies and tokens, cached, recorded and new, of this object, and what ``inner`` counts itself."""
        return {**getattr(self.inner, "counters", {}), **self._counters}

    @property
    def identity(self) -> str:
        """The identity of the inner generator."""
        return self.inner.identity

    def generate(self, requests: Iterable[Request]) -> Iterator[Reply]:
        """Yield the cached samples first, then the new ones as they come."""
        by_key: dict[str, list[Request]] = {}
        for request in requests:
            by_key.setdefault(request.key, []).append(request)
        missing: list[Request] = []
        key_of: dict[str, str] = {}
        for key, group in by_key.items():
            cached = self._lookup(key, group[0])
            for request in group:
                for position in sorted(cached.keys() & _positions(request)):
                    origin = "recorded" if cached[position] == self._recorded[key].get(position) else "cached"
                    yield self._counted(replace(cached[position], request_id=request.request_id), origin)
            inner_id = f"{group[0].request_id} (request {key})"
            key_of[inner_id] = key
            for first, count in _runs({*chain.from_iterable(map(_positions, group))} - cached.keys()):
                missing.append(replace(group[0], request_id=inner_id, first=first, count=count))
        if missing:
            yield from self._ask(missing, key_of, by_key)

    def _ask(
        self, missing: list[Request], key_of: dict[str, str], by_key: dict[str, list[Request]]
    ) -> Iterator[Reply]:
        self._describe(missing)

        def keep(replies: Iterable[Reply]) -> None:
            self._keep((key_of[reply.request_id], reply) for reply in replies)

        receive = self.inner.receive if isinstance(self.inner, ReceivesAhead) else None
        stream = receive(missing, keep) if receive else self.inner.generate(missing)
        try:
            for reply in stream:
                if not receive:
                    keep([reply])
                for request in by_key[key_of[reply.request_id]]:
                    if reply.position in _positions(request):
                        yield self._counted(replace(reply, request_id=request.request_id), "new")
        finally:
            if isinstance(stream, ClosableStream):
                stream.close()

    def _lookup(self, key: str, request: Request) -> dict[int, Reply]:
        """Return what is known by position; replies of the recording enter the cache, so that its export has them."""
        query = f"SELECT {_COLUMNS} FROM replies WHERE model = ? AND key = ? AND finish_reason != 'refused'"
        known = {
            row[0]: Reply("", *row)
            for connection in (*self._bases, self._connection)
            for row in connection.execute(query, (self.identity, key))
        }
        recorded = {
            position: reply for position, reply in self._recorded[key].items() if position not in known
        }
        if recorded:
            self._describe([request])
            self._keep((key, reply) for reply in recorded.values())
        return known | recorded

    def _describe(self, requests: Iterable[Request]) -> None:
        rows = ((request.key, json.dumps(_described(request), ensure_ascii=False)) for request in requests)
        self._write("INSERT OR IGNORE INTO requests VALUES (?, ?)", rows)

    def _keep(self, replies: Iterable[tuple[str, Reply]]) -> None:
        """Write replies with their keys."""
        self._write(_INSERT, ((self.identity, key, *astuple(reply)[1:]) for key, reply in replies))

    def _write(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        """Write rows in one transaction, from whatever thread."""
        try:
            with self._lock, self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.executemany(statement, rows)
        except sqlite3.Error as error:
            raise DataError(
                f"the request cache {self.path} cannot be written ({error}); free its disk."
            ) from error

    def _counted(self, reply: Reply, origin: str) -> Reply:
        self._counters[f"{origin}_replies"] += 1
        self._counters[f"{origin}_prompt_tokens"] += reply.prompt_tokens
        self._counters[f"{origin}_completion_tokens"] += reply.completion_tokens
        if reply.finish_reason == "refused":
            self._counters["refused_replies"] += 1
        return reply

    def export(self, target: Path) -> int:
        """Write the replies of this model as a recording; see ``export_recording``."""
        return export_recording(self.path, target, self.identity)

    def close(self) -> None:
        """Close the inner generator and the file."""
        self.inner.close()
        with self._lock:
            self._connection.close()
        for base in self._bases:
            base.close()


def _described(request: Request) -> dict[str, object]:
    return {
        "messages": [asdict(message) for message in request.messages],
        "sampling": asdict(request.sampling),
        "seed": request.seed,
    }


def export_recording(cache: Path, target: Path, model: str = "") -> int:
    """Write a cache as a recording for ``RecordedGenerator``: gzipped JSON lines, one a reply.

    Each line holds ``model``, ``key``, ``position``, ``text``, ``finish_reason``, ``prompt_tokens``,
    ``completion_tokens``, and, at position 0 or where a key first appears, ``messages``, ``sampling`` and
    ``seed``, so that a person can read it. Equal caches give equal bytes.

    Args:
        cache: The SQLite file of a ``CachedGenerator``.
        target: Where to write, ``*.jsonl.gz``.
        model: Only the replies of the model with this identity; empty: of all.

    Returns:
        The number of replies.

    Raises:
        DataError: the cache is missing or not one.
    """
    if not cache.exists():
        raise DataError(f"there is no request cache {cache}; name the requests.sqlite of a run.")
    connection = _connect(cache)
    count, described = 0, ""
    query = f"SELECT model, key, {_COLUMNS} FROM replies WHERE ? IN ('', model) ORDER BY key, model, position"
    names = ("model", "key", *_COLUMNS.split(", "))
    with replacing(target) as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as lines:
        for row in connection.execute(query, (model,)):
            line = dict(zip(names, row, strict=True))
            if line["key"] != described:
                described = line["key"]
                ((request,),) = connection.execute("SELECT request FROM requests WHERE key = ?", (described,))
                line |= json.loads(request)
            lines.write((json.dumps(line, ensure_ascii=False) + "\n").encode())
            count += 1
    connection.close()
    return count
