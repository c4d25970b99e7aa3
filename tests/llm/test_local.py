"""Both local kinds, on a tiny random model: what is asked for is what comes back."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.llm.tiny_models import save_tiny

from codedpo.llm.base import Message, Request, Sampling
from codedpo.llm.stopping import before_stop
from codedpo.llm.weights import ResolvedModel, from_folder

pytest.importorskip("openvino_genai")
pytest.importorskip("transformers")

from codedpo.llm.local import OpenVinoGenerator
from codedpo.llm.transformers import TransformersGenerator


def ask(name: str, *, count: int = 1, first: int = 0, seed: int = 0, **sampling: Any) -> Request:
    return Request(name, (Message("user", "def add(first):"),), Sampling(**sampling), count, seed, first)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ResolvedModel]:
    folder = tmp_path_factory.mktemp("tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CODEDPO_CACHE_DIR", str(folder / "cache"))
        yield from_folder(save_tiny("qwen2", folder / "model"), "tiny", "made by the test")


@pytest.fixture(scope="module", params=["local", "transformers"])
def generator(request: pytest.FixtureRequest, model: ResolvedModel) -> Iterator[Any]:
    made: Any
    if request.param == "local":
        made = OpenVinoGenerator(model, cache_gb=1, max_sequences=8)
    else:
        made = TransformersGenerator(model, batch_size=8, device="cpu", dtype="float32")
    yield made
    made.close()


def test_every_sample_of_mixed_requests_comes_once(generator: Any) -> None:
    requests = [
        ask("greedy", count=2, max_tokens=4),
        ask("drawn", count=3, first=5, temperature=1.0, top_p=0.9, max_tokens=6),
        ask("long", count=12, temperature=1.5, max_tokens=9, seed=3),
    ]
    replies = list(generator.generate(iter(requests)))
    wanted = [(item.request_id, item.first + n) for item in requests for n in range(item.count)]
    assert sorted((reply.request_id, reply.position) for reply in replies) == sorted(wanted)
    limits = {item.request_id: item.sampling.max_tokens for item in requests}
    for reply in replies:
        assert 1 <= reply.completion_tokens <= limits[reply.request_id]
        if reply.finish_reason == "length":
            assert reply.completion_tokens == limits[reply.request_id]
        assert reply.prompt_tokens > 5


def test_greedy_samples_are_equal_and_drawn_ones_are_not(generator: Any) -> None:
    greedy = {reply.text for reply in generator.generate([ask("a", count=3, max_tokens=8)])}
    drawn = {reply.text for reply in generator.generate([ask("b", count=6, temperature=2.0, max_tokens=8)])}
    assert len(greedy) == 1
    assert len(drawn) > 3


def test_equal_seeds_give_equal_texts_and_later_samples_are_new(generator: Any) -> None:
    settings: dict[str, Any] = {"count": 3, "temperature": 1.5, "max_tokens": 8}

    def texts(**other: Any) -> list[str]:
        replies = list(generator.generate([ask("a", **settings, **other)]))
        return [reply.text for reply in sorted(replies, key=lambda reply: reply.position)]

    assert texts(seed=1) == texts(seed=1)
    assert texts(seed=1) != texts(seed=2)
    assert texts(seed=1) != texts(seed=1, first=3)


def test_stop_string_ends_a_reply_and_is_not_in_it(generator: Any) -> None:
    (whole,) = generator.generate([ask("a", max_tokens=12)])
    stop = whole.text[2:4]
    (cut,) = generator.generate([ask("b", max_tokens=12, stop=(stop,))])
    assert cut.finish_reason == "stop"
    assert cut.text == whole.text[: whole.text.index(stop)]


def test_prompt_beyond_the_context_is_refused_with_the_numbers(generator: Any) -> None:
    long = Request("long", (Message("user", "x = 1\n" * 5000),), Sampling(max_tokens=4), 2)
    replies = list(generator.generate([long, ask("short", max_tokens=2)]))
    refused = [reply for reply in replies if reply.finish_reason == "refused"]
    assert [reply.position for reply in refused] == [0, 1]
    assert "context of 256" in refused[0].text
    assert len(replies) == 3


def test_stream_that_is_left_early_leaves_nothing_behind(generator: Any) -> None:
    stream = generator.generate(ask(str(number), max_tokens=4 + number) for number in range(40))
    next(stream)
    stream.close()
    (reply,) = generator.generate([ask("after", max_tokens=4)])
    assert reply.request_id == "after"


def test_identity_names_weights_and_template(model: ResolvedModel, generator: Any) -> None:
    assert model.digest[:16] in generator.identity


def test_text_is_cut_at_the_first_stop_string() -> None:
    assert before_stop("a;b\nc", ("\n", ";")) == "a"
    assert before_stop("abc", ("x",)) == "abc"
