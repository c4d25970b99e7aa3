import json
import time
from email.utils import formatdate

import pytest

from codedpo.llm.base import Message, Request, Sampling
from codedpo.llm.chat import UnusableAnswerError, body_of, choices_of, refused_parameter, retry_after

REQUEST = Request(
    "a", (Message("system", "be brief"), Message("user", "hello")), Sampling(0.7, 0.9, 64, ("END",))
)


def test_the_body_holds_the_whole_sampling() -> None:
    body = body_of(REQUEST, 0, 4, "m", "chat", frozenset())
    seed = body.pop("seed")
    assert 0 <= seed < 2**31
    assert body == {
        "model": "m",
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}],
        "temperature": 0.7,
        "top_p": 0.9,
        "max_tokens": 64,
        "stop": ["END"],
        "n": 4,
    }
    assert body_of(REQUEST, 1, 1, "m", "chat", frozenset())["seed"] != seed


def test_tokens_are_shared_out_and_add_up() -> None:
    choice = {"message": {"content": "x"}, "finish_reason": "length"}
    answer = {"choices": [choice] * 3, "usage": {"prompt_tokens": 5, "completion_tokens": 10}}
    choices = choices_of(json.dumps(answer).encode(), "chat")
    assert [item.completion_tokens for item in choices] == [4, 3, 3]
    assert {item.finish_reason for item in choices} == {"length"}


@pytest.mark.parametrize(
    ("choice", "text", "reason"),
    [
        ({"message": {"content": "x"}}, "x", "stop"),
        ({"message": {"content": "lone \ud83d"}}, "lone ?", "stop"),
        ({"message": {"content": None}, "finish_reason": "length"}, "", "length"),
        ({"message": {"content": "x"}, "finish_reason": "content_filter"}, "the endpoint gave", "refused"),
        ({"message": {}, "finish_reason": "stop"}, "the endpoint gave", "refused"),
    ],
)
def test_what_choices_mean(choice: object, text: str, reason: str) -> None:
    (found,) = choices_of(json.dumps({"choices": [choice]}).encode(), "chat")
    assert found.text.startswith(text)
    assert found.finish_reason == reason


@pytest.mark.parametrize(
    "content", [b"", b"null", b"{}", b'{"choices": {}}', b'{"choices": [null]}', b"\xff"]
)
def test_garbage_is_named(content: bytes) -> None:
    with pytest.raises(UnusableAnswerError, match="an answer"):
        choices_of(content, "chat")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "9", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": formatdate(time.time() - 60)}, 0.0),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


@pytest.mark.parametrize(
    ("status", "message", "parameter"),
    [
        (400, "Unsupported parameter: 'seed'", "seed"),
        (400, "use 'max_completion_tokens' instead", "max_tokens"),
        (400, "this prompt is not nice", ""),
        (400, "Only one completion choice is allowed", "n"),
        (500, "Only one completion choice is allowed", "n"),
        (500, "KeyError: 'seed'", ""),
    ],
)
def test_only_a_quoted_name_is_a_refused_parameter(status: int, message: str, parameter: str) -> None:
    body = {"n": 2, "seed": 1, "max_tokens": 5}
    assert refused_parameter(status, message, body) == parameter
    if parameter == "n":
        assert refused_parameter(status, message, {"seed": 1}) == ""
