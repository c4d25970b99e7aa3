"""Not ending."""

ATTACKS = {
    "endless loop": """
def f(x):
    while True:
        pass
""",
    "endless loop at import": """
while True:
    pass
""",
    "sleep": """
import time
def f(x):
    time.sleep(1000)
""",
    "sleep without the clock": """
import threading
def f(x):
    threading.Event().wait()
""",
    "dead lock": """
import threading
lock = threading.Lock()
def f(x):
    lock.acquire()
    lock.acquire()
""",
    "huge power": """
def f(x):
    return 10 ** 10 ** 8 and None
""",
    "regular expression": """
import re
def f(x):
    return re.match("(a+)+$", "a" * 40 + "b")
""",
    "swallow every exception": """
def f(x):
    while True:
        try:
            while True:
                pass
        except BaseException:
            continue
""",
    "block every signal": """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
def f(x):
    while True:
        pass
""",
    "handle the alarm": """
import signal
for number in (signal.SIGALRM, signal.SIGXCPU, signal.SIGTERM, signal.SIGPROF, signal.SIGVTALRM):
    signal.signal(number, signal.SIG_IGN)
def f(x):
    while True:
        pass
""",
    "recurse without end": """
import sys
sys.setrecursionlimit(10 ** 9)
def f(x):
    return f(x)
""",
    "pretend that a new test began": """
import gc, mmap, threading, time
def flip():
    arenas = [item for item in gc.get_objects() if isinstance(item, mmap.mmap)]
    step = 0
    while True:
        step += 1
        for arena in arenas:
            arena[4:8] = (step % 4).to_bytes(4, "little")
        time.sleep(0.01)
threading.Thread(target=flip, daemon=True).start()
def f(x):
    while True:
        pass
""",
    "finaliser that does not end": """
class A:
    def __del__(self):
        while True:
            pass
def f(x):
    A()
    return 2 * x
""",
    "exit handler that does not end": """
import atexit, os
@atexit.register
def forever():
    while True:
        pass
def f(x):
    raise SystemExit
""",
}
