"""Programs that may share a child, and every way found of hiding one that must not."""

import pytest

from codedpo.sandbox.base import Check, Job
from codedpo.sandbox.local import LocalSandbox
from codedpo.sandbox.tame import is_tame

TAME = {
    "plain": "def f(x):\n    return sorted(x, key=lambda y: -y)[:3]",
    "imports": "import math, re\nfrom collections import Counter\ndef f(x):\n    return len(Counter(x))",
    "typing": "from typing import List, Optional\ndef f(x: List[int]) -> Optional[int]:\n    return max(x)",
    "import inside": "def f(x):\n    import heapq\n    heapq.heapify(x)\n    return heapq.heappop(x)",
    "helper with an underscore": "def _g(x):\n    return x\ndef f(x):\n    return _g(x)",
    "exceptions": "def f(x):\n    try:\n        return 1 / x\n    except ZeroDivisionError as e:\n        raise e",
    "generator": "def g(x):\n    yield from x\ndef f(x):\n    return list(g(x))",
    "main guard": "def f(x):\n    return x\nif __name__ == '__main__':\n    print(f(1))",
    "methods": "def f(s):\n    return ''.join(c.upper() for c in s.split() if c.isalpha())",
    "state of its own": "seen = {}\ndef f(x):\n    seen[x] = 1\n    return len(seen)",
    "cache": "from functools import lru_cache\n@lru_cache(None)\ndef f(n):\n    return n if n < 2 else f(n - 1)",
}
WILD = {
    "attribute of a module": "import math\nmath.sqrt = None",
    "attribute in a loop": "import math\nfor math.sqrt in [1]: pass",
    "attribute in with": "import math\nwith x as math.sqrt: pass",
    "deleted attribute": "import math\ndel math.sqrt",
    "augmented attribute": "import math\nmath.pi += 1",
    "walrus in a class": "class A:\n    x = 1",
    "unknown module": "import os",
    "submodule": "import os.path",
    "star": "from math import *",
    "hidden module": "import typing\nsys = modules = 0\ntyping.sys.modules.clear()",
    "hidden module, imported": "from typing import sys",
    "underscored module": "import collections\n_sys = modules = 0\ncollections._sys.modules.clear()",
    "builtin by a false name of its own": "if len('') > 0:\n    setattr = 0\nimport math\nsetattr(math, 'pi', 3)",
    "builtins": "__builtins__['len'] = None",
    "globals": "globals()['x'] = 1",
    "getattr": "import math\ngetattr(math, 'pi')",
    "exec": "exec('x = 1')",
    "eval": "eval('1')",
    "import by hand": "__import__('os')",
    "dunder": "().__class__.__base__.__subclasses__()",
    "traceback": "try:\n    1 / 0\nexcept Exception as e:\n    e.__traceback__.tb_frame",
    "frame of a generator": "g = (x for x in [1])\ng.gi_frame.f_back",
    "frame of a generator, named": "gi_frame = f_back = 0\ng = (x for x in [1])\ng.gi_frame.f_back",
    "match on attributes": "def f(x):\n    match f:\n        case object(__globals__=g):\n            g.clear()",
    "finaliser": "class A:\n    def __del__(self):\n        pass",
    "generator that runs later": "def g():\n    try:\n        yield 1\n    finally:\n        print(1)",
    "namedtuple, which runs code": "from collections import namedtuple",
    "recursion limit": "import sys\nsys.setrecursionlimit(10)",
    "seed": "import random\nrandom.seed(1)",
    "decimal context": "from decimal import getcontext\ngetcontext().prec = 1",
    "operator": "import operator\noperator.attrgetter('__globals__')",
    "update_wrapper": "import functools\nfunctools.update_wrapper(1, 2)",
    "vars": "import math\nvars(math).clear()",
    "async": "async def f():\n    await f()",
    "open": "open('/etc/passwd')",
    "input": "input()",
    "nested": "def f():\n    def g():\n        return [lambda: globals() for _ in range(3)]\n    return g",
    "long jump over extended arguments": "\n".join(f"a{i} = {i}" for i in range(400))
    + "\nimport math\na1.setattr\n",
    "type with a finaliser": "type('A', (), {'__del__': lambda self: print(1)})()",
}


@pytest.mark.parametrize("name", TAME)
def test_plain_programs_are_tame(name: str) -> None:
    assert is_tame(compile(TAME[name], "", "exec"))


@pytest.mark.parametrize("name", WILD)
def test_what_could_reach_a_neighbour_is_not_tame(name: str) -> None:
    assert not is_tame(compile(WILD[name], "", "exec"))


def test_a_test_may_name_what_the_solution_defines() -> None:
    call = compile("f([1], key=len)", "", "eval")
    assert is_tame(call, frozenset({"f"}))
    assert not is_tame(call)
    assert not is_tame(compile("f.__globals__.clear()", "", "eval"), frozenset({"f"}))


def test_verdicts_do_not_depend_on_sharing() -> None:
    """Every tame program, in every order beside the others, scores as it does alone."""
    solutions = (
        *TAME.values(),
        "def f(x):\n    while True:\n        pass",
        "def f(x):\n    return [0] * (1 << 40)",
    )
    checks = (Check("", "f([3, 1, 2])", "[3, 2, 1]"), Check("", "f('abc')", "'ABC'"), Check("", "f(8)", "21"))
    tables = []
    with LocalSandbox(workers=1) as shared, LocalSandbox(workers=1, child_per="solution") as single:
        for sandbox, order in ((shared, solutions), (shared, solutions[::-1]), (single, solutions)):
            (matrix,) = sandbox.run([Job("tame", order, checks)])
            rows = [
                [(cell.outcome, cell.error_type, cell.value_digest) for cell in row] for row in matrix.cells
            ]
            tables.append(dict(zip(order, rows, strict=True)))
    assert tables[0] == tables[1] == tables[2]


def test_a_neighbour_s_large_values_leave_room_for_others() -> None:
    large = "def f(x):\n    return 'a' * (1 << 20)"
    checks = tuple(Check("", f"f({n})", repr(n + 1)) for n in range(6))
    with LocalSandbox(workers=1) as shared:
        (matrix,) = shared.run([Job("large", (large, large, "def f(x):\n    return x + 1"), checks)])
    outcomes = [[cell.outcome.value for cell in row] for row in matrix.cells]
    assert outcomes[0] == outcomes[1] == ["failed"] * 3 + ["opaque"] * 3
    assert outcomes[2] == ["passed"] * 6
