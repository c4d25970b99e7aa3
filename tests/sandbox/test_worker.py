import os
import signal
import subprocess
import sys
from pathlib import Path

_CALLER = """
import sys
from codedpo.sandbox.launchers import Launcher
from codedpo.sandbox.local import LocalSandbox
inherits_the_environment = Launcher("env", ("env",), sys.executable)
LocalSandbox(workers=1, preload=("never_loaded",), launcher=inherits_the_environment).probe()
"""


def test_who_is_killed_while_it_starts_leaves_no_file(tmp_path: Path) -> None:
    """Nobody is left to tidy up where caller and helpers die together, as Ray's processes do with their driver."""
    packages, temporary = tmp_path / "packages", tmp_path / "temporary"
    packages.mkdir()
    temporary.mkdir()
    (packages / "never_loaded.py").write_text(
        "import os, time\nos.write(2, b'starting\\n')\ntime.sleep(600)\n"
    )
    caller = subprocess.Popen(
        [sys.executable, "-c", _CALLER],
        stderr=subprocess.PIPE,
        env=os.environ
        | {
            "TMPDIR": str(temporary),
            "PYTHONPATH": os.pathsep.join([str(packages), *sys.path]),
        },
        start_new_session=True,
    )
    assert caller.stderr
    try:
        assert caller.stderr.readline() == b"starting\n"
    finally:
        os.killpg(caller.pid, signal.SIGKILL)
    assert caller.stderr.read() == b""  # It ends with the last process that could write to it.
    caller.wait()
    caller.stderr.close()
    assert list(temporary.iterdir()) == []
