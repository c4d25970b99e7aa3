import gzip
import json
from pathlib import Path

import pytest

from codedpo.core.config import ModelConfig, ResourcesConfig
from codedpo.core.errors import ConfigError, DataError
from codedpo.llm.base import Message, Request, Sampling
from codedpo.llm.recorded import RecordedGenerator

REQUEST = Request("t000001/solution", (Message("user", "write f"),), Sampling(), 2)


def line(model: str = "m", position: int = 0) -> str:
    row = {"model": model, "key": REQUEST.key, "position": position, "text": "x", "finish_reason": "stop"}
    return json.dumps(row) + "\n"


def test_answers_by_key_and_number(tmp_path: Path) -> None:
    path = tmp_path / "recording.jsonl"
    path.write_text(line() + line(position=1))
    section = ModelConfig(kind="recorded", path=str(path))
    generator = RecordedGenerator.from_config(section, ResourcesConfig())
    assert [reply.position for reply in generator.generate([REQUEST])] == [0, 1]
    assert generator.identity.endswith("/m")


def test_a_missing_answer_names_the_request(tmp_path: Path) -> None:
    path = tmp_path / "recording.jsonl"
    path.write_text(line())
    stream = RecordedGenerator(path).generate([REQUEST])
    next(stream)
    with pytest.raises(DataError, match=r"no sample 1 for t000001/solution.*'write f'"):
        next(stream)


@pytest.mark.parametrize(
    "content",
    [b"{", b'{"key": 1}\n', b"[]\n", gzip.compress(b"{}\n" * 99, mtime=0)[:20]],
    ids=["torn", "foreign object", "no object", "torn gzip"],
)
def test_torn_and_foreign_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / ("recording.jsonl.gz" if content[:1] == b"\x1f" else "recording.jsonl")
    path.write_bytes(content)
    with pytest.raises(DataError, match="line 1"):
        RecordedGenerator(path)


def test_several_models_need_a_name(tmp_path: Path) -> None:
    path = tmp_path / "recording.jsonl"
    path.write_text(line("m") + line("n"))
    with pytest.raises(DataError, match="holds replies of m, n"):
        RecordedGenerator(path)
    assert RecordedGenerator(path, model="n").model == "n"
    with pytest.raises(DataError, match="name one"):
        RecordedGenerator(path, model="o")


def test_a_config_without_path_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.path"):
        RecordedGenerator.from_config(ModelConfig(kind="recorded"), ResourcesConfig())
