"""Making processes, signalling them, tracing them, gaining privilege."""

ATTACKS = {
    "fork bomb": """
import os
def f(x):
    for _ in range(64):
        os.fork()
    return 2 * x
""",
    "fork, the child answers": """
import os
pid = os.fork()
def f(x):
    return 2 * x
""",
    "daemon that outlives its parent": """
import os
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True:
            pass
def f(x):
    return 2 * x
""",
    "new session": """
import os
os.setsid()
def f(x):
    return 2 * x
""",
    "raw clone": """
import ctypes, platform
number = 56 if platform.machine() == "x86_64" else 220
result = ctypes.CDLL(None).syscall(number, 17, 0, 0, 0, 0)
def f(x):
    return 2 * x if result >= 0 else None
""",
    "raw vfork": """
import ctypes
result = ctypes.CDLL(None).vfork()
def f(x):
    return 2 * x if result >= 0 else None
""",
    "subprocess": """
import subprocess
def f(x):
    return 2 * x if subprocess.run(["/bin/true"]).returncode == 0 else None
""",
    "os.system": """
import os
def f(x):
    return 2 * x if os.system("true") == 0 else None
""",
    "exec": """
import os
def f(x):
    os.execv("/bin/true", ["true"])
""",
    "posix_spawn": """
import os
def f(x):
    return 2 * x if os.posix_spawn("/bin/true", ["true"], {}) else None
""",
    "multiprocessing": """
import multiprocessing
def f(x):
    with multiprocessing.Pool(1) as pool:
        return pool.apply(int, (2 * x,))
""",
    "have the kernel signal the parent": """
import ctypes, os
libc = ctypes.CDLL(None)
def f(x):
    inlet, outlet = os.pipe()
    owner, signal = libc.fcntl(inlet, 8, os.getppid()), libc.fcntl(inlet, 10, 19)
    return 2 * x if owner == signal == 0 else None
""",
    "kill every process": """
import os
os.kill(-1, 9)
def f(x):
    return 2 * x
""",
    "kill the parent": """
import os
os.kill(os.getppid(), 9)
def f(x):
    return 2 * x
""",
    "stop the parent": """
import os, signal
os.kill(os.getppid(), signal.SIGSTOP)
def f(x):
    return 2 * x
""",
    "kill process 1": """
import os
os.kill(1, 9)
def f(x):
    return 2 * x
""",
    "kill the process group": """
import os
os.killpg(0, 9)
def f(x):
    return 2 * x
""",
    "trace the parent": """
import ctypes, os
result = ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0)
def f(x):
    return 2 * x if result == 0 else None
""",
    "write the parent's memory": """
import ctypes, os
libc = ctypes.CDLL(None)
buffer = ctypes.create_string_buffer(8)
vector = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)
result = libc.process_vm_writev(os.getppid(), vector, 1, vector, 1, 0)
def f(x):
    return 2 * x if result > 0 else None
""",
    "a user namespace of its own": """
import ctypes
result = ctypes.CDLL(None).unshare(0x10000000)
def f(x):
    return 2 * x if result == 0 else None
""",
    "become root": """
import os
os.setuid(0)
def f(x):
    return 2 * x
""",
    "mount": """
import ctypes
result = ctypes.CDLL(None).mount(b"none", b"/", b"tmpfs", 0, None)
def f(x):
    return 2 * x if result == 0 else None
""",
    "another filter that lets everything through": """
import ctypes, platform
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint16), ("instructions", ctypes.c_char_p)]
program = Program(1, bytes.fromhex("060000000000ff7f"))
number = 317 if platform.machine() == "x86_64" else 277
result = ctypes.CDLL(None).syscall(number, 1, 0, ctypes.byref(program))
def f(x):
    return 2 * x if result == 0 else None
""",
    "survive the parent": """
import ctypes
result = ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
def f(x):
    return 2 * x if result == 0 else None
""",
    "become dumpable and attach nothing": """
import ctypes
result = ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
def f(x):
    return 2 * x if result == 0 else None
""",
}
