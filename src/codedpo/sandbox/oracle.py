"""The process that holds the expectations and reaches the verdicts; it never runs what a model wrote.

It sits between the caller and the zygote: it keeps what a call should return, sends the zygote the rest, and
compares what the children claim. It distrusts every byte of theirs, and is itself limited and filtered, since it
reads those bytes. Standard library only.
"""

import os
import select
import struct
import sys
from typing import Any

from codedpo.sandbox import isolation, seccomp, values, wire
from codedpo.sandbox.judge import Judge, expectation_of, records_of, with_reference

_ADDRESS_SPACE = 4 << 30
_LOOK_SECONDS = 1.0
"""How often a waiting process looks whether its caller is still there."""
_REFERENCE_PATIENCE = 10.0
"""A reference solution may use so many times the CPU time of a candidate."""


class _Task:
    """One job as the caller sent it."""

    def __init__(self, request: Any) -> None:
        self.solutions, checks, self.reference = request
        self.expectations = [expectation_of(*check, referred=bool(self.reference)) for check in checks]
        self.sources = [
            (each.split, check[1] if each.split else check[0] or f"assert ({check[1]}) == ({check[2]})")
            for each, check in zip(self.expectations, checks, strict=True)
        ]
        self.stdin = [None if check[3] is None else check[3].encode() for check in checks]


class Oracle:
    """One worker: a zygote, and the judging of its jobs."""

    def __init__(self, zygote: wire.Channel, parent: int) -> None:
        self._zygote = zygote
        self._parent = parent

    def run(self, request: Any) -> Any:
        """Run jobs that the caller sent; return for each its cells, and the peak memory of each solution in KiB."""
        requests, limits, child_per = request
        tasks = [_Task(one) for one in requests]
        self._ask_references([task for task in tasks if task.reference], limits)
        work = [(task.solutions, task.sources, task.stdin) for task in tasks]
        chunks, events, peaks = self._run_children((work, *limits, child_per))
        judges = [Judge(task.expectations, len(task.solutions), limits[0]) for task in tasks]
        owners = [
            (judge, local)
            for judge, task in zip(judges, tasks, strict=True)
            for local in range(len(task.solutions))
        ]
        for first, end, chunk in chunks:
            for solution, test, kind, cpu_ns, content in records_of(chunk):
                if (
                    first <= solution < end
                ):  # A child speaks for the solutions that it was given, for no other.
                    judge, local = owners[solution]
                    judge.hear(local, test, kind, cpu_ns, content)
        for solution, test, how, cpu_ns in events:
            judge, local = owners[solution]
            judge.note(local, test, how, cpu_ns)
        ends = iter(peaks)
        return [(judge.cells, [next(ends) for _ in judge.cells]) for judge in judges]

    def _ask_references(self, tasks: list[_Task], limits: Any) -> None:
        """Run the references, each in a child of its own, and take their values as expectations."""
        if not tasks:
            return
        work = [([task.reference], task.sources, task.stdin) for task in tasks]
        patient = (limits[0] * _REFERENCE_PATIENCE, *limits[1:])
        chunks, _, _ = self._run_children((work, *patient, "solution"))
        records = [record for _, _, chunk in chunks for record in records_of(chunk)]
        for number, task in enumerate(tasks):
            task.expectations = with_reference(
                task.expectations, [record for record in records if record[0] == number]
            )

    def _run_children(self, request: Any) -> tuple[list[tuple[int, int, bytes]], Any, Any]:
        """Have the zygote run children; return what each wrote about which solutions, events, and peaks of memory."""
        chunks = []
        reply = self.exchange("run", request)
        while len(reply) == 3:
            first, end, size = reply
            chunks.append((first, end, self._zygote.receive_bytes(size)))
            reply = self._receive()
        events, peaks = reply
        return chunks, events, peaks

    def exchange(self, kind: str, request: Any) -> Any:
        """Send the zygote a request and return its reply.

        Raises:
            EOFError: it ended.
        """
        self._zygote.send((kind, request))
        return self._receive()

    def _receive(self) -> Any:
        wait_for(self._zygote, self._parent)
        reply = self._zygote.receive()
        if reply is None:
            raise EOFError("the zygote ended")
        return reply


def wait_for(channel: wire.Channel, parent: int) -> None:
    """Wait until something can be read.

    Raises:
        EOFError: the caller ended meanwhile.
    """
    while not select.select([channel.inlet], [], [], _LOOK_SECONDS)[0]:
        if os.getppid() != parent:
            raise EOFError("the caller ended")


def start_zygote(argv: list[str], environment: dict[str, str]) -> tuple[int, wire.Channel]:
    """Start the zygote's interpreter; return its process id and the channel to it."""
    to_zygote, from_zygote = os.pipe(), os.pipe()
    actions = [(os.POSIX_SPAWN_DUP2, to_zygote[0], 0), (os.POSIX_SPAWN_DUP2, from_zygote[1], 1)]
    pid = os.posix_spawnp(argv[0], argv, environment, file_actions=actions)
    os.close(to_zygote[0])
    os.close(from_zygote[1])
    return pid, wire.Channel(from_zygote[0], to_zygote[1])


def lock() -> list[str]:
    """Limit and filter this process; what the kernel cannot do is named, not raised: the zygote decides the level."""
    missing = []
    isolation.limit_helper(_ADDRESS_SPACE)
    for name, layer in (
        ("no_new_privs", isolation.forbid_new_privileges),
        ("landlock", lambda: isolation.forbid_files(signals=False)),
        (
            "seccomp",
            lambda: seccomp.Filter(seccomp.build(seccomp.ORACLE_RULES, allow_others=False)).install(),
        ),
    ):
        try:
            layer()
        except (OSError, KeyError) as error:
            missing.append(f"{name}: {error}")
    return missing


def main() -> None:
    """Serve a caller on standard input and output until it closes them or ends."""
    parent = os.getppid()
    caller = wire.take_standard_channel()
    options = caller.receive()
    _, zygote = start_zygote(options["zygote_argv"], options["environment"])
    wire.write_all(zygote.outlet, options["zygote_source"])
    options["zygote"]["oracle_pid"] = os.getpid()
    zygote.send(options["zygote"])
    ready = zygote.receive()
    if ready is None:
        sys.exit(1)
    lock()
    try:
        caller.send(ready)
    except BrokenPipeError:
        return
    os.dup2(0, 2)
    oracle = Oracle(zygote, parent)
    while True:
        try:
            wait_for(caller, parent)
            request = caller.receive()
            if request is None:
                return
            kind, work = request
            caller.send(oracle.exchange("time", work) if kind == "time" else oracle.run(work))
        except (EOFError, struct.error, values.OpaqueError, BrokenPipeError):
            return
