"""The processes of a session: found by what they are, and signalled without a doubt.

Two things make a process one of ours.  This session's own copy of the shim is mapped in
it: that is inherited by fork and by exec, through daemons and changes of user, and it
is nobody else's.  Or it descends from a command that we started: that also finds
what cannot be recorded, as long as its parents live.

A pid can be given to somebody else between a look and a signal.  So a process is held
by a pidfd that is opened before the look that counts, and the signal goes through it.

This room must not know what is recorded.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

__all__ = ["descendants", "end_all", "has_mapped", "holding", "pids"]

_PROC = Path("/proc")


def pids() -> list[int]:
    """Of every process that can be seen; none without a /proc."""
    try:
        return sorted(int(one.name) for one in _PROC.iterdir() if one.name.isdecimal())
    except OSError:
        return []


def has_mapped(pid: int, library: Path) -> bool:
    """Whether a library is mapped in a process; False if nobody lets us look."""
    try:
        return os.fsencode(library) in (_PROC / str(pid) / "maps").read_bytes()
    except OSError:
        return False  # it is gone, or never was ours to look at


def descendants(ancestors: Iterable[int]) -> Iterator[int]:
    """The pids of children, grandchildren...; of processes that are there to be asked.

    Who has lost its parent is not found.
    """
    for parent in ancestors:
        children: list[int] = []
        # Gone meanwhile; or a kernel without CONFIG_PROC_CHILDREN.
        with contextlib.suppress(OSError):
            for task in (_PROC / str(parent) / "task").iterdir():
                children += map(int, (task / "children").read_bytes().split())
        yield from children
        yield from descendants(children)


def holding(
    stack: contextlib.ExitStack, find: Callable[[], Iterable[int]]
) -> dict[int, int]:
    """By pid, a pidfd of each process that is found, both before and after opening it.

    The stack closes the pidfds.
    """
    held: dict[int, int] = {}
    for pid in find():
        with contextlib.suppress(OSError):  # gone
            held[pid] = os.pidfd_open(pid)
            stack.callback(os.close, held[pid])
    again = frozenset(find()) if held else frozenset[int]()
    return {pid: pidfd for pid, pidfd in held.items() if pid in again}


def end_all(pidfds: Collection[int], number: signal.Signals, seconds: float) -> None:
    """Sends a signal to processes, and waits so long for their ends."""
    poller = select.poll()
    for pidfd in pidfds:
        poller.register(pidfd, select.POLLIN)  # it is readable when the process is gone
        # Gone already, or another user's and we are not root.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(pidfd, number)
    left, end = len(pidfds), time.monotonic() + seconds
    while left and (patience := end - time.monotonic()) > 0:
        for pidfd, _ in poller.poll(patience * 1000):
            poller.unregister(pidfd)
            left -= 1
