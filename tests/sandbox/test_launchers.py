import shutil
import sys

import pytest

from codedpo.core.errors import BackendError
from codedpo.core.records import Outcome
from codedpo.sandbox import conformance
from codedpo.sandbox.base import Check, Job
from codedpo.sandbox.launchers import Launcher, bubblewrap, docker, ssh
from codedpo.sandbox.local import LocalSandbox


def test_a_zygote_from_source_conforms() -> None:
    """The plainest prefix: the same machine, but nothing of this package to import."""
    launcher = Launcher("plain", ("env", "-i"), sys.executable)
    with LocalSandbox(workers=1, launcher=launcher) as sandbox:
        assert sandbox.identity.startswith("plain")
        assert conformance.check_backend(sandbox) == len(conformance.names())


def test_bubblewrap_conforms() -> None:
    program = shutil.which("bwrap")
    if program is None:
        pytest.skip("needs bubblewrap: install the package bubblewrap")
    with LocalSandbox(workers=1, launcher=bubblewrap(program)) as sandbox:
        try:
            sandbox.probe()
        except BackendError as error:
            pytest.skip(f"bubblewrap does not start on this kernel: {error}")
        (matrix,) = sandbox.run([Job("a", ("def f(x):\n    return x",), (Check("", "f(1)", "1"),))])
    assert matrix.cells[0][0].outcome is Outcome.PASSED


def test_a_launcher_that_does_not_start_is_one_sentence() -> None:
    with (
        LocalSandbox(workers=1, launcher=Launcher("gone", ("false",))) as sandbox,
        pytest.raises(BackendError, match="did not start"),
    ):
        sandbox.probe()


def test_the_containers_get_neither_network_nor_files() -> None:
    argv = docker("image").argv({"TZ": "UTC"})
    assert argv[argv.index("--network") + 1] == "none"
    assert {"--read-only", "TZ=UTC", "image"} <= set(argv)
    assert ssh("host").argv({})[:4] == ["ssh", "-o", "BatchMode=yes", "host"]
