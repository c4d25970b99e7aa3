import itertools
import json
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from tests.serving import serving

from codedpo.core.config import ModelConfig, ResourcesConfig
from codedpo.core.errors import BackendError, ConfigError
from codedpo.llm.base import Message, Reply, Request, Sampling
from codedpo.llm.cache import CachedGenerator
from codedpo.llm.openai import OpenAIGenerator
from codedpo.llm.replay_server import Fault, ReplayServer

SHORT = json.dumps({"choices": [{"message": {"content": "def"}, "finish_reason": "length"}]}).encode()


def request(name: str = "a", count: int = 3, first: int = 0, temperature: float = 1.0) -> Request:
    return Request(
        name, (Message("user", f"write {name}"),), Sampling(temperature), count, seed=1, first=first
    )


def rows(*requests: Request, samples: int = 20) -> list[dict[str, Any]]:
    return [
        {
            "model": "m",
            "key": item.key,
            "position": position,
            "text": f"{item.messages[0].content} {position}",
            "finish_reason": "stop",
            "prompt_tokens": 7,
            "completion_tokens": position,
        }
        for item in requests
        for position in range(samples)
    ]


def first_calls(count: int, status: int, content: bytes, headers: dict[str, str] | None = None) -> Fault:
    """Answer the first so many calls with a fault."""
    left = [count]

    def fault(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes] | None:
        left[0] -= 1
        return (status, headers or {}, content) if left[0] >= 0 else None

    return fault


def texts(replies: list[Reply]) -> list[tuple[str, int, str]]:
    return sorted((reply.request_id, reply.position, reply.text) for reply in replies)


def expected(*requests: Request) -> list[tuple[str, int, str]]:
    return sorted(
        (item.request_id, position, f"{item.messages[0].content} {position}")
        for item in requests
        for position in range(item.first, item.first + item.count)
    )


def test_every_sample_arrives_with_its_tokens() -> None:
    wanted = [request(str(number)) for number in range(10)]
    with ReplayServer(rows(*wanted)) as server:
        generator = OpenAIGenerator(server.url)
        replies = list(generator.generate(wanted))
    assert texts(replies) == expected(*wanted)
    assert sum(reply.completion_tokens for reply in replies) == 10 * (0 + 1 + 2)
    assert {reply.prompt_tokens for reply in replies} == {7}
    assert generator.identity == "openai/recorded/chat"
    assert generator.counters["calls"] == 10
    assert server.calls[0]["n"] == 3


def test_one_sample_a_call_and_later_samples() -> None:
    wanted = request(count=4, first=5)
    with ReplayServer(rows(wanted)) as server:
        replies = list(OpenAIGenerator(server.url, samples_per_call=1).generate([wanted]))
    assert texts(replies) == expected(wanted)
    assert sorted(reply.completion_tokens for reply in replies) == [5, 6, 7, 8]
    assert len({call["seed"] for call in server.calls}) == 4, "equal seeds would give equal samples"


def test_a_server_that_ignores_n_is_asked_one_by_one() -> None:
    wanted = request(count=6)
    with ReplayServer(rows(wanted), most_choices=1) as server:
        generator = OpenAIGenerator(server.url)
        assert texts(list(generator.generate([wanted]))) == expected(wanted)
    assert generator.counters["single_sample_fallbacks"] == 1


@pytest.mark.parametrize("parameter", ["n", "seed", "top_p", "max_tokens"])
def test_a_parameter_that_the_server_refuses_is_left_out(parameter: str) -> None:
    def fault(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes] | None:
        if parameter not in body:
            return None
        remedy = "use 'max_completion_tokens'" if parameter == "max_tokens" else ""
        return 400, {}, json.dumps({"error": {"message": f"unsupported '{parameter}' {remedy}"}}).encode()

    wanted = request()
    with ReplayServer(rows(wanted), fault=fault) as server:
        assert texts(list(OpenAIGenerator(server.url).generate([wanted]))) == expected(wanted)
        if parameter == "max_tokens":
            assert server.calls[-1]["max_completion_tokens"] == 512


@pytest.mark.parametrize("parameter", ["n", "seed", "max_tokens"])
def test_a_refused_parameter_costs_no_call_under_way(parameter: str) -> None:
    """All calls carry the parameter before the first refusal arrives."""
    wanted = [request(str(number), count=2) for number in range(16)]
    all_are_there = threading.Barrier(16)

    def fault(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes] | None:
        if parameter not in body:
            return None
        with suppress(threading.BrokenBarrierError):  # a slow machine brings some of them later
            all_are_there.wait(timeout=20)
        remedy = "use 'max_completion_tokens'" if parameter == "max_tokens" else ""
        return 400, {}, json.dumps({"error": {"message": f"unsupported '{parameter}' {remedy}"}}).encode()

    with ReplayServer(rows(*wanted), fault=fault) as server:
        generator = OpenAIGenerator(server.url, concurrency=128)
        assert texts(list(generator.generate(wanted))) == expected(*wanted)
    name = "single_sample_fallbacks" if parameter == "n" else f"parameter_{parameter}_refused"
    assert generator.counters[name] == 1


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (500, b"{}"),
        (200, b"<html>busy</html>"),
        (200, b'{"choices": []}'),
        (200, b'{"choices": [{"message": {"content": 7}}]}'),
        (200, b"[1]"),
        (200, SHORT[:-1] + b', "usage": {"prompt_tokens": 1e999}}'),
        (200, SHORT[:-1] + b', "usage": {"prompt_tokens": 9223372036854775808}}'),
        pytest.param(200, b'{"choices": ' + b"[" * 100_000, id="deep"),
    ],
)
def test_a_passing_failure_is_tried_again(status: int, content: bytes) -> None:
    wanted = request()
    with ReplayServer(rows(wanted), fault=first_calls(1, status, content)) as server:
        generator = OpenAIGenerator(server.url)
        assert texts(list(generator.generate([wanted]))) == expected(wanted)
    assert generator.counters["retries"] == 1


def test_a_connection_that_the_server_drops_is_made_again() -> None:
    wanted = [request(str(number), count=1) for number in range(4)]
    number = itertools.count()

    def fault(body: dict[str, Any]) -> None:
        if next(number) == 0:
            raise ConnectionAbortedError("closed without an answer, as a server does that has too many")

    with ReplayServer(rows(*wanted), fault=fault) as server:
        generator = OpenAIGenerator(server.url)
        assert texts(list(generator.generate(wanted))) == expected(*wanted)
    assert generator.counters["retries"] == 1


def test_overload_waits_as_long_as_it_is_told_and_costs_no_attempt() -> None:
    wanted = [request(str(number), count=1) for number in range(12)]
    fault = first_calls(5, 429, b"{}", {"retry-after-ms": "300"})
    with ReplayServer(rows(*wanted), fault=fault) as server:
        generator = OpenAIGenerator(server.url, attempts=1, concurrency=8)
        started = time.monotonic()
        assert texts(list(generator.generate(wanted))) == expected(*wanted)
    assert time.monotonic() - started >= 0.3
    assert generator.counters["overloads"] == 5
    assert "retries" not in generator.counters


def test_a_sample_that_fails_for_good_is_refused_and_the_others_stay() -> None:
    wanted = [request(str(number), count=1) for number in range(4)]

    def fault(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes] | None:
        content = body["messages"][0]["content"]
        if content == "write 1":
            message = "This model's maximum context length is 32 tokens"
            return 400, {}, json.dumps({"error": {"message": message}}).encode()
        return (200, {}, b'{"choices": [{"message": {"content": null}}]}') if content == "write 2" else None

    with ReplayServer(rows(*wanted), fault=fault) as server:
        replies = {reply.request_id: reply for reply in OpenAIGenerator(server.url).generate(wanted)}
    assert replies["0"].finish_reason == replies["3"].finish_reason == "stop"
    assert replies["1"].finish_reason == "refused"
    assert "maximum context" in replies["1"].text
    assert replies["2"].finish_reason == "refused"


@pytest.mark.parametrize(
    ("status", "error", "sentence"),
    [
        (402, {"message": "Insufficient Balance"}, r"answers 402 \(Insufficient Balance\); add credit"),
        (
            429,
            {"message": "You exceeded your current quota", "code": "insufficient_quota"},
            r"answers 429 \(You exceeded your current quota\); add credit",
        ),
        (
            400,
            {"message": "Unsupported value: 'temperature' does not support 1.0"},
            r"does not take the temperature 1.0 \(Unsupported value: 'temperature' .*\); set one that it takes",
        ),
        (
            413,
            {"message": "the model is not licensed for you"},
            "refuses every prompt so far, the last one with status 413: the model is not licensed for you; mend",
        ),
    ],
)
def test_what_concerns_all_prompts_stops_the_run_in_the_words_of_the_server(
    status: int, error: dict[str, str], sentence: str
) -> None:
    wanted = [request(str(number), count=1) for number in range(40)]
    content = json.dumps({"error": error}).encode()
    with ReplayServer(rows(*wanted), fault=lambda body: (status, {}, content)) as server:
        with pytest.raises(BackendError, match=sentence):
            list(OpenAIGenerator(server.url, concurrency=8).generate(wanted))
        assert len(server.calls) <= 8 + 3  # Those under way, the refused ones that told, a short prompt.


def test_a_setting_that_is_refused_with_every_prompt_stops_the_run() -> None:
    wanted = [
        replace(request(str(number), count=1), sampling=Sampling(max_tokens=4096)) for number in range(40)
    ]
    message = "max_tokens is too large: 4096. This model supports at most 1024 completion tokens"
    content = json.dumps({"error": {"message": message}}).encode()

    def fault(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes] | None:
        return (400, {}, content) if body["max_tokens"] > 1024 else (200, {}, SHORT)

    with ReplayServer(rows(*wanted), fault=fault) as server:
        with pytest.raises(
            BackendError, match="refuses every prompt so far, .* max_tokens is too large: 4096"
        ):
            list(OpenAIGenerator(server.url, concurrency=8).generate(wanted))
        assert len(server.calls) <= 8 + 3


def test_prompts_that_are_refused_before_the_first_answer_comes_are_refused_alone() -> None:
    """Refusals come at once, the first answer only after every worker has met one."""
    wanted = [request(str(number), count=1) for number in range(12)]
    refused = {f"write {number}" for number in range(1, 9)}
    some_are_refused = threading.Semaphore(0)

    def fault(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes] | None:
        if body["messages"][0]["content"] in refused:
            some_are_refused.release()
            return 400, {}, json.dumps({"error": {"message": "the prompt is too long"}}).encode()
        if body["messages"][0]["content"] == "write 0":
            for _ in range(3):
                some_are_refused.acquire(timeout=20)
            time.sleep(0.3)
        return None

    with ReplayServer(rows(*wanted), fault=fault) as server:
        replies = list(OpenAIGenerator(server.url, concurrency=16).generate(wanted))
    reasons = {reply.request_id: reply.finish_reason for reply in replies}
    assert reasons == {
        item.request_id: "refused" if item.messages[0].content in refused else "stop" for item in wanted
    }


def test_where_only_refused_prompts_are_left_a_short_one_tells_that_others_are_answered(
    tmp_path: Path,
) -> None:
    """As after a resume: what was answered comes from the cache, and all that is asked again is refused again."""
    wanted = [request(str(number), count=1) for number in range(12)]
    asked = {item.messages[0].content for item in wanted}
    refused = {f"write {number}" for number in range(4)}

    def fault(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes] | None:
        if body["messages"][0]["content"] in refused:
            return 400, {}, json.dumps({"error": {"message": "the prompt is too long"}}).encode()
        return (200, {}, SHORT) if body["messages"][0]["content"] not in asked else None

    with ReplayServer(rows(*wanted), fault=fault) as server:
        for _ in range(2):
            generator = CachedGenerator(OpenAIGenerator(server.url, concurrency=2), tmp_path / "cache.sqlite")
            replies = list(generator.generate(wanted))
            assert sorted(reply.finish_reason for reply in replies) == ["refused"] * 4 + ["stop"] * 8
            assert not any(reply.request_id == "probe" for reply in replies)


def test_a_prompt_that_always_fails_is_refused_alone_after_a_resume_too(tmp_path: Path) -> None:
    wanted = [request(str(number), count=1) for number in range(8)]
    asked = {item.messages[0].content for item in wanted}
    crashed = b'{"error": {"message": "tokenizer crashed"}}'

    def fault(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes] | None:
        content = body["messages"][0]["content"]
        if content in {"write 2", "write 3"}:
            return 500, {}, crashed
        return None if content in asked else (200, {}, SHORT)

    with ReplayServer(rows(*wanted), fault=fault) as server:
        for _ in range(2):
            inner = OpenAIGenerator(server.url, concurrency=2, attempts=2)
            generator = CachedGenerator(inner, tmp_path / "cache.sqlite")
            reasons = {reply.request_id: reply.finish_reason for reply in generator.generate(wanted)}
            assert {name for name, reason in reasons.items() if reason == "refused"} == {"2", "3"}
            assert len(reasons) == 8
            generator.close()


def test_a_server_that_fails_every_prompt_but_a_short_one_stops_the_run() -> None:
    wanted = [request(str(number), count=1) for number in range(60)]
    asked = {item.messages[0].content for item in wanted}

    def fault(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        return (504, {}, b"timeout") if body["messages"][0]["content"] in asked else (200, {}, SHORT)

    with ReplayServer(rows(*wanted), fault=fault) as server:
        generator = OpenAIGenerator(server.url, concurrency=4, attempts=1)
        with pytest.raises(BackendError, match="gave only failures"):
            list(generator.generate(wanted))
        assert len(server.calls) < len(wanted)


def test_a_server_that_takes_temperature_or_top_p_is_given_one_of_them() -> None:
    wanted = [replace(request(str(n)), sampling=Sampling(0.7, top_p=0.9)) for n in range(3)]
    message = "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
    content = json.dumps({"error": {"message": message}}).encode()
    with ReplayServer(
        rows(*wanted),
        fault=lambda body: (400, {}, content) if {"temperature", "top_p"} <= body.keys() else None,
    ) as server:
        generator = OpenAIGenerator(server.url)
        assert {reply.finish_reason for reply in generator.generate(wanted)} == {"stop"}
    assert generator.counters["parameter_top_p_refused"] == 1


@pytest.mark.parametrize("status", [400, 500])
def test_a_server_that_allows_one_choice_is_asked_one_by_one(status: int) -> None:
    wanted = [request(str(number)) for number in range(3)]
    content = b'{"error": {"message": "Only one completion choice is allowed"}}'
    with ReplayServer(
        rows(*wanted), fault=lambda body: (status, {}, content) if "n" in body else None
    ) as server:
        generator = OpenAIGenerator(server.url)
        assert texts(list(generator.generate(wanted))) == expected(*wanted)
    assert generator.counters["single_sample_fallbacks"] == 1


def test_an_endpoint_that_only_fails_stops_the_run() -> None:
    wanted = request()
    with ReplayServer(rows(wanted), fault=first_calls(99, 500, b"{}")) as server:
        generator = OpenAIGenerator(server.url, attempts=2)
        with pytest.raises(BackendError, match="gave only failures, the last one status 500"):
            list(generator.generate([wanted]))


def test_overload_without_end_stops_the_run() -> None:
    wanted = request()
    fault = first_calls(99, 429, b"{}", {"retry-after": "0"})
    with ReplayServer(rows(wanted), fault=fault) as server:
        generator = OpenAIGenerator(server.url, patience_seconds=0.2)
        with pytest.raises(BackendError, match="has answered only 429"):
            list(generator.generate([wanted]))


def test_what_arrived_before_an_error_is_yielded() -> None:
    wanted = [request(str(number), count=1) for number in range(5)]

    def fault(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes] | None:
        return (401, {}, b"{}") if body["messages"][0]["content"] == "write 3" else None

    with ReplayServer(rows(*wanted), fault=fault) as server:
        stream = OpenAIGenerator(server.url, concurrency=1, key_variable="CODEDPO_NO_KEY").generate(wanted)
        assert [next(stream).request_id for _ in range(3)] == ["0", "1", "2"]
        with pytest.raises(BackendError, match="401, and CODEDPO_NO_KEY is not set"):
            next(stream)


def test_a_stream_left_early_ends_its_thread() -> None:
    wanted = [request(str(number)) for number in range(50)]
    with ReplayServer(rows(*wanted)) as server:
        stream = OpenAIGenerator(server.url, concurrency=2).generate(wanted)
        next(stream)
        stream.close()
        assert len(server.calls) < 50


def cached_replies(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT COUNT(*) FROM replies").fetchone()[0])


@pytest.mark.parametrize("how", ["left", "interrupted"])
def test_a_stream_left_early_sends_no_call_more_and_keeps_what_it_has_paid_for(
    how: str, tmp_path: Path
) -> None:
    wanted = [request(str(number), count=1) for number in range(40)]
    number, four_wait, may_answer = itertools.count(), threading.Barrier(5), threading.Event()

    def fault(body: dict[str, Any]) -> None:
        if next(number) > 0:
            four_wait.wait(timeout=20)
            may_answer.wait(timeout=20)

    with ReplayServer(rows(*wanted), fault=fault) as server:
        cache = CachedGenerator(OpenAIGenerator(server.url, concurrency=32), tmp_path / "cache.sqlite")
        stream = cache.generate(wanted)
        next(stream)
        four_wait.wait(timeout=20)
        timer = threading.Timer(0.3, may_answer.set)
        timer.start()
        if how == "left":
            stream.close()
        else:
            with pytest.raises(KeyboardInterrupt):
                stream.throw(KeyboardInterrupt)
        timer.join()
        assert len(server.calls) == 5
        assert cached_replies(tmp_path / "cache.sqlite") == 5
        server.fault = None
        assert texts(list(cache.generate(wanted))) == expected(*wanted)
        assert len(server.calls) == 40
        cache.close()


BUSY = """
import sys, time
from pathlib import Path
from codedpo.llm.base import Message, Request, Sampling
from codedpo.llm.cache import CachedGenerator
from codedpo.llm.openai import OpenAIGenerator

wanted = [Request(str(n), (Message("user", f"write {n}"),), Sampling(1.0), 1, seed=1) for n in range(40)]
for reply in CachedGenerator(OpenAIGenerator(sys.argv[1]), Path(sys.argv[2])).generate(wanted):
    time.sleep(60)
"""


def test_a_kill_while_a_reply_is_read_loses_none_that_has_come(tmp_path: Path) -> None:
    wanted = [request(str(number), count=1) for number in range(40)]
    path = tmp_path / "cache.sqlite"
    with ReplayServer(rows(*wanted)) as server:
        with subprocess.Popen([sys.executable, "-c", BUSY, server.url, str(path)]) as process:
            deadline = time.monotonic() + 50
            try:
                while len(server.calls) < 40 or cached_replies(path) < 40:
                    assert time.monotonic() < deadline, "what has come is not kept"
                    assert process.poll() is None
                    time.sleep(0.05)
            finally:
                process.kill()
        cache = CachedGenerator(OpenAIGenerator(server.url), path)
        assert texts(list(cache.generate(wanted))) == expected(*wanted)
        assert len(server.calls) == 40
        cache.close()


FULL = """
import resource, sys
from pathlib import Path
from codedpo.core.errors import DataError
from codedpo.llm.base import Message, Request, Sampling
from codedpo.llm.cache import CachedGenerator
from codedpo.llm.openai import OpenAIGenerator

cache = CachedGenerator(OpenAIGenerator(sys.argv[1]), Path(sys.argv[2]))
resource.setrlimit(resource.RLIMIT_FSIZE, (2**17, 2**17))  # a disk that is full after so many bytes
try:
    list(cache.generate([Request("a", (Message("user", "write a"),), Sampling(1.0), 3, seed=1)]))
except DataError as error:
    print(error)
cache.close()
"""


def test_a_disk_that_is_full_when_a_reply_comes_is_one_sentence(tmp_path: Path) -> None:
    answers = [row | {"text": "x" * 2**20} for row in rows(request(), samples=3)]
    with ReplayServer(answers) as server:
        command = [sys.executable, "-c", FULL, server.url, str(tmp_path / "cache.sqlite")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "cache.sqlite cannot be written" in done.stdout, done.stderr
    assert not done.stderr


def test_a_failure_ends_the_calls_that_wait_for_their_turn() -> None:
    wanted = [request(str(number), count=1) for number in range(40)]
    with ReplayServer(rows(*wanted), fault=lambda body: (404, {}, b"{}")) as server:
        with pytest.raises(BackendError, match="404 for recorded"):
            list(OpenAIGenerator(server.url, concurrency=32).generate(wanted))
        assert len(server.calls) <= 4


def test_a_cool_down_ends_with_the_stream() -> None:
    wanted = [request(str(number), count=1) for number in range(40)]
    number = itertools.count()

    def fault(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes] | None:
        return (429, {"retry-after": "120"}, b"{}") if next(number) > 0 else None

    with ReplayServer(rows(*wanted), fault=fault) as server:
        generator = OpenAIGenerator(server.url, concurrency=8)
        stream = generator.generate(wanted)
        next(stream)
        while not generator.counters["overloads"]:
            time.sleep(0.01)
        started = time.monotonic()
        stream.close()
        assert time.monotonic() - started < 60


def test_so_many_calls_at_once_as_the_config_allows() -> None:
    wanted = [request(str(number), count=1) for number in range(24)]
    peaks = {}
    for most in (2, 128):
        running, peak, lock = [0], [0], threading.Lock()

        def slowly(body: dict[str, Any]) -> None:
            with lock:  # noqa: B023 - called in this iteration only
                running[0] += 1  # noqa: B023
                peak[0] = max(peak[0], running[0])  # noqa: B023
            time.sleep(0.05)
            with lock:  # noqa: B023
                running[0] -= 1  # noqa: B023

        with ReplayServer(rows(*wanted), fault=slowly) as server:
            section = ModelConfig(kind="openai", url=server.url, name="recorded")
            generator = OpenAIGenerator.from_config(section, ResourcesConfig(max_sequences=most))
            assert texts(list(generator.generate(wanted))) == expected(*wanted)
        peaks[most] = peak[0]
    assert peaks[2] <= 2 < peaks[128]


class _Locked(BaseHTTPRequestHandler):
    """Lists a model to whoever has the key."""

    def do_GET(self) -> None:
        allowed = self.headers.get("Authorization") == "Bearer right"
        content = json.dumps({"object": "list", "data": [{"id": "m", "object": "model"}]} if allowed else {})
        self.send_response(200 if allowed else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content.encode())

    def log_request(self, code: object = "-", size: object = "-") -> None:
        pass


def test_the_key_is_taken_from_the_variable_that_the_config_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "wrong")
    monkeypatch.setenv("CODEDPO_OTHER_KEY", "right")
    with serving(_Locked) as server:
        section = ModelConfig(kind="openai", name="m", url=server.address)
        with pytest.raises(BackendError, match="401, and OPENAI_API_KEY holds a key that it refuses"):
            OpenAIGenerator.from_config(section, ResourcesConfig()).check()
        other = section.model_copy(update={"key_variable": "CODEDPO_OTHER_KEY"})
        OpenAIGenerator.from_config(other, ResourcesConfig()).check()


def test_a_key_is_sent_without_the_line_break_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "right\n")
    with serving(_Locked) as server:
        OpenAIGenerator(server.address).check()


@pytest.mark.parametrize("key", ["se\ncret", "secr\u00e9t"])
def test_a_key_that_cannot_be_sent_is_not_shown(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(BackendError) as error:
        OpenAIGenerator("http://localhost:1").check()
    assert str(error.value) == "OPENAI_API_KEY holds characters that no key has; set a valid key."


def test_an_option_that_the_kind_does_not_have_is_named() -> None:
    section = ModelConfig(kind="openai", url="http://localhost:1", options={"batch": 3})
    with pytest.raises(ConfigError, match=r"model\.options is .*'batch'; there are .*samples_per_call"):
        OpenAIGenerator.from_config(section, ResourcesConfig())


def _closed_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_no_server_and_no_such_model_are_one_sentence() -> None:
    url = _closed_port()
    with pytest.raises(BackendError, match=f"{url}/v1 cannot be reached .*; start the server"):
        list(OpenAIGenerator(url, "m").generate([request()]))
    with ReplayServer([]) as server, pytest.raises(BackendError, match="no model gpt-9; .* one of: recorded"):
        OpenAIGenerator(server.url, "gpt-9").check()


def test_a_model_that_is_named_is_known_without_its_server() -> None:
    url = _closed_port()
    with ReplayServer([]) as server:
        named = OpenAIGenerator(server.url, "recorded").identity
        assert OpenAIGenerator(server.url).identity == named
    assert OpenAIGenerator(url, "recorded").identity == named
    with pytest.raises(BackendError, match="cannot be reached .*; start the server .*, give model.name"):
        _ = OpenAIGenerator(url).identity


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://x"])
def test_a_bad_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"model\.url"):
        OpenAIGenerator.from_config(ModelConfig(kind="openai", url=url), ResourcesConfig())


def test_the_config_reaches_the_calls() -> None:
    wanted = request(temperature=0.0, count=2)
    with ReplayServer(rows(wanted)) as server:
        section = ModelConfig(
            kind="openai", url=server.url, name="recorded", options={"prompt_style": "completion"}
        )
        generator = OpenAIGenerator.from_config(section, ResourcesConfig(max_sequences=3))
        assert texts(list(generator.generate([wanted]))) == expected(wanted)
    assert server.calls[0]["prompt"] == "write a"
    assert "seed" not in server.calls[0]
