"""Other places for the zygote: an argument vector in front of its interpreter.

The oracle stays on this machine; the zygote reads its own source from standard input, so the other side needs
nothing but Linux and Python 3.11.
"""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from codedpo.core.config import LauncherConfig

ZYGOTE_MODULES = (
    "values",
    "wire",
    "seccomp",
    "isolation",
    "tame",
    "child",
    "forker",
    "jobs",
    "timed_child",
    "stopwatch",
    "preload",
    "zygote",
)
"""What the zygote consists of, each after what it imports."""
_READ_SOURCE = """
import json, sys, types
def load():
    source = json.loads(sys.stdin.buffer.raw.readline())
    for package in ("codedpo", "codedpo.sandbox"):
        sys.modules[package] = types.ModuleType(package)
        sys.modules[package].__path__ = []
    for name, text in source.items():
        module = types.ModuleType("codedpo.sandbox." + name)
        sys.modules[module.__name__] = module
        setattr(sys.modules["codedpo.sandbox"], name, module)
        exec(compile(text, name + ".py", "exec"), vars(module))
    module.main()
load()
"""


@dataclass(frozen=True, slots=True)
class Launcher:
    """How the zygote's interpreter is started."""

    name: str
    prefix: tuple[str, ...]
    python: str = "python3"
    """The interpreter on the other side; verdicts are those of its version."""
    joined: bool = False
    """Whether a shell on the other side reads the command."""

    def argv(self, environment: dict[str, str]) -> list[str]:
        """Return the whole command; the environment is set on the other side."""
        settings = [f"{name}={value}" for name, value in environment.items()]
        command = ["env", *settings, self.python, "-S", "-s", "-P", "-u", "-c", _READ_SOURCE]
        return [*self.prefix, shlex.join(command)] if self.joined else [*self.prefix, *command]


def interpreter(python: str) -> Launcher:
    """Start another interpreter of this machine, a virtual environment's, with the packages installed there."""
    return Launcher("interpreter", ("env", "-i"), python)


def bubblewrap(
    program: str = "bwrap", python: str = "/usr/bin/python3", options: Sequence[str] = ()
) -> Launcher:
    """Start it inside bubblewrap: the host's files read-only, no network, namespaces of its own."""
    prefix = (
        program,
        "--unshare-all",
        "--die-with-parent",
        "--clearenv",
        "--ro-bind",
        "/",
        "/",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
    )
    return Launcher("bubblewrap", (*prefix, "--tmpfs", "/tmp", *options, "--"), python)


def docker(image: str = "python:3.11-slim", options: Sequence[str] = (), python: str = "python3") -> Launcher:
    """Start it in a container without network, capabilities or a writable file."""
    fixed = (
        "docker",
        "run",
        "--rm",
        "-i",
        "--network",
        "none",
        "--read-only",
        "--cap-drop",
        "ALL",
        "--user",
        "65534",
    )
    return Launcher("docker", (*fixed, *options, image), python)


def ssh(host: str, python: str = "python3", options: Sequence[str] = ()) -> Launcher:
    """Start it on another Linux machine, which must let this one in without a question."""
    return Launcher("ssh", ("ssh", "-o", "BatchMode=yes", *options, host), python, joined=True)


def from_config(section: "LauncherConfig") -> Launcher | None:
    """Return the launcher that ``sandbox.launcher:`` of a config names, None where there is none."""
    options = section.options
    if section.kind == "interpreter":
        return interpreter(section.python)
    if section.kind == "bubblewrap":
        return bubblewrap(python=section.python or "/usr/bin/python3", options=options)
    if section.kind == "docker":
        return docker(section.image, options, section.python or "python3")
    if section.kind == "ssh":
        return ssh(section.host, section.python or "python3", options)
    return None


def source() -> bytes:
    """Return the zygote's source as the line that ``Launcher.argv``'s program reads first."""
    folder = Path(__file__).parent
    texts = {name: (folder / f"{name}.py").read_text() for name in ZYGOTE_MODULES}
    return json.dumps(texts).encode() + b"\n"
