import textwrap

import pytest

from codedpo.core.config import SeedsConfig
from codedpo.seeds.filters import keep, path_reason
from codedpo.seeds.functions import extract

GOOD = '''
def clamp(value, low, high):
    """Limit a value to a range."""
    if value < low:
        return low
    return min(value, high)
'''
LONG = GOOD + "".join(f"    value += {number}\n" for number in range(60))


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (GOOD, None),
        (GOOD.replace('    """Limit a value to a range."""\n', "    low += 0\n"), "no_docstring"),
        (GOOD.replace("return low", "pass").replace("return min", "low = min"), "no_return"),
        (
            GOOD.replace("value, low, high", "").replace("value < low", "1").replace("low", "2"),
            "no_parameter",
        ),
        (GOOD.replace("    if value < low:\n        return low\n", ""), "too_short"),
        (LONG, "too_long"),
        (GOOD.replace("clamp", "test_clamp"), "test_function"),
        (GOOD.replace("min(value", "LIMIT + min(value"), "not_standard_library"),
        ("import numpy\n" + GOOD.replace("min(", "numpy.minimum("), "not_standard_library"),
        (GOOD.replace("        return low", "        print(low)"), "outside_world"),
        ("import os\n" + GOOD.replace("low:", "os.getpid():"), "outside_world"),
        ("import sys\n" + GOOD.replace("low:", "sys.stdin.read():"), "outside_world"),
        ("import sys\n" + GOOD.replace("low:", "sys.maxsize:"), None),
        ("import random\n" + GOOD.replace("low:", "random.random():"), "not_deterministic"),
        ("from datetime import date\n" + GOOD.replace("low:", "date.today():"), "not_deterministic"),
        ("from urllib.parse import quote\n" + GOOD.replace("low:", "quote(low):"), None),
        (GOOD.replace("if value < low:", "if value < low: print low"), "not_python3"),
    ],
)
def test_each_reason(source: str, reason: str | None) -> None:
    (function,) = extract(textwrap.dedent(source))
    assert keep(function, SeedsConfig()) == reason


def test_line_limits_are_options() -> None:
    (function,) = extract(GOOD)
    assert keep(function, SeedsConfig(least_lines=7)) == "too_short"
    assert keep(function, SeedsConfig(most_lines=4)) == "too_long"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("boltons/strutils.py", None),
        ("toolz/tests/test_core.py", "test_file"),
        ("conftest.py", "test_file"),
        ("pip/_vendor/six.py", "vendored"),
        ("latest/contest.py", None),
    ],
)
def test_paths(path: str, reason: str | None) -> None:
    assert path_reason(path) == reason
