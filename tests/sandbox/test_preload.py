"""Whole packages and their data files in memory: what a child finds there, and that it opens nothing else."""

from pathlib import Path

import pytest

from codedpo.core.records import Outcome
from codedpo.sandbox.base import Check, Job
from codedpo.sandbox.local import PRELOAD, LocalSandbox

READS = """
import certifi, importlib.resources, io, os, pathlib, pkgutil
path = certifi.where()
"""


def outcome_of(sandbox: LocalSandbox, code: str) -> tuple[Outcome, str]:
    (matrix,) = sandbox.run([Job("one", ("",), (Check(code=code),))])
    return matrix.cells[0][0].outcome, matrix.cells[0][0].error_type


def test_a_whole_package_brings_all_its_submodules(packages: LocalSandbox) -> None:
    lazy = "import numpy.polynomial.hermite_e, numpy.f2py.crackfortran"
    assert outcome_of(packages, lazy) == (Outcome.PASSED, "")
    assert outcome_of(packages, "import numpy.tests.test_reloading")[0] is Outcome.ERROR
    with LocalSandbox(workers=1, preload=(*PRELOAD, "numpy")) as plain:
        outcome, error = outcome_of(plain, lazy)
    assert outcome is Outcome.ERROR
    assert error.startswith("ImportRefused: numpy.")


@pytest.mark.parametrize(
    "code",
    [
        "assert 'BEGIN CERTIFICATE' in open(path).read()",
        "assert b'BEGIN CERTIFICATE' in open(path, 'rb').read()",
        "assert 'BEGIN CERTIFICATE' in io.open(path, 'r', -1, 'ascii').read()",
        "assert 'BEGIN CERTIFICATE' in pathlib.Path(path).read_text(encoding='utf-8')",
        "assert 'BEGIN CERTIFICATE' in certifi.contents()",
        "assert b'BEGIN CERTIFICATE' in importlib.resources.files('certifi').joinpath('cacert.pem').read_bytes()",
        "assert b'BEGIN CERTIFICATE' in pkgutil.get_data('certifi', 'cacert.pem')",
        "assert os.path.isfile(path) and os.path.getsize(path) == len(open(path, 'rb').read())",
    ],
)
def test_data_files_are_read_from_memory(packages: LocalSandbox, code: str) -> None:
    assert outcome_of(packages, READS + code) == (Outcome.PASSED, "")


@pytest.mark.parametrize(
    "code",
    [
        "open(path, 'a')",
        "open(path, 'r+')",
        "os.open(path, os.O_RDONLY)",
        "os.truncate(path, 0)",
        "os.listdir(os.path.dirname(path))",
        "open('/etc/passwd')",
        "open(path + '/../../../../../../../../etc/passwd')",
        "open(os.path.join(os.path.dirname(path), '__init__.py'))",
        "os.stat('/etc/passwd')",
        "pkgutil.get_data('certifi', '../../../../../../etc/passwd')",
    ],
)
def test_there_is_no_file_behind_them(packages: LocalSandbox, code: str) -> None:
    outcome, error = outcome_of(packages, READS + code)
    assert outcome is Outcome.ERROR
    assert error in {"FileNotFoundError", "PermissionError", "NotADirectoryError", "OSError"}


def test_isolation_stays_what_it_is(packages: LocalSandbox, level_3: LocalSandbox) -> None:
    assert packages.probe().level == level_3.probe().level == 3


def test_what_a_program_changes_is_gone_with_its_child(packages: LocalSandbox) -> None:
    change = READS + "import builtins\nbuiltins.open = None\nimport numpy\nnumpy.array = None"
    assert outcome_of(packages, change) == (Outcome.PASSED, "")
    after = READS + "import numpy\nassert open(path).read() and numpy.array([1]).sum() == 1"
    assert outcome_of(packages, after) == (Outcome.PASSED, "")


def test_the_identity_names_the_versions_of_libraries(packages: LocalSandbox) -> None:
    import certifi
    import numpy

    assert f"numpy {numpy.__version__}" in packages.identity
    assert f"certifi {certifi.__version__}" in packages.identity


def test_a_broken_library_is_missing_and_named(tmp_path, monkeypatch) -> None:
    folder = tmp_path / "some-packages"
    folder.mkdir()
    (folder / "broken.py").write_text("raise ValueError('built for another version')\n")
    monkeypatch.syspath_prepend(folder)
    with LocalSandbox(workers=1, preload=("math", "broken.*")) as sandbox:
        assert sandbox.probe().missing_modules == ("broken",)


def test_what_a_library_writes_while_it_is_loaded_is_removed(tmp_path, monkeypatch) -> None:
    """As matplotlib does, it makes the folder that it is given; where that was is told on the way."""
    folder, told = tmp_path / "some-packages", tmp_path / "told"
    folder.mkdir()
    (folder / "writes.py").write_text(
        "import os, pathlib\nfolder = pathlib.Path(os.environ['MPLCONFIGDIR'])\nfolder.mkdir(parents=True)\n"
        f"(folder / 'fonts').write_text('all')\npathlib.Path({str(told)!r}).write_text(str(folder))\n"
    )
    monkeypatch.syspath_prepend(folder)
    with LocalSandbox(workers=1, preload=("writes",)) as sandbox:
        assert sandbox.probe().missing_modules == ()
    assert not Path(told.read_text()).exists()
