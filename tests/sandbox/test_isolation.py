import sys

import pytest

from codedpo.sandbox import isolation, launchers
from codedpo.sandbox.local import LocalSandbox


@pytest.mark.parametrize("path", isolation.HOST_FILES)
def test_what_must_be_hidden_can_be_read_here(path: str) -> None:
    assert not isolation.files_are_hidden([path])


@pytest.mark.parametrize(
    ("layer", "step", "instead", "found"),
    [
        (
            "landlock",
            '_system_call("landlock_restrict_self", ruleset, 0)',
            "pass",
            "a world-readable file could still be read",
        ),
        (
            "namespaces",
            '_system_call("pivot_root", b".", b".")',
            "return",
            "a file of the host could still be read",
        ),
    ],
)
def test_a_layer_that_does_not_hold_is_not_counted(
    layer: str, step: str, instead: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The helper believes that it applied the layer, and its attempts at breaking out tell that it did not."""
    source, quoted = launchers.source(), step.replace('"', '\\"').encode()
    assert source.count(quoted) == 1
    monkeypatch.setattr(launchers, "source", lambda: source.replace(quoted, instead.encode()))
    launcher = launchers.interpreter(sys.executable)
    with LocalSandbox(
        workers=1, minimum_level=0, layers=(layer,), launcher=launcher, preload=("os",)
    ) as sandbox:
        weak = sandbox.probe()
    assert weak.layers == ("limits",)
    assert found in weak.problems[0]
