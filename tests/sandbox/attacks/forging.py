"""Values that claim to be equal, and reaching for the expectation or the verdict."""

ATTACKS = {
    "object equal to everything": """
class Any:
    def __eq__(self, other):
        return True
    def __ne__(self, other):
        return False
    def __hash__(self):
        return 0
def f(x):
    return Any()
""",
    "number equal to everything": """
class Any(int):
    def __eq__(self, other):
        return True
    __hash__ = int.__hash__
def f(x):
    return Any(7)
""",
    "text equal to everything": """
class Any(str):
    def __eq__(self, other):
        return True
    __hash__ = str.__hash__
def f(x):
    return Any("no")
""",
    "list equal to everything": """
class Any(list):
    def __eq__(self, other):
        return True
def f(x):
    return Any()
""",
    "equal by its metaclass": """
class Meta(type):
    def __eq__(cls, other):
        return True
    __hash__ = type.__hash__
class Any(metaclass=Meta):
    pass
def f(x):
    return Any
""",
    "unittest.mock.ANY": """
from unittest.mock import ANY
def f(x):
    return ANY
""",
    "pickle that runs code": """
import os
class Bomb:
    def __reduce__(self):
        return os._exit, (0,)
def f(x):
    return Bomb()
""",
    "pickle that names a class": """
class Any:
    def __reduce_ex__(self, protocol):
        return eval, ("2",)
def f(x):
    return Any()
""",
    "the expectation in a frame": """
import sys
def f(x):
    frame = sys._getframe()
    while frame:
        for value in list(frame.f_locals.values()) + list(frame.f_globals.values()):
            if type(value) is type(x * 2) and value == x * 2 and value is not x:
                return value
            if isinstance(value, (list, tuple)):
                for item in value:
                    if isinstance(item, (list, tuple)) and x * 2 in item:
                        return x * 2
        frame = frame.f_back
""",
    "the expectation on the heap": """
import gc
def f(x):
    for item in gc.get_objects():
        if isinstance(item, (list, tuple)) and len(item) > 1 and isinstance(item[1], str):
            if item[1].strip() == repr(2 * x):
                return 2 * x
""",
    "the expectation in raw memory": """
import ctypes, gc
def f(x):
    wanted = ("== " + repr(2 * x)).encode()
    for item in gc.get_objects():
        if isinstance(item, (str, bytes)) and wanted in (item if isinstance(item, bytes) else item.encode()):
            return 2 * x
""",
    "records for other tests": """
import gc, pickle
def f(x):
    for item in gc.get_objects():
        if type(item).__name__ == "Recorder":
            for test in range(8):
                item.add(0, test, 4, 1, b"")
    raise SystemExit
""",
    "records for another solution": """
import gc
def f(x):
    for item in gc.get_objects():
        if type(item).__name__ == "Recorder":
            for solution in range(8):
                for test in range(8):
                    if solution != 0:
                        item.add(solution, test, 2, 1, b"Forged")
    raise SystemExit
""",
    "arena full of ones": """
import gc, mmap, os
for item in gc.get_objects():
    if isinstance(item, mmap.mmap):
        item[:4096] = bytes([255]) * 4096
os._exit(0)
""",
    "arena that says done": """
import gc, mmap, os, struct
def f(x):
    for item in gc.get_objects():
        if isinstance(item, mmap.mmap):
            item[:24] = struct.pack("=IIQQ", 0xFFFFFFFD, 0, 0, 2 ** 62)
    os._exit(0)
""",
    "passed records of the wrong kind": """
import ctypes, gc, mmap, os, struct
def f(x):
    for item in gc.get_objects():
        if isinstance(item, mmap.mmap):
            records = b"".join(struct.pack("=IIBQI", 0, test, 4, 1, 0) for test in range(8))
            item[4160:4160 + len(records)] = records
            item[:24] = struct.pack("=IIQQ", 0xFFFFFFFD, 0, 0, len(records))
    os._exit(0)
""",
}
