"""Ending early, crashing, and printing what a careless reader takes for a verdict."""

ATTACKS = {
    "sys.exit(0)": """
import sys
sys.exit(0)
""",
    "sys.exit(0) in the call": """
import sys
def f(x):
    sys.exit(0)
""",
    "os._exit(0)": """
import os
os._exit(0)
""",
    "os._exit(0) in the call": """
import os
def f(x):
    os._exit(0)
""",
    "quit": """
quit()
""",
    "exit handler that says it passed": """
import atexit
atexit.register(lambda: print("passed"))
raise SystemExit
""",
    "segmentation fault": """
import ctypes
def f(x):
    ctypes.string_at(0)
""",
    "segmentation fault at import": """
import ctypes
ctypes.string_at(0)
""",
    "abort": """
import os
def f(x):
    os.abort()
""",
    "deep recursion in C": """
def f(x):
    value = None
    for _ in range(10 ** 6):
        value = iter_of(value)
    return value
def iter_of(value):
    import itertools
    return itertools.chain(value or ())
""",
    "print a verdict": """
import sys
print("passed")
print('{"outcome": "passed"}')
sys.stderr.write("OK")
def f(x):
    print("passed")
""",
    "raise what the runner might catch": """
class Passed(BaseException):
    pass
def f(x):
    raise Passed("passed")
""",
    "stop iteration": """
def f(x):
    raise StopIteration(2 * x)
""",
    "keyboard interrupt": """
def f(x):
    raise KeyboardInterrupt
""",
    "exception whose text is an attack": """
class Bad(Exception):
    def __str__(self):
        while True:
            pass
Bad.__name__ = "\\x00\\n" * 1000
def f(x):
    raise Bad
""",
    "swallow the assertion": """
import builtins
class Quiet(BaseException):
    pass
builtins.AssertionError = Quiet
def f(x):
    return None
""",
}
