"""Changing the interpreter beneath the runner; the answer is wrong, and only the change could make it right."""

ATTACKS = {
    "no exit": """
import os
os._exit = lambda code=0: None
def f(x):
    return None
""",
    "another pickle": """
import pickle
pickle.dumps = lambda *a, **k: b"\\x80\\x05K\\x02."
pickle.Pickler = None
def f(x):
    return None
""",
    "another struct": """
import struct
struct.Struct = None
struct.pack = lambda *a: b""
def f(x):
    return None
""",
    "another eval": """
import builtins
builtins.eval = lambda *a: 2
builtins.exec = lambda *a: None
builtins.compile = lambda *a, **k: None
def f(x):
    return None
""",
    "another type and isinstance": """
import builtins
builtins.isinstance = lambda *a: True
builtins.type = lambda *a: int
def f(x):
    return None
""",
    "no builtins": """
import builtins
for name in list(vars(builtins)):
    if not name.startswith("_"):
        delattr(builtins, name)
def f(x):
    return None
""",
    "trace": """
import sys
def trace(frame, event, argument):
    frame.f_locals
    return trace
sys.settrace(trace)
def f(x):
    return None
""",
    "profile": """
import sys
sys.setprofile(lambda frame, event, argument: None)
def f(x):
    return None
""",
    "broken imports": """
import sys
sys.modules.clear()
sys.meta_path.clear()
def f(x):
    return None
""",
    "frozen clock": """
import time
time.process_time_ns = lambda: 0
def f(x):
    while True:
        pass
""",
    "runner of its own": """
import sys
runner = sys.modules.get("codedpo.sandbox.child")
if runner:
    runner.Runner.run_one = lambda *a, **k: None
    runner.values.write = lambda value: b"\\x80\\x05K\\x02."
def f(x):
    return None
""",
    "hook of the audit": """
import sys
def hook(event, arguments):
    raise RuntimeError
sys.addaudithook(hook)
def f(x):
    return None
""",
    "raw writes into the code": """
import ctypes
ctypes.memset(id(None) + 16, 255, 8)
def f(x):
    return None
""",
}
