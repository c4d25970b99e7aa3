"""Using more memory, threads, disk or output than allowed."""

ATTACKS = {
    "list of a billion": """
def f(x):
    return 2 * x if len([0] * 10 ** 9) else None
""",
    "growing list": """
def f(x):
    kept = []
    while len(kept) < 4000:
        kept.append(bytearray(1 << 20))
    return 2 * x
""",
    "memory at import": """
kept = bytearray(4 << 30)
def f(x):
    return 2 * x
""",
    "memory map": """
import mmap
def f(x):
    return 2 * x if mmap.mmap(-1, 8 << 30) else None
""",
    "thread bomb": """
import threading, time
def f(x):
    for _ in range(200):
        threading.Thread(target=time.sleep, args=(0.2,), daemon=True).start()
    return 2 * x
""",
    "threads that eat every core": """
import threading
def spin():
    while True:
        pass
def f(x):
    for _ in range(4):
        threading.Thread(target=spin, daemon=True).start()
    spin()
""",
    "raise the limits": """
import resource
def f(x):
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return 2 * x
""",
    "raise the limits of the parent": """
import os, resource
def f(x):
    return 2 * x if resource.prlimit(os.getppid(), resource.RLIMIT_AS) else None
""",
    "raise the soft CPU limit": """
import resource
def f(x):
    resource.prlimit(0, resource.RLIMIT_CPU, (1, 1))
    return 2 * x
""",
    "five hundred files": """
def f(x):
    for number in range(500):
        open(f"/tmp/codedpo-{number}", "w").close()
    return 2 * x
""",
    "huge value": """
def f(x):
    return "a" * (64 << 20)
""",
    "value that shares itself": """
def f(x):
    value = [x]
    for _ in range(200):
        value = [value, value]
    return value
""",
    "value in itself": """
def f(x):
    value = []
    value.append(value)
    return value
""",
    "deep value": """
def f(x):
    value = []
    for _ in range(100000):
        value = [value]
    return value
""",
    "endless generator": """
import itertools
def f(x):
    return itertools.count()
""",
    "set that is slow to build": """
def f(x):
    return {n * (2 ** 61 - 1) for n in range(2000)}
""",
    "huge number": """
def f(x):
    return 1 << (1 << 27)
""",
    "compiler bomb": """
def f(x):
    return eval("(" * 5000 + "1" + ")" * 5000) and 2 * x
""",
    "source with a null": "def f(x):\n    return 2 * x\x00\n",
    "source that nests": "def f(x):\n    return " + "[" * 3000 + "2 * x" + "]" * 3000,
    "constant that folds": """
def f(x):
    return ((("a" * 4000) * 4000) * 4000) and None
""",
}
