"""Solutions of ``f(x) -> 2 * x`` that do unusual but honest things: every cell must pass."""

HONEST = {
    "asyncio": """
import asyncio
async def double(x):
    await asyncio.sleep(0.001)
    return 2 * x
def f(x):
    return asyncio.run(double(x))
""",
    "threads": """
import threading
def f(x):
    found = []
    threads = [threading.Thread(target=found.append, args=(2 * x,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found[0]
""",
    "pool of threads": """
from concurrent.futures import ThreadPoolExecutor
def f(x):
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda y: 2 * y, [x] * 4))[0]
""",
    "tracemalloc": """
import tracemalloc
def f(x):
    tracemalloc.start()
    return 2 * x
""",
    "random": """
import random
def f(x):
    random.shuffle(list(range(10)))
    return 2 * x
""",
    "recursion error caught": """
def g(n):
    return g(n + 1)
def f(x):
    try:
        return g(0)
    except RecursionError:
        return 2 * x
""",
    "class": """
class Doubler:
    def __init__(self, x):
        self.x = x
    def __call__(self):
        return 2 * self.x
def f(x):
    return Doubler(x)()
""",
    "dataclass": """
from __future__ import annotations
from dataclasses import dataclass
@dataclass
class Pair:
    x: int
def f(x):
    return 2 * Pair(x).x
""",
    "decimal": """
from decimal import Decimal, getcontext
getcontext().prec = 50
def f(x):
    return Decimal(2) * x if isinstance(x, int) else 2 * x
""",
    "named tuple and enum": """
from collections import namedtuple
from enum import Enum
Point = namedtuple("Point", "x y")
class Colour(Enum):
    RED = 1
def f(x):
    return Point(2 * x, Colour.RED).x
""",
    "global state": """
calls = 0
def f(x):
    global calls
    calls += 1
    return 2 * x
""",
    "cache": """
from functools import lru_cache
@lru_cache(maxsize=None)
def f(x):
    return 2 * x
""",
    "prints a lot": """
def f(x):
    for _ in range(1000):
        print("x" * 100)
    return 2 * x
""",
    "text streams": """
import io
from contextlib import redirect_stdout
def f(x):
    with redirect_stdout(io.StringIO()) as text:
        print("hello")
    assert text.getvalue() == "hello\\n"
    return 2 * x
""",
    "main guard": """
def f(x):
    return 2 * x
if __name__ == "__main__":
    raise RuntimeError
""",
    "generator": """
def numbers(x):
    try:
        yield x
        yield x
    finally:
        pass
def f(x):
    a, b = numbers(x)
    return a + b
""",
    "doctest and typing": '''
from typing import List, Optional
def f(x: Optional[int]) -> int:
    """
    >>> f(2)
    4
    """
    return 2 * x
''',
    "hashing and json": """
import hashlib, json, re, math, itertools, heapq, bisect, string, datetime, statistics, fractions
def f(x):
    hashlib.sha256(json.dumps([1]).encode()).hexdigest()
    hashlib.md5(b"a").hexdigest()
    datetime.datetime.now()
    return json.loads(json.dumps(2 * x))
""",
    "signal": """
import signal
def f(x):
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    return 2 * x
""",
    "unpickles itself": """
import copy, pickle
def f(x):
    return copy.deepcopy(pickle.loads(pickle.dumps([2 * x])))[0]
""",
    "exec and eval": """
def f(x):
    names = {}
    exec("def g(x): return 2 * x", names)
    return eval("g(x)", names, {"x": x})
""",
}
