"""Forking itself, in a process of its own that is not isolated."""

import subprocess
import sys

_FORKER = """
import os, resource
from codedpo.sandbox import isolation
from codedpo.sandbox.forker import Bounds, Forker
forker = Forker(isolation.used_address_space(), counts_own_processes=False)
bounds = Bounds(cpu_seconds=1, wall_factor=1, memory_mib=64, threads=1, output_kib=64, steps=1)
"""


def output_of(program: str) -> str:
    """Return what a program and its children print, which ends when they have ended."""
    done = subprocess.run(
        [sys.executable, "-c", _FORKER + program], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def test_a_child_whose_parent_has_ended_runs_nothing() -> None:
    """As where a worker is killed just when it has forked: nobody would end a loop."""
    program = """
import time
parent, close = os.getpid(), os.closerange
def close_when_it_has_ended(*numbers):
    while os.getppid() == parent:
        time.sleep(0.01)
    close(*numbers)
os.closerange = close_when_it_has_ended  # A child's first step, before it asks to end with its parent.
forker.fork(bounds, lambda: os.write(1, b"ran"))
os._exit(0)
"""
    assert output_of(program) == ""


def test_a_fork_that_the_kernel_refuses_says_why() -> None:
    program = """
if os.getuid() == 0:
    os.setuid(65534)  # Root's processes are not counted.
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
try:
    forker.fork(bounds, lambda: None)
except BlockingIOError as error:
    print(error.errno)
"""
    assert output_of(program) == "11\n"
