"""Solutions that know nothing and claim to pass, run by every mode: who is fooled."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

FORGERIES = {
    "object equal to everything": (
        "class A:\n    def __eq__(self, other):\n        return True\n"
        "    def __ne__(self, other):\n        return False\n"
        "def add(a, b):\n    return A()\n"
    ),
    "number equal to everything": (
        "class A(int):\n    def __eq__(self, other):\n        return True\n    def __ne__(self, other):\n"
        "        return False\n    __hash__ = int.__hash__\ndef add(a, b):\n    return A(0)\n"
    ),
    "verdict written through the caller's frames": (
        "import sys\ndef add(a, b):\n    frame = sys._getframe()\n    while frame:\n"
        "        for name, value in list(frame.f_locals.items()):\n"
        "            if name in ('result', 'stat', 'verdicts', 'details', 'progress'):\n                try:\n"
        "                    if name == 'result':\n                        value.append('passed')\n"
        "                    elif name == 'stat':\n                        value.value = 0\n"
        "                    elif name == 'details':\n                        value[:] = [True] * len(value)\n"
        "                    elif name == 'progress':\n                        value.value = 4\n"
        "                except Exception:\n                    pass\n        frame = frame.f_back\n"
        "    import os\n    print('1111', flush=True)\n    os._exit(0)\n"
    ),
    "exit with success": "import sys\ndef add(a, b):\n    print('1111', flush=True)\n    sys.exit(0)\n",
}
_CASES = ((1, 2), (3, 4), (-1, 1), (10, 5))

Measure = Callable[[str, Path, Path, dict[str, str]], dict[str, Any] | None]


def fooled(
    modes: list[str], folder: Path, peers: Path, environment: dict[str, str], measure: Measure
) -> dict[str, list[str]]:
    """Print and return, for every mode, the forgeries that got at least one pass."""
    found: dict[str, list[str]] = {mode: [] for mode in modes if mode != "floor"}
    for name, source in FORGERIES.items():
        path = folder / "forgery.json"
        path.write_text(
            json.dumps(
                [
                    {
                        "name": "add",
                        "entry_point": "add",
                        "solutions": [source],
                        "calls": [f"add(*{case})" for case in _CASES],
                        "values": [repr(sum(case)) for case in _CASES],
                        "assertions": [f"assert add(*{case}) == {sum(case)}" for case in _CASES],
                        "inputs": repr([list(case) for case in _CASES]),
                        "expected": repr([sum(case) for case in _CASES]),
                    }
                ]
            )
        )
        for mode, forgeries in found.items():
            result = measure(mode, path, peers, environment)
            if result and result["passed"]:
                forgeries.append(name)
    for mode, forgeries in found.items():
        print(f"{mode:24} fooled by {len(forgeries)} of {len(FORGERIES)}: {', '.join(forgeries) or '-'}")
    return found
