from pathlib import Path

import pytest

from codedpo.core.errors import ConfigError
from codedpo.core.registry import load

TABLE = {"join": "os.path:join", "ray": "codedpo_missing.ray:Thing"}


def test_kinds_and_plugins_load() -> None:
    import os.path

    assert load(TABLE, "join", what="function") is os.path.join
    assert load(TABLE, "plugin", "os.path:split", what="function") is os.path.split


@pytest.mark.parametrize(
    ("kind", "path", "sentence"),
    [
        ("none", "", "there is no function of kind none; there are join, ray and plugin"),
        ("plugin", "os.path", "not of the form package.module:name"),
        ("plugin", "os.path:nothing", "os.path has no nothing"),
        (
            "plugin",
            "codedpo_missing:x",
            r"cannot be imported \(ModuleNotFoundError: .*name its folder in PYTHONPATH",
        ),
        ("ray", "", r"pip install 'codedpo\[ray\]'"),
    ],
)
def test_what_cannot_be_loaded_is_named(kind: str, path: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load(TABLE, kind, path, what="function")


@pytest.mark.parametrize("text", ["def f(:", "None.x", "raise ValueError('two\\nlines')"])
def test_a_plug_in_that_fails_when_it_is_imported_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    name = f"broken_{abs(hash(text))}"
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=rf"{name}:rank\) cannot be imported \([A-Za-z]*Error: ") as caught:
        load(TABLE, "plugin", f"{name}:rank", what="function")
    assert "\n" not in str(caught.value)
