"""System call filters as raw BPF programs, for x86_64 and aarch64.

The helper processes get an allow-list; a child that runs untrusted code gets a second filter on top, which
takes away what only a helper needs: new processes, signals, limits, further filters.
Numbers: ``asm/unistd_64.h`` and ``asm-generic/unistd.h`` of the Linux kernel.
"""

import ctypes
import errno
import os
import platform

_PLAIN = (
    "read=0/63 write=1/64 close=3/57 fstat=5/80 lseek=8/62 mmap=9/222 mprotect=10/226 munmap=11/215 brk=12/214 "
    "rt_sigaction=13/134 rt_sigprocmask=14/135 rt_sigreturn=15/139 pread64=17/67 pwrite64=18/68 readv=19/65 "
    "writev=20/66 access=21/- pipe=22/- pipe2=293/59 select=23/- pselect6=270/72 poll=7/- ppoll=271/73 "
    "sched_yield=24/124 mremap=25/216 madvise=28/233 dup=32/23 dup2=33/- dup3=292/24 nanosleep=35/101 "
    "clock_nanosleep=230/115 getitimer=36/102 setitimer=38/103 alarm=37/- pause=34/- getpid=39/172 gettid=186/178 "
    "getppid=110/173 exit=60/93 exit_group=231/94 wait4=61/260 waitid=247/95 uname=63/160 fcntl=72/25 "
    "ftruncate=77/46 getcwd=79/17 getdents64=217/61 stat=4/- lstat=6/- newfstatat=262/79 statx=332/291 open=2/- "
    "openat=257/56 readlink=89/- readlinkat=267/78 faccessat=269/48 faccessat2=439/439 getuid=102/174 "
    "geteuid=107/175 getgid=104/176 getegid=108/177 getresuid=118/148 getresgid=120/150 getgroups=115/158 "
    "getpgrp=111/- getpgid=121/155 getsid=124/156 gettimeofday=96/169 time=201/- getrlimit=97/163 "
    "getrusage=98/165 sysinfo=99/179 times=100/153 sigaltstack=131/132 rt_sigtimedwait=128/137 "
    "rt_sigpending=127/136 rt_sigsuspend=130/133 futex=202/98 sched_getaffinity=204/123 set_tid_address=218/96 "
    "set_robust_list=273/99 rseq=334/293 getrandom=318/278 epoll_create=213/- epoll_create1=291/20 "
    "epoll_ctl=233/21 epoll_wait=232/- epoll_pwait=281/22 eventfd2=290/19 timerfd_create=283/85 "
    "timerfd_settime=286/86 timerfd_gettime=287/87 sendto=44/206 recvfrom=45/207 shutdown=48/210 "
    "getsockname=51/204 getsockopt=55/209 setsockopt=54/208 membarrier=324/283 clock_gettime=228/113 "
    "clock_getres=229/114 close_range=436/436 mincore=27/232 arch_prctl=158/- restart_syscall=219/128 "
    "getcpu=309/168"
)
_GUARDED = (
    "clone=56/220 clone3=435/435 fork=57/- vfork=58/- kill=62/129 tkill=200/130 tgkill=234/131 "
    "memfd_create=319/279 seccomp=317/277 prctl=157/167 prlimit64=302/261 setrlimit=160/164 socketpair=53/199 "
    "ioctl=16/29 sched_setaffinity=203/122"
)
_ELSEWHERE = (
    "landlock_create_ruleset=444/444 landlock_add_rule=445/445 landlock_restrict_self=446/446 "
    "pivot_root=155/41 capset=126/91 socket=41/198 execve=59/221 unlink=87/- unlinkat=263/35"
)
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}


def _numbers(table: str) -> dict[str, int]:
    column = _MACHINES.get(platform.machine(), (0, 0))[0]
    pairs = (entry.split("=") for entry in table.split())
    return {name: int(both.split("/")[column]) for name, both in pairs if both.split("/")[column] != "-"}


NUMBERS = _numbers(f"{_PLAIN} {_GUARDED} {_ELSEWHERE}")
"""System call numbers of this machine by name."""

_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _JUMP_EQUAL, _AND, _RETURN = 0x20, 0x15, 0x54, 0x06
_ALL_BITS = 0xFFFFFFFF

_NEW_NAMESPACES, _CLONE_THREAD = 0x7E020080, 0x00010000
_DEATH_SIGNAL, _NAME_SET, _NAME_GET, _NO_NEW_PRIVILEGES, _NAME_MEMORY = 1, 15, 16, 38, 0x53564D41
_REAL_TIMER = 0
"""A timer of CPU time would make the process's CPU clock coarse."""
_PLAIN_FCNTL = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032)
"""Duplicates, flags, locks, size of a pipe. Not who is signalled when data comes, and by what signal."""
_TERMINAL_AND_BLOCKING = (0x5401, 0x5421, 0x541B, 0x5450, 0x5451)

Instruction = tuple[int, int, int, int]
Condition = tuple[int, int, tuple[int, ...]]
"""Index of an argument, a mask, and the values that the masked argument may have."""
Rule = tuple[str, Condition | None, int]
"""A system call, the condition under which it is allowed (None: always), and the errno where it does not hold."""

HELPER_RULES: tuple[Rule, ...] = (
    *((name, None, 0) for name in _numbers(_PLAIN)),
    ("clone", (0, _NEW_NAMESPACES, (0,)), errno.EPERM),
    ("clone3", (0, 0, (1,)), errno.ENOSYS),
    *((name, None, 0) for name in ("kill", "memfd_create", "seccomp", "setrlimit", "sched_setaffinity")),
    (
        "prctl",
        (0, _ALL_BITS, (_DEATH_SIGNAL, _NAME_SET, _NAME_GET, _NO_NEW_PRIVILEGES, _NAME_MEMORY)),
        errno.EPERM,
    ),
    ("prlimit64", (0, _ALL_BITS, (0,)), errno.EPERM),
    ("socketpair", (0, _ALL_BITS, (1,)), errno.EPERM),
    ("ioctl", (1, _ALL_BITS, _TERMINAL_AND_BLOCKING), errno.ENOTTY),
)
"""What a helper may call: everything else fails with EPERM."""

TEMPORARY_FOLDER_RULES: tuple[Rule, ...] = tuple(
    (name, None, 0) for name in ("unlink", "unlinkat", "landlock_create_ruleset", "landlock_restrict_self")
)
"""What a helper may call beyond ``HELPER_RULES`` where children have a temporary folder: it empties the folder, and
withholds it from children that run side by side."""

CHILD_RULES: tuple[Rule, ...] = (
    ("clone", (0, _CLONE_THREAD, (_CLONE_THREAD,)), errno.EAGAIN),
    ("prctl", (0, _ALL_BITS, (_NAME_SET, _NAME_GET, _NAME_MEMORY)), errno.EPERM),
    ("prlimit64", (2, _ALL_BITS, (0,)), errno.EPERM),
    ("setitimer", (0, _ALL_BITS, (_REAL_TIMER,)), errno.EPERM),
    ("fcntl", (1, _ALL_BITS, _PLAIN_FCNTL), errno.EPERM),
    *(
        (name, (0, 0, (1,)), errno.EPERM)
        for name in (
            *("kill", "memfd_create", "seccomp", "setrlimit", "sched_setaffinity"),
            *("landlock_create_ruleset", "landlock_restrict_self"),
        )
    ),
)
"""What a child loses beyond ``HELPER_RULES``: everything else stays as it is."""


ORACLE_RULES = tuple(rule for rule in HELPER_RULES if rule[0] not in ("kill", "memfd_create"))
"""What the oracle may call: it forks, but signals nobody."""


def _block(name: str, condition: Condition | None, error: int) -> list[Instruction]:
    """Return the instructions that decide one system call, entered with its number loaded."""
    if condition is None:
        return [(_JUMP_EQUAL, 0, 1, NUMBERS[name]), (_RETURN, 0, 0, _ALLOW)]
    argument, mask, values = condition
    body: list[Instruction] = [(_LOAD, 0, 0, 16 + 8 * argument), (_AND, 0, 0, mask)]
    for value in values:
        body += [(_JUMP_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW)]
    body.append((_RETURN, 0, 0, _ERRNO | error))
    return [(_JUMP_EQUAL, 0, len(body), NUMBERS[name]), *body]


def build(rules: tuple[Rule, ...], *, allow_others: bool) -> bytes:
    """Return a BPF program that applies ``rules`` and to all other calls its default.

    Args:
        rules: system call, condition on one argument (None: always allowed), errno where it does not hold.
        allow_others: whether a call without a rule is allowed; else it fails with EPERM.
    """
    architecture = _MACHINES[platform.machine()][1]
    program: list[Instruction] = [
        (_LOAD, 0, 0, 4),
        (_JUMP_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
    ]
    for name, condition, error in rules:
        if name in NUMBERS:
            program += _block(name, condition, error)
    program.append((_RETURN, 0, 0, _ALLOW if allow_others else _ERRNO | errno.EPERM))
    return b"".join(
        code.to_bytes(2, "little") + bytes((if_true, if_false)) + value.to_bytes(4, "little")
        for code, if_true, if_false, value in program
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.c_char_p))


class Filter:
    """A program laid out once, so that a forked child installs it with one call."""

    def __init__(self, program: bytes) -> None:
        self._bytes = program
        self._program = _Program(len(program) // 8, program)
        self._pointer = ctypes.byref(self._program)
        self._call = ctypes.CDLL(None, use_errno=True).syscall

    def install(self) -> None:
        """Put the calling process under the filter, for good.

        Raises:
            OSError: the kernel refused.
        """
        if self._call(NUMBERS["seccomp"], 1, 0, self._pointer) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"seccomp: {os.strerror(number)}")
