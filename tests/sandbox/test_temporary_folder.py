"""The folder that programs may write: empty for each, small, plain, and no way from one program to another."""

import pytest

from codedpo.core.config import Config
from codedpo.core.progress import Voice
from codedpo.core.records import Outcome
from codedpo.sandbox.base import Check, Job, Limits, TimingJob
from codedpo.sandbox.local import LocalSandbox
from codedpo.services import Services

KIB = 64


@pytest.fixture(scope="module")
def sandbox():
    with LocalSandbox(workers=1, temporary_folder_kib=KIB) as sandbox:
        if sandbox.probe().level < 3:
            pytest.skip("needs isolation level 3")
        yield sandbox


def values(sandbox, solutions, *expected):
    """Return the outcomes of ``f()`` against each of the expected values."""
    checks = tuple(Check("", "f()", repr(value)) for value in expected)
    (matrix,) = sandbox.run([Job("files", tuple(solutions), checks, Limits(cpu_seconds=1.0))])
    return [[cell.outcome for cell in row] for row in matrix.cells]


def refusal(statement):
    """Return a solution that says whether the system refused a statement."""
    return (
        f"import os\ndef f():\n    try:\n        {statement}\n"
        "    except OSError:\n        return 'refused'\n    return 'done'"
    )


def test_a_program_finds_its_files_and_no_other(sandbox):
    program = (
        "import os\ndef f():\n    with open('/tmp/a', 'a') as file:\n        file.write('x')\n"
        "    return os.listdir('/tmp'), os.path.getsize('/tmp/a')"
    )
    assert values(sandbox, [program, program], (["a"], 1), (["a"], 2)) == [[Outcome.PASSED] * 2] * 2


def test_nothing_is_left_of_a_program_that_crashed_or_ran_too_long(sandbox):
    for ending in ("os._exit(3)", "os.abort()", "exec('while True: pass')"):
        leaves = f"import os\nopen('/tmp/\\udcff \\n', 'w').write('x')\ndef f():\n    {ending}"
        looks = "import os\ndef f():\n    return os.listdir('/tmp')"
        found = values(sandbox, [leaves, looks], [])
        assert found[0][0] is not Outcome.PASSED
        assert found[1] == [Outcome.PASSED]


def test_temporary_files_of_the_library_and_of_c_work(sandbox):
    program = """
import os, tempfile
def f():
    handle, name = tempfile.mkstemp()
    os.close(handle)
    os.remove(name)
    with tempfile.TemporaryFile() as file:
        file.write(b'ab')
        file.seek(0)
        return file.read()
"""
    with LocalSandbox(workers=1, preload=("os", "tempfile"), temporary_folder_kib=KIB) as own:
        assert values(own, [program], b"ab") == [[Outcome.PASSED]]


@pytest.mark.parametrize(
    "statement",
    [
        "os.mkdir('/tmp/d')",
        "os.symlink('/etc', '/tmp/l')",
        "(open('/tmp/a', 'w'), os.link('/tmp/a', '/tmp/b'))",
        "(open('/tmp/a', 'w'), os.rename('/tmp/a', '/b'))",
        "(open('/tmp/a', 'w'), os.chmod('/tmp/a', 0o777))",
        "os.mkfifo('/tmp/p')",
        "open('/a', 'w')",
        "open('/canary')",
        "open('/tmp/../canary')",
        "os.listdir('/')",
        f"open('/tmp/a', 'wb', 0).write(bytes(1024 * {KIB})) and open('/tmp/b', 'wb', 0).write(b'x')",
        "[open(f'/tmp/{number}', 'w').close() for number in range(100)]",
    ],
)
def test_the_folder_is_small_and_holds_plain_files_only(sandbox, statement):
    assert values(sandbox, [refusal(statement)], "refused") == [[Outcome.PASSED]]


def test_what_is_in_it_cannot_be_executed(sandbox):
    program = refusal(
        "open('/tmp/a', 'wb').write(bytes(4096)); mmap.mmap(os.open('/tmp/a', os.O_RDONLY), 4096, prot=mmap.PROT_EXEC)"
    )
    with LocalSandbox(workers=1, preload=("os", "mmap"), temporary_folder_kib=KIB) as own:
        assert values(own, [f"import mmap\n{program}"], "refused") == [[Outcome.PASSED]]


def test_programs_that_are_timed_side_by_side_share_no_folder(sandbox):
    writes = "def f():\n    open('/tmp/a', 'w')"
    (result,) = sandbox.time([TimingJob("time", (writes, "def f():\n    return 1"), ("f()",), repeats=2)])
    assert [len(samples) for samples in result.samples_ns] == [0, 2]


def test_there_is_none_unless_it_is_asked_for():
    with LocalSandbox(workers=1) as plain:
        assert not plain.probe().temporary_folder
        assert values(plain, [refusal("open('/tmp/a', 'w')")], "refused") == [[Outcome.PASSED]]


def test_there_is_none_without_namespaces():
    with LocalSandbox(workers=1, layers=("landlock", "seccomp"), temporary_folder_kib=KIB) as weaker:
        assert not weaker.probe().temporary_folder
        assert values(weaker, [refusal("open('/tmp/a', 'w')")], "refused") == [[Outcome.PASSED]]


class Writes:
    modules = ()
    temporary_folder_kib = 8


class Plain:
    modules = ()


def test_a_benchmark_that_writes_files_gets_one_and_others_do_not(tmp_path):
    services = Services(Config(name="test"), tmp_path, Voice(quiet=True))
    try:
        assert "/tmp of 8 KiB" in services.sandbox_for(Writes()).identity
        assert "/tmp" not in services.sandbox_for(Plain()).identity
        assert services.sandbox_for(Plain()) is services.sandbox
    finally:
        services.close()
