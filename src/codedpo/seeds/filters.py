"""Which functions may become seeds. Each filter is a pure function that returns a reason to drop, or None."""

import re
import sys
from collections.abc import Callable
from pathlib import PurePosixPath

from codedpo.core.config import SeedsConfig
from codedpo.seeds.functions import Function

Filter = Callable[[Function, SeedsConfig], str | None]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_OUTSIDE_MODULES = _words(
    """
    asyncio bz2 cmd code concurrent ctypes curses dbm faulthandler fcntl fileinput ftplib gc getopt getpass glob
    gzip http imaplib importlib inspect linecache logging lzma mailbox mmap multiprocessing optparse argparse os
    pathlib pdb pkgutil platform poplib posix pprint profile pty pwd readline resource runpy sched select shelve
    shutil signal site smtplib socket socketserver sqlite3 ssl subprocess syslog tarfile tempfile termios
    threading tkinter trace traceback tracemalloc turtle unittest doctest urllib venv webbrowser winreg wsgiref
    xmlrpc zipfile zipimport
    """
)
"""Modules whose use reaches the system, the network, files, processes or the interpreter itself."""
_PURE_MODULES = frozenset({"urllib.parse"})
_OUTSIDE_NAMES = _words("open input print exec eval compile __import__ breakpoint exit quit help")
_OUTSIDE_ATTRIBUTES = _words(
    "sys.argv sys.exit sys.modules sys.path sys.stderr sys.stdin sys.stdout sys._getframe sys.settrace sys.setprofile"
)
_CHANGING_MODULES = frozenset({"random", "secrets", "time", "uuid"})
_CHANGING_ATTRIBUTES = frozenset({"datetime.now", "datetime.today", "datetime.utcnow", "date.today"})
_TEST_PARTS = frozenset({"test", "tests", "testing"})
_VENDORED_PARTS = frozenset({"_vendor", "vendor", "vendored", "extern", "externals", "third_party"})


def path_reason(path: str) -> str | None:
    """Drop files that are tests or other people's code."""
    parts = PurePosixPath(path).parts
    stem = PurePosixPath(path).stem
    if _TEST_PARTS & set(parts) or stem.startswith("test_") or stem.endswith("_test") or stem == "conftest":
        return "test_file"
    return "vendored" if _VENDORED_PARTS & set(parts) else None


def not_python3(function: Function, settings: SeedsConfig) -> str | None:  # noqa: ARG001 - one signature
    """Drop what Python 3 cannot read."""
    return None if function.is_valid else "not_python3"


def test_function(function: Function, settings: SeedsConfig) -> str | None:  # noqa: ARG001
    """Drop functions that are tests by their name."""
    return "test_function" if re.match(r"_*tests?(_|$)", function.name) else None


def no_docstring(function: Function, settings: SeedsConfig) -> str | None:  # noqa: ARG001
    """Drop functions without a docstring: nothing says what they are for."""
    return None if function.docstring.strip() else "no_docstring"


def no_return(function: Function, settings: SeedsConfig) -> str | None:  # noqa: ARG001
    """Drop functions that return nothing: no assertion could compare a value."""
    return None if function.returns_value else "no_return"


def no_parameter(function: Function, settings: SeedsConfig) -> str | None:  # noqa: ARG001
    """Drop functions without parameters: they have one result."""
    return None if function.parameters else "no_parameter"


def length(function: Function, settings: SeedsConfig) -> str | None:
    """Drop functions that are too short or too long, by source lines."""
    lines = function.last_line - function.first_line + 1
    if lines < settings.least_lines:
        return "too_short"
    return "too_long" if lines > settings.most_lines else None


def outside_world(function: Function, settings: SeedsConfig) -> str | None:  # noqa: ARG001
    """Drop functions that reach files, processes, the network, the terminal or the interpreter."""
    modules = {name for name in function.modules if name not in _PURE_MODULES}
    if {name.partition(".")[0] for name in modules} & _OUTSIDE_MODULES:
        return "outside_world"
    if _OUTSIDE_NAMES & set(function.names) or _OUTSIDE_ATTRIBUTES & set(function.attributes):
        return "outside_world"
    return None


def not_deterministic(function: Function, settings: SeedsConfig) -> str | None:  # noqa: ARG001
    """Drop functions whose result depends on chance or on the clock: no test could hold twice."""
    if {name.partition(".")[0] for name in function.modules} & _CHANGING_MODULES:
        return "not_deterministic"
    return "not_deterministic" if _CHANGING_ATTRIBUTES & set(function.attributes) else None


def not_alone(function: Function, settings: SeedsConfig) -> str | None:  # noqa: ARG001
    """Drop functions that need more than Python and its standard library."""
    third_party = [name for name in function.modules if name.partition(".")[0] not in sys.stdlib_module_names]
    return "not_standard_library" if third_party or function.foreign else None


FILTERS: tuple[Filter, ...] = (
    not_python3,
    test_function,
    no_docstring,
    no_return,
    no_parameter,
    length,
    not_alone,
    outside_world,
    not_deterministic,
)
"""In order: the first reason counts."""


def keep(function: Function, settings: SeedsConfig) -> str | None:
    """Return the first reason to drop a function, or None where it may become a seed."""
    return next((reason for filter_ in FILTERS if (reason := filter_(function, settings))), None)
