"""The helper that forks locked children: isolates itself once, then runs jobs, one at a time.

It never executes untrusted code and never sees an expectation. It reads jobs from descriptor 3 and writes
results to descriptor 4 (``wire``). A child that misbehaves costs a child; the zygote goes on. Standard library only.
"""

import _sitebuiltins
import builtins
import gc
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

from codedpo.sandbox import isolation, jobs, preload, seccomp, stopwatch, wire
from codedpo.sandbox.forker import Forker


class Zygote:
    """Isolates this process; its forker then makes the children."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._child_filter: seccomp.Filter | None = None

    def isolate(self) -> tuple[Forker, list[str], list[str]]:
        """Apply every layer that is wanted and holds; return forker, names of layers, what is missing and why."""
        layers: list[str] = []
        problems: list[str] = []
        wanted = self._options["layers"]
        visible: tuple[str, ...] = isolation.HOST_FILES
        folder = ""
        address_space, was_root = isolation.used_address_space(), os.geteuid() == 0
        isolation.limit_helper(address_space + (2 << 30))
        layers.append("limits")
        try:
            isolation.drop_root()
        except OSError as error:
            problems.append(f"user: {error}; run as a user other than root, or as root with CAP_SETUID.")
        if "namespaces" in wanted:
            self._enter_namespaces(layers, problems)
        if "namespaces" in layers:
            visible = (isolation.CANARY,)
            folder = isolation.TEMPORARY_FOLDER if self._options["temporary_folder_kib"] else ""
        isolation.die_with_parent()
        try:
            if "landlock" in wanted or "seccomp" in wanted:
                isolation.forbid_new_privileges()
                isolation.drop_capabilities()
        except OSError as error:
            problems.append(f"no_new_privs: {error}; needs Linux 3.5.")
        if "landlock" in wanted:
            try:
                isolation.forbid_files(folder)
                if not isolation.files_are_hidden(visible):
                    raise PermissionError(0, "a world-readable file could still be read")
                layers.append("landlock")
            except OSError as error:
                problems.append(
                    f"landlock: {error}; needs Linux 5.13 with `landlock` in the kernel's lsm= list, and a container"
                    " profile that lets its system calls through."
                )
        if "seccomp" in wanted:
            self._lock_calls(layers, problems, seccomp.TEMPORARY_FOLDER_RULES if folder else ())
        forker = Forker(address_space, counts_own_processes=was_root or "namespaces" in layers, folder=folder)
        forker.filter = self._child_filter
        return forker, layers, problems

    def _enter_namespaces(self, layers: list[str], problems: list[str]) -> None:
        try:
            isolation.enter_namespaces(self._options["temporary_folder_kib"])
            for stopped, what in (
                (
                    isolation.files_are_hidden(isolation.HOST_FILES),
                    "a file of the host could still be read",
                ),
                (
                    isolation.host_port_is_closed(self._options["port"]),
                    "a port of the host could still be reached",
                ),
                (
                    isolation.host_process_is_hidden(self._options["oracle_pid"]),
                    "a process of the host could be seen",
                ),
            ):
                if not stopped:
                    raise PermissionError(0, what)
            layers.append("namespaces")
        except OSError as error:
            threads = Path(
                "/proc/self/task"
            )  # Not there where the new root is, and only a probe found it wanting.
            if threads.exists() and threads.stat().st_nlink > 3:  # One link a thread, and two.
                problems.append(
                    "namespaces: a preloaded module has started threads; leave it out of sandbox.modules."
                )
                return
            problems.append(
                f"namespaces: {error}; allow unprivileged user namespaces"
                " (sysctl kernel.unprivileged_userns_clone=1 and kernel.apparmor_restrict_unprivileged_userns=0),"
                " or in Docker use --security-opt seccomp=unconfined."
            )

    def _lock_calls(self, layers: list[str], problems: list[str], more: tuple[seccomp.Rule, ...]) -> None:
        try:
            helper = seccomp.Filter(seccomp.build((*seccomp.HELPER_RULES, *more), allow_others=False))
            self._child_filter = seccomp.Filter(seccomp.build(seccomp.CHILD_RULES, allow_others=True))
            helper.install()
            if not isolation.sockets_are_refused():
                raise PermissionError(0, "a socket could still be made")
            if not self._child_is_locked():
                raise PermissionError(0, "a child could still fork")
            layers.append("seccomp")
        except (OSError, KeyError) as error:
            self._child_filter = None
            problems.append(
                f"seccomp: {error}; needs Linux 4.14 on x86_64 or aarch64 with CONFIG_SECCOMP_FILTER,"
                " and a container profile that lets seccomp through."
            )

    def _child_is_locked(self) -> bool:
        """Let a locked child try to fork and to signal its parent."""
        pid = os.fork()
        if pid == 0:
            outcome = 1
            try:
                assert self._child_filter
                self._child_filter.install()
                outcome = 0
                try:
                    if os.fork() == 0:
                        os._exit(0)
                    outcome = 2
                except OSError:
                    pass
                try:
                    os.kill(os.getppid(), 0)
                    outcome = 3
                except PermissionError:
                    pass
            finally:
                os._exit(outcome)
        return os.waitpid(pid, 0)[1] == 0


def prepare_image() -> None:
    """Make the image that children are forked from: no path to import from, nothing to collect, signals blocked.

    Programs end with ``exit()`` and ``quit()``, which only an interpreter with site packages has.
    """
    for name in ("exit", "quit"):
        setattr(builtins, name, _sitebuiltins.Quitter(name, "Ctrl-D (i.e. EOF)"))
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    sys.path.clear()
    sys.path_importer_cache.clear()
    gc.collect()
    gc.freeze()


def main() -> None:
    """Read the options, isolate, then serve jobs until the oracle closes the pipe."""
    channel = wire.take_standard_channel()
    options = channel.receive()
    warnings.simplefilter("ignore")
    if options["paths"] is None:
        preload.find_own_packages()
    else:
        sys.path.extend(options["paths"])
    missing, versions = preload.load(options["preload"])
    forker, layers, problems = Zygote(options).isolate()
    prepare_image()
    os.dup2(0, 2)
    channel.send(
        {
            "layers": layers,
            "problems": problems,
            "temporary_folder": bool(forker.folder),
            "missing": missing,
            "version": sys.version,
            "libraries": versions,
        }
    )
    while True:
        request = channel.receive()
        if request is None:
            return
        kind, work = request
        if kind == "time":
            channel.send(stopwatch.run(forker, stopwatch.TimingWork(*work)))
        else:
            run = jobs.Run(forker, jobs.Work(*work), channel.send_bytes)
            run.everything()
            channel.send((run.events, run.peaks))
