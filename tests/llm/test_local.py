"""Both local kinds, on a tiny random model: what is asked for is what comes back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.llm.tiny_models import save_tiny

from codedpo.core.config import Config, ModelConfig, ResourcesConfig
from codedpo.core.errors import BackendError, ConfigError
from codedpo.core.progress import Voice
from codedpo.llm.base import Message, Request, Sampling
from codedpo.llm.stopping import before_stop
from codedpo.llm.weights import ResolvedModel, from_folder
from codedpo.services import Services

pytest.importorskip("openvino_genai")
pytest.importorskip("transformers")

from codedpo.llm.local import IN_FLIGHT, OpenVinoGenerator
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


class Watched(OpenVinoGenerator):
    """The engine, with what its own figures say after every step."""

    requests = cache_bytes = 0

    def _step(self) -> None:
        super()._step()
        metrics = self._pipeline.get_metrics()
        self.requests = max(self.requests, metrics.scheduled_requests)
        self.cache_bytes = metrics.cache_size_in_bytes


@pytest.mark.parametrize(("sequences", "gigabytes"), [(2, 1), (8, 2)])
def test_memory_and_sequences_of_the_config_reach_the_engine(
    model: ResolvedModel, monkeypatch: pytest.MonkeyPatch, sequences: int, gigabytes: int
) -> None:
    assert model.folder is not None
    monkeypatch.setenv("CODEDPO_CACHE_DIR", str(model.folder.parent / "cache"))
    section = ModelConfig(kind="local", name=str(model.folder))
    resources = ResourcesConfig(max_sequences=sequences, engine_cache_gb=gigabytes)
    engine = Watched.from_config(section, resources)
    assert isinstance(engine, Watched)
    assert model.digest[:16] in engine.identity
    assert len(list(engine.generate(ask(str(number), max_tokens=8) for number in range(20)))) == 20
    engine.close()
    assert engine.requests == IN_FLIGHT * sequences
    assert engine.cache_bytes / 2**30 == pytest.approx(gigabytes, rel=0.01)


def test_the_device_of_the_config_is_used(model: ResolvedModel) -> None:
    import torch

    section = ModelConfig(kind="transformers", name=str(model.folder))
    devices = {"cpu": "cpu", "auto": "cuda" if torch.cuda.is_available() else "cpu", "cuda": "cuda"}
    for asked, wanted in devices.items():
        generator = TransformersGenerator.from_config(section, ResourcesConfig(device=asked))
        if wanted == "cuda" and not torch.cuda.is_available():
            with pytest.raises(BackendError, match="torch finds no GPU"):
                list(generator.generate([ask("a", max_tokens=2)]))
        else:
            assert len(list(generator.generate([ask("a", max_tokens=2)]))) == 1
            assert generator._network.device.type == wanted


def test_a_precision_that_is_asked_for_is_used_and_named(model: ResolvedModel) -> None:
    section = ModelConfig(kind="transformers", name=str(model.folder), options={"dtype": "float64"})
    generator = TransformersGenerator.from_config(section, ResourcesConfig(device="cpu"))
    assert generator.identity.endswith("/float64")
    assert len(list(generator.generate([ask("a", max_tokens=2)]))) == 1
    assert str(generator._network.dtype) == "torch.float64"


@pytest.mark.parametrize("kind", ["local", "transformers"])
def test_options_of_other_kinds_are_refused(kind: str, tmp_path: Path) -> None:
    config = Config(name="test", model=ModelConfig(kind=kind, options={"batch_size": 3}))
    with pytest.raises(ConfigError, match=rf"model\.options are not for the kind {kind}"):
        _ = Services(config, tmp_path, Voice(quiet=True)).generator


def test_identity_names_weights_and_template(model: ResolvedModel, generator: Any) -> None:
    assert model.digest[:16] in generator.identity


def test_text_is_cut_at_the_first_stop_string() -> None:
    assert before_stop("a;b\nc", ("\n", ";")) == "a"
    assert before_stop("abc", ("x",)) == "abc"
