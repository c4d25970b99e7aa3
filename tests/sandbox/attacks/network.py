"""Reaching the network, and kernel interfaces that reach round a filter."""

ATTACKS = {
    "connect": """
import socket
def f(x):
    socket.create_connection(("127.0.0.1", 22), timeout=1)
    return 2 * x
""",
    "make a socket": """
import socket
def f(x):
    return 2 * x if socket.socket() else None
""",
    "datagram": """
import socket
def f(x):
    return 2 * x if socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 53)) else None
""",
    "packet socket": """
import socket
def f(x):
    return 2 * x if socket.socket(17, socket.SOCK_RAW) else None
""",
    "local socket": """
import socket
def f(x):
    return 2 * x if socket.socket(socket.AF_UNIX) else None
""",
    "kernel socket": """
import socket
def f(x):
    return 2 * x if socket.socket(16, socket.SOCK_RAW, 0) else None
""",
    "name look-up": """
import socket
def f(x):
    return 2 * x if socket.gethostbyname("localhost.localdomain") else None
""",
    "download": """
from urllib.request import urlopen
def f(x):
    return 2 * x if urlopen("http://127.0.0.1/") else None
""",
    "io_uring": """
import ctypes
parameters = ctypes.create_string_buffer(120)
result = ctypes.CDLL(None).syscall(425, 4, parameters)
def f(x):
    return 2 * x if result >= 0 else None
""",
    "bpf": """
import ctypes, platform
result = ctypes.CDLL(None).syscall(321 if platform.machine() == "x86_64" else 280, 0, 0, 0)
def f(x):
    return 2 * x if result >= 0 else None
""",
    "keys of the kernel": """
import ctypes, platform
result = ctypes.CDLL(None).syscall(248 if platform.machine() == "x86_64" else 217, b"user", b"a", b"b", 1, -3)
def f(x):
    return 2 * x if result >= 0 else None
""",
    "32-bit system calls": """
import ctypes
result = ctypes.CDLL(None).syscall(0x40000000 + 41, 2, 1, 0)
def f(x):
    return 2 * x if result >= 0 else None
""",
    "performance counters": """
import ctypes, platform
buffer = ctypes.create_string_buffer(128)
result = ctypes.CDLL(None).syscall(298 if platform.machine() == "x86_64" else 241, buffer, 0, -1, -1, 0)
def f(x):
    return 2 * x if result >= 0 else None
""",
}
