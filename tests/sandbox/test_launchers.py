import shlex
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator

import pytest

from codedpo.core.config import LauncherConfig, ResourcesConfig, SandboxConfig
from codedpo.core.errors import BackendError
from codedpo.core.records import Outcome
from codedpo.sandbox import conformance
from codedpo.sandbox.base import Check, Job
from codedpo.sandbox.launchers import Launcher, docker, from_config, interpreter, ssh
from codedpo.sandbox.local import LocalSandbox


def test_a_zygote_from_source_conforms() -> None:
    """The plainest prefix: the same machine, but nothing of this package to import."""
    launcher = Launcher("plain", ("env", "-i"), sys.executable)
    with LocalSandbox(workers=1, launcher=launcher) as sandbox:
        assert sandbox.identity.startswith("plain")
        assert conformance.check_backend(sandbox) == len(conformance.names())


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSandbox]:
    """A virtual environment with a package of its own, as ``sandbox.launcher.kind: interpreter`` starts it."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    (site_packages / "theirs").mkdir()
    (site_packages / "theirs" / "__init__.py").write_text("__version__ = '7.1'\n")
    (site_packages / "theirs" / "inner.py").write_text("NAME = 'inner'\n")
    python = str(folder / "bin" / "python")
    section = SandboxConfig(
        launcher=LauncherConfig(kind="interpreter", python=python), modules=("theirs.*", "numpy")
    )
    with LocalSandbox.from_config(section, ResourcesConfig(workers=1)) as sandbox:
        yield sandbox


@pytest.mark.parametrize("name", conformance.names())
def test_another_interpreter_conforms(environment: LocalSandbox, name: str) -> None:
    assert conformance.run_check(environment, name) == ""


def test_another_interpreter_brings_its_own_packages(
    environment: LocalSandbox, level_3: LocalSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has what is installed there, lacks what is installed here, and is isolated as ever."""
    job = Job(
        "a", ("import theirs.inner\ndef f():\n    return theirs.inner.NAME",), (Check("", "f()", "'inner'"),)
    )
    (matrix,) = environment.run([job])
    assert matrix.cells[0][0].outcome is Outcome.PASSED
    assert environment.probe().missing_modules == ("numpy",)
    assert environment.probe().level == level_3.probe().level
    assert environment.identity.startswith("interpreter (")
    assert environment.identity.endswith("theirs 7.1")


def test_another_interpreter_is_not_told_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "secret")
    program = "import os\ndef f():\n    return sorted(os.environ)"
    with (
        LocalSandbox(workers=1, launcher=interpreter(sys.executable)) as sandbox,
        LocalSandbox(workers=1) as own,
    ):
        check = Check("", "f()", "")
        (theirs,), (ours,) = (one.run([Job("a", (program,), (check,))]) for one in (sandbox, own))
    assert theirs.cells[0][0].value_digest == ours.cells[0][0].value_digest != ""


def test_another_interpreter_needs_a_path() -> None:
    with pytest.raises(ValueError, match="the launcher interpreter needs python"):
        LauncherConfig(kind="interpreter")


@pytest.fixture(scope="module")
def bubblewrapped() -> Iterator[LocalSandbox]:
    """What ``sandbox.launcher.kind: bubblewrap`` of a config gives."""
    if shutil.which("bwrap") is None:
        pytest.skip("needs bubblewrap: install the package bubblewrap")
    section = SandboxConfig(launcher=LauncherConfig(kind="bubblewrap"))
    with LocalSandbox.from_config(section, ResourcesConfig(workers=1)) as sandbox:
        try:
            sandbox.probe()
        except BackendError as error:
            pytest.skip(f"bubblewrap does not start on this kernel: {error}")
        yield sandbox


@pytest.mark.parametrize("name", conformance.names())
def test_bubblewrap_by_config_conforms(bubblewrapped: LocalSandbox, name: str) -> None:
    assert conformance.run_check(bubblewrapped, name) == ""


def test_bubblewrap_hands_on_no_variable_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("bwrap") is None:
        pytest.skip("needs bubblewrap: install the package bubblewrap")
    monkeypatch.setenv("API_KEY", "secret")
    section = SandboxConfig(launcher=LauncherConfig(kind="bubblewrap"))
    solution = "import os\ndef f():\n    return os.environ.get('API_KEY'), os.environ['TZ']"
    with LocalSandbox.from_config(section, ResourcesConfig(workers=1)) as sandbox:
        (matrix,) = sandbox.run([Job("a", (solution,), (Check("", "f()", "(None, 'UTC')"),))])
    assert matrix.cells[0][0].outcome is Outcome.PASSED


def test_the_identity_names_the_interpreter_of_the_other_side(bubblewrapped: LocalSandbox) -> None:
    """Bubblewrap starts the system's Python, which may be another than this one."""
    command = ["/usr/bin/python3", "-c", "import platform; print(platform.python_version())"]
    version = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert bubblewrapped.identity.startswith(
        f"bubblewrap (/usr/bin/python3) python {version} child per group"
    )


def test_the_further_options_reach_the_launcher() -> None:
    """A name that only the option gives is seen by the program inside."""
    if shutil.which("bwrap") is None:
        pytest.skip("needs bubblewrap: install the package bubblewrap")
    options = ("--hostname", "inside")
    section = SandboxConfig(
        launcher=LauncherConfig(kind="bubblewrap", python=sys.executable, options=options)
    )
    program = "import os\ndef f():\n    return os.uname().nodename"
    with LocalSandbox.from_config(section, ResourcesConfig(workers=1)) as sandbox:
        try:
            sandbox.probe()
        except BackendError as error:
            pytest.skip(f"bubblewrap does not start on this kernel: {error}")
        (matrix,) = sandbox.run([Job("a", (program,), (Check("", "f()", "'inside'"),))])
    assert matrix.cells[0][0].outcome is Outcome.PASSED


@pytest.mark.parametrize(
    ("section", "words"),
    [
        (
            LauncherConfig(kind="docker", image="mine:3", options=("--memory", "1g"), python="pypy"),
            "docker mine:3 1g pypy",
        ),
        (
            LauncherConfig(kind="ssh", host="there", options=("-p", "22"), python="python3.12"),
            "ssh there -p 22",
        ),
        (LauncherConfig(kind="bubblewrap", python="/bin/python"), "bwrap /bin/python"),
        (LauncherConfig(kind="interpreter", python="/there/bin/python"), "env -i /there/bin/python"),
    ],
)
def test_every_key_of_the_config_is_in_the_command(section: LauncherConfig, words: str) -> None:
    launcher = from_config(section)
    assert launcher
    assert set(words.split()) <= set(launcher.argv({}))
    assert section.python in launcher.argv({})[-1 if launcher.joined else launcher.argv({}).index("-S") - 1]
    assert from_config(LauncherConfig()) is None


def test_a_launcher_whose_program_is_missing_is_one_sentence() -> None:
    with (
        LocalSandbox(workers=1, launcher=Launcher("docker", ("no-such-docker",))) as sandbox,
        pytest.raises(BackendError, match="docker needs the program no-such-docker, which is not installed"),
    ):
        sandbox.probe()


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


def test_the_shell_of_the_other_side_reads_one_word() -> None:
    """Ssh joins its arguments with blanks and hands them to a shell."""
    *prefix, command = ssh("host").argv({"TZ": "UTC"})
    assert prefix == ["ssh", "-o", "BatchMode=yes", "host"]
    assert shlex.split(command) == Launcher("plain", ()).argv({"TZ": "UTC"})


def test_a_zygote_behind_a_shell_works() -> None:
    """``sh -c`` does to the command what ssh's other side does."""
    launcher = Launcher("shell", ("sh", "-c"), sys.executable, joined=True)
    with LocalSandbox(workers=1, launcher=launcher) as sandbox:
        (matrix,) = sandbox.run([Job("a", ("def f(x):\n    return x",), (Check("", "f(1)", "1"),))])
    assert matrix.cells[0][0].outcome is Outcome.PASSED
