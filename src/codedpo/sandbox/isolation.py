"""The layers that a helper process puts around itself and its children: namespaces, Landlock, seccomp, limits.

Each function applies one layer to the calling process and raises OSError where the kernel refuses;
each ``holds`` function tries what the layer must stop and says whether it was stopped. Standard library only:
this runs in the helper, before and after it has lost its files.
"""

import contextlib
import ctypes
import os
import resource
import socket
import struct
from collections.abc import Iterable
from pathlib import Path

from codedpo.sandbox.seccomp import NUMBERS

_libc = ctypes.CDLL(None, use_errno=True)

_NEW_USER, _NEW_MOUNT, _NEW_PID, _NEW_NET, _NEW_IPC, _NEW_UTS = (
    0x10000000,
    0x00020000,
    0x20000000,
    0x40000000,
    0x08000000,
    0x04000000,
)
_MOUNT_READ_ONLY, _MOUNT_REMOUNT, _MOUNT_BIND, _MOUNT_RECURSIVE, _MOUNT_PRIVATE = 1, 32, 4096, 16384, 1 << 18
_MOUNT_NO_SETUID_DEV_EXEC = 2 | 4 | 8
_DETACH = 2
_PLAIN_FILES = sum(1 << bit for bit in (1, 2, 3, 5, 8, 14))
"""Landlock's rights to write and read files, list a folder, remove and make plain files, and truncate them."""
_DEATH_SIGNAL, _SET_DUMPABLE, _NO_NEW_PRIVILEGES = 1, 4, 38
INSIDE_USER = 65534
HOST_FILES = ("/proc/self/statm", "/etc/passwd")
"""What every user of a host may read: the first is there wherever a helper starts, the second lies on a disk. A file
made for the purpose would be left behind where caller and helpers are killed together."""
CANARY = "/canary"
"""Such a file inside the empty root."""
TEMPORARY_FOLDER = "/tmp"
_MOST_TEMPORARY_FILES = 64
FEW_DESCRIPTORS, MOST_DESCRIPTORS = 64, 4096
"""Open files of a helper and of its children: usually, and where many are alive at once."""


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _system_call(name: str, *arguments: object) -> int:
    return _check(_libc.syscall(NUMBERS[name], *arguments), name)


def die_with_parent(parent: int = 0) -> None:
    """Ask the kernel to kill this process when its parent ends.

    Args:
        parent: its process id, where the caller knows it: the process ends now if the parent has ended already.
    """
    _check(_libc.prctl(_DEATH_SIGNAL, 9, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")
    if parent and os.getppid() != parent:
        os._exit(0)


def drop_root() -> None:
    """Where the process is root, become a user that owns nothing and that no other helper has."""
    if os.geteuid() != 0:
        return
    for user in (1_500_000_000 + os.getpid(), INSIDE_USER):
        try:
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
        except OSError:
            continue
        break
    if os.geteuid() == 0:
        raise PermissionError(1, "setresuid: root could not become another user")
    # A change of user makes /proc/self/uid_map root's; without it no user namespace can be mapped.
    _check(_libc.prctl(_SET_DUMPABLE, 1, 0, 0, 0), "prctl(PR_SET_DUMPABLE)")


def enter_namespaces(temporary_folder_kib: int = 0) -> None:
    """Leave the host's users, mounts, processes, network and IPC; the root becomes an empty read-only folder.

    The caller goes on as process 1 of the new process namespace; the process that called waits for it and
    ends with it.

    Args:
        temporary_folder_kib: size of a writable ``/tmp`` in memory; 0: there is none.
    """
    user, group = os.geteuid(), os.getegid()
    _check(_libc.unshare(_NEW_USER | _NEW_MOUNT | _NEW_PID | _NEW_NET | _NEW_IPC | _NEW_UTS), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{INSIDE_USER} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{INSIDE_USER} {group} 1")
    _mount(None, b"/", None, _MOUNT_RECURSIVE | _MOUNT_PRIVATE, None)
    _mount(b"none", b"/tmp", b"tmpfs", _MOUNT_NO_SETUID_DEV_EXEC, b"size=64k,nr_inodes=8,mode=755")
    os.chdir("/tmp")
    Path("/tmp" + CANARY).write_text("readable by file mode alone")
    Path("/tmp" + CANARY).chmod(0o644)
    if temporary_folder_kib:
        Path("/tmp" + TEMPORARY_FOLDER).mkdir()
        _mount(
            b"none",
            os.fsencode("/tmp" + TEMPORARY_FOLDER),
            b"tmpfs",
            _MOUNT_NO_SETUID_DEV_EXEC,
            f"size={temporary_folder_kib}k,nr_inodes={_MOST_TEMPORARY_FILES},mode=700".encode(),
        )
    # The new root is stacked on the old one, which is then detached from under it (pivot_root(2), NOTES).
    _system_call("pivot_root", b".", b".")
    _check(_libc.umount2(b".", _DETACH), "umount2")
    os.chdir("/")
    _mount(
        None, b"/", None, _MOUNT_REMOUNT | _MOUNT_BIND | _MOUNT_READ_ONLY | _MOUNT_NO_SETUID_DEV_EXEC, None
    )
    first = os.fork()
    if first != 0:
        die_with_parent()
        _wait_for(first)
    die_with_parent()


def _mount(
    source: bytes | None, target: bytes, kind: bytes | None, flags: int, options: bytes | None
) -> None:
    _check(_libc.mount(source, target, kind, ctypes.c_ulong(flags), options), f"mount({target.decode()})")


def _wait_for(pid: int) -> None:
    """End with the given child; hold no descriptor that others wait on."""
    os.closerange(0, 4096)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
    os._exit(0)


def drop_capabilities() -> None:
    """Give up every capability, the ones inside an own user namespace included."""
    header = struct.pack("=Ii", 0x20080522, 0)
    _system_call("capset", header, bytes(24))


def forbid_new_privileges() -> None:
    """Set no_new_privs, which Landlock and seccomp need without privilege."""
    _check(_libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")


def landlock_version() -> int:
    """Return the kernel's Landlock version; raises OSError where it has none."""
    return _system_call("landlock_create_ruleset", None, 0, 1)


def forbid_files(but: str = "", *, signals: bool = True) -> None:
    """Forbid all files, TCP ports and abstract sockets: a Landlock ruleset without a rule, or with one.

    Args:
        but: a folder in which plain files may be made, read, written and removed.
        signals: also forbid signals to processes outside (from version 6); this covers the signal that the kernel
            sends to a child when its parent ends.
    """
    version = landlock_version()
    files = (1 << (13 if version < 2 else 14 if version < 3 else 15 if version < 5 else 16)) - 1
    attributes = struct.pack(
        "=QQQ", files, 3 if version >= 4 else 0, (3 if signals else 1) if version >= 6 else 0
    )
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = _system_call("landlock_create_ruleset", attributes, size, 0)
    try:
        if but:
            folder = os.open(but, os.O_PATH | os.O_DIRECTORY)
            rule = struct.pack("=Qi", files & _PLAIN_FILES, folder)
            _system_call("landlock_add_rule", ruleset, 1, rule, 0)
            os.close(folder)
        _system_call("landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)


def empty(folder: str) -> None:
    """Remove the files of a folder that holds nothing but files."""
    for file in Path(folder).iterdir():
        file.unlink()


def used_address_space() -> int:
    """Return the address space of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def limit_helper(address_space: int) -> None:
    """Limit what a helper process itself may use; its children may be allowed more memory than it is."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (address_space, resource.getrlimit(resource.RLIMIT_AS)[1]))
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = MOST_DESCRIPTORS if allowed == resource.RLIM_INFINITY else min(MOST_DESCRIPTORS, allowed)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FEW_DESCRIPTORS, most), most))


def allow_descriptors(count: int) -> None:
    """Let this helper and the children that it makes from now on have so many open files, as far as its limit goes."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, most), most))


def files_are_hidden(paths: Iterable[str]) -> bool:
    """Try to open files that every user may read."""
    for path in paths:
        with contextlib.suppress(OSError), Path(path).open("rb"):
            return False
    return True


def host_port_is_closed(port: int) -> bool:
    """Try to connect to a port on which the host listens."""
    with socket.socket() as connection:
        connection.settimeout(1)
        return connection.connect_ex((b"127.0.0.1", port)) != 0


def host_process_is_hidden(pid: int) -> bool:
    """Look for a process of the host by its id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def sockets_are_refused() -> bool:
    """Try to make a network socket."""
    number = _libc.syscall(NUMBERS["socket"], 2, 1, 0)
    if number >= 0:
        os.close(number)
    return bool(number < 0)
