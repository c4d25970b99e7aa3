import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from codedpo.core.errors import DataError
from codedpo.llm.base import Message, Reply, Request, Sampling
from codedpo.llm.cache import CachedGenerator, export_recording
from codedpo.llm.recorded import RecordedGenerator


class Numbers:
    """A generator whose every sample is new: it counts what it gave."""

    identity = "numbers"

    def __init__(self, *, refuse: bool = False) -> None:
        self.asked: list[tuple[int, int]] = []
        self.given = 0
        self.refuse = refuse

    def generate(self, requests: Iterable[Request]) -> Iterator[Reply]:
        for request in requests:
            self.asked.append((request.first, request.count))
            for position in range(request.first, request.first + request.count):
                self.given += 1
                reason = "refused" if self.refuse else "stop"
                yield Reply(request.request_id, position, f"{position}:{self.given}", reason, 3, 5)

    def close(self) -> None:
        pass


def ask(count: int, text: str = "hello", name: str = "a", first: int = 0) -> Request:
    return Request(name, (Message("user", text),), Sampling(1.0), count, first=first)


def texts(replies: Iterable[Reply]) -> dict[tuple[str, int], str]:
    return {(reply.request_id, reply.position): reply.text for reply in replies}


def test_only_missing_samples_are_asked_for(tmp_path: Path) -> None:
    inner = Numbers()
    generator = CachedGenerator(inner, tmp_path / "cache.sqlite")
    before = texts(generator.generate([ask(2)]))
    after = texts(generator.generate([ask(5)]))
    assert inner.asked == [(0, 2), (2, 3)]
    assert {key: after[key] for key in before} == before
    assert sorted(position for _, position in after) == [0, 1, 2, 3, 4]
    assert generator.counters["cached_replies"] == 2
    assert generator.counters["new_completion_tokens"] == 25


class Interrupted(Numbers):
    """Is interrupted while it waits for calls that are under way, one of which has been answered."""

    def receive(
        self, requests: Iterable[Request], keep: Callable[[Sequence[Reply]], None]
    ) -> Iterator[Reply]:
        for request in requests:
            replies = [
                Reply(request.request_id, number, f"reply {number}", "stop", 3, 5) for number in (0, 1)
            ]
            keep(replies[:1])
            try:
                yield replies[0]
            finally:
                keep(replies[1:])
                raise KeyboardInterrupt


def test_a_second_interrupt_while_calls_are_awaited_loses_no_reply(tmp_path: Path) -> None:
    stream = CachedGenerator(Interrupted(), tmp_path / "cache.sqlite").generate([ask(3)])
    next(stream)
    with pytest.raises(KeyboardInterrupt):
        stream.close()
    inner = Numbers()
    replies = texts(CachedGenerator(inner, tmp_path / "cache.sqlite").generate([ask(3)]))
    assert (replies["a", 0], replies["a", 1], inner.asked) == ("reply 0", "reply 1", [(2, 1)])


def test_a_reply_is_in_the_file_when_it_is_handed_out(tmp_path: Path) -> None:
    stream = CachedGenerator(Numbers(), tmp_path / "cache.sqlite").generate([ask(3)])
    for number in range(3):
        next(stream)
        assert export_recording(tmp_path / "cache.sqlite", tmp_path / "recording.jsonl.gz") == number + 1


READ_ONLY = """
import os, sys
from pathlib import Path
from codedpo.llm.base import Message, Request, Sampling
from codedpo.llm.cache import CachedGenerator

class Silent:
    identity = "numbers"
    def generate(self, requests):
        return iter(())

if os.getuid() == 0:
    os.setuid(65534)  # Root may write everywhere.
base, own = map(Path, sys.argv[1:])
request = Request("a", (Message("user", "hello"),), Sampling(1.0), 3)
print(len([*CachedGenerator(Silent(), own, [base]).generate([request])]))
"""


@pytest.mark.parametrize("is_left_open", [False, True])
def test_a_base_run_may_lie_where_one_must_not_write(is_left_open: bool) -> None:
    with tempfile.TemporaryDirectory() as name:  # Others may not look into pytest's folder.
        base, own = Path(name, "base", "requests.sqlite"), Path(name, "own", "requests.sqlite")
        cache = CachedGenerator(Numbers(), base)
        texts(cache.generate([ask(3)]))
        if not is_left_open:
            cache.close()
        own.parent.mkdir()
        for folder, mode in ((own.parent.parent, 0o755), (own.parent, 0o777), (base.parent, 0o555)):
            folder.chmod(mode)
        try:
            done = subprocess.run(
                [sys.executable, "-c", READ_ONLY, str(base), str(own)],
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            base.parent.chmod(0o755)
        assert (done.stdout, done.stderr) == ("3\n", "")
        cache.close()


def test_a_stream_that_was_left_early_loses_nothing(tmp_path: Path) -> None:
    inner = Numbers()
    generator = CachedGenerator(inner, tmp_path / "cache.sqlite")
    stream = generator.generate([ask(5)])
    first = next(stream)
    stream.close()
    assert texts(generator.generate([ask(5)]))["a", 0] == first.text
    assert inner.asked == [(0, 5), (1, 4)]


def test_equal_requests_share_their_samples(tmp_path: Path) -> None:
    inner = Numbers()
    generator = CachedGenerator(inner, tmp_path / "cache.sqlite")
    replies = texts(generator.generate([ask(2, name="a"), ask(3, name="b"), ask(1, "other", name="c")]))
    assert inner.given == 4
    assert replies["a", 1] == replies["b", 1]
    assert set(replies) == {("a", 0), ("a", 1), ("b", 0), ("b", 1), ("b", 2), ("c", 0)}


def test_refused_samples_are_asked_for_again(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    refusing = CachedGenerator(Numbers(refuse=True), path)
    assert next(refusing.generate([ask(1)])).finish_reason == "refused"
    assert refusing.counters["refused_replies"] == 1
    generator = CachedGenerator(Numbers(), path)
    assert next(generator.generate([ask(1)])).finish_reason == "stop"
    assert next(CachedGenerator(Numbers(refuse=True), path).generate([ask(1)])).finish_reason == "stop"


def test_other_models_do_not_share_replies(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    list(CachedGenerator(Numbers(), path).generate([ask(1)]))
    other = Numbers()
    other.identity = "other"
    list(CachedGenerator(other, path).generate([ask(1)]))
    assert other.given == 1


def test_replies_of_a_base_run_are_used_and_its_cache_stays_as_it_was(tmp_path: Path) -> None:
    first = CachedGenerator(Numbers(), tmp_path / "base.sqlite")
    replies = texts(first.generate([ask(2)]))
    first.close()
    content = (tmp_path / "base.sqlite").read_bytes()
    model = Numbers()
    cache = CachedGenerator(model, tmp_path / "own.sqlite", [tmp_path / "base.sqlite"])
    assert replies.items() <= texts(cache.generate([ask(3)])).items()
    assert cache.counters["cached_replies"] == 2
    assert cache.counters["new_replies"] == 1
    cache.close()
    assert (tmp_path / "base.sqlite").read_bytes() == content


def test_a_recording_answers_first_and_the_model_gives_the_rest(tmp_path: Path) -> None:
    first = CachedGenerator(Numbers(), tmp_path / "first.sqlite")
    replies = texts(first.generate([ask(2)]))
    first.export(tmp_path / "recording.jsonl.gz")
    model = Numbers()
    cache = CachedGenerator(model, tmp_path / "own.sqlite", recording=tmp_path / "recording.jsonl.gz")
    assert replies.items() <= texts(cache.generate([ask(3)])).items()
    assert model.given == 1
    list(cache.generate([ask(3)]))
    counters = {name: count for name, count in cache.counters.items() if name.endswith("_replies")}
    assert counters == {"recorded_replies": 4, "cached_replies": 1, "new_replies": 1}
    assert cache.export(tmp_path / "both.jsonl.gz") == 3
    other = Numbers()
    other.identity = "other"
    cache = CachedGenerator(other, tmp_path / "other.sqlite", recording=tmp_path / "recording.jsonl.gz")
    list(cache.generate([ask(2)]))
    assert other.given == 2


FILL = """
import sys, time
from codedpo.llm.base import Message, Reply, Request, Sampling
from codedpo.llm.cache import CachedGenerator

class Slow:
    identity = "numbers"
    def generate(self, requests):
        for request in requests:
            for position in range(request.first, request.first + request.count):
                time.sleep(0.002)
                yield Reply(request.request_id, position, "text", "stop", 3, 5)

request = Request("a", (Message("user", "hello"),), Sampling(1.0), 400)
for reply in CachedGenerator(Slow(), sys.argv[1]).generate([request]):
    print(reply.position, flush=True)
"""


def fill(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", FILL, str(path)], stdout=subprocess.PIPE, text=True)


def test_a_kill_leaves_a_cache_that_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    with fill(path) as process:
        assert process.stdout is not None
        for _ in range(100):
            process.stdout.readline()
        process.kill()
    inner = Numbers()
    generator = CachedGenerator(inner, path)
    assert len(texts(generator.generate([ask(400)]))) == 400
    assert 100 <= generator.counters["cached_replies"] == 400 - inner.given


def test_several_processes_write_one_cache(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    processes = [fill(path) for _ in range(3)]
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0, 0, 0]
    inner = Numbers()
    list(CachedGenerator(inner, path).generate([ask(400)]))
    assert inner.given == 0


def test_what_is_no_cache_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    path.write_text("no database " * 100)
    with pytest.raises(DataError, match="cannot be opened"):
        CachedGenerator(Numbers(), path)
    with pytest.raises(DataError, match="no request cache"):
        export_recording(tmp_path / "absent", tmp_path / "recording.jsonl.gz")


FULL = """
import resource, sys
from pathlib import Path
from codedpo.core.errors import DataError
from codedpo.llm.base import Message, Request, Sampling
from codedpo.llm.cache import CachedGenerator

class Silent:
    identity = "silent"
    def generate(self, requests):
        return iter(())

cache = CachedGenerator(Silent(), Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))  # a disk that is full after so many bytes
try:
    list(cache.generate([Request("a", (Message("user", "hello" * 2**20),), Sampling(1.0))]))
except DataError as error:
    print(error)
"""


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL, str(tmp_path / "cache.sqlite")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "cache.sqlite cannot be written" in done.stdout, done.stderr


def test_a_recording_answers_as_the_cache_did(tmp_path: Path) -> None:
    generator = CachedGenerator(Numbers(), tmp_path / "cache.sqlite")
    requests = [ask(3), ask(2, "dépenses \x00 ✓", name="b")]
    live = texts(generator.generate(requests))
    recording = tmp_path / "recording.jsonl.gz"
    assert generator.export(recording) == 5
    assert texts(RecordedGenerator(recording).generate(requests)) == live
    first = recording.read_bytes()
    generator.export(recording)
    assert recording.read_bytes() == first
