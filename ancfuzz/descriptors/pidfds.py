"""Which process a pidfd is of, with /proc and without.

``/proc/self/fdinfo`` says it outright.  Where there is no /proc, a pidfd is known by
what can be done with it alone (``pidfd_send_signal`` of signal 0, which is sent to
nobody), and this process's by its inode: from Linux 6.9 on each process has its own on
pidfs.

This room must not know how a pidfd came here.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

__all__ = ["GONE", "UNKNOWN", "process_behind", "without_proc"]

GONE = -1
"""Of a pidfd: its process has been reaped."""

UNKNOWN = -2
"""Of a pidfd: some other process, whose number cannot be found out here."""


def process_behind(number: int) -> int | None:
    """The pid that a pidfd refers to, :data:`GONE`, :data:`UNKNOWN`.

    Returns:
        None for anything else than a pidfd, and for a number that is not open.
    """
    try:
        lines = Path(f"/proc/self/fdinfo/{number}").read_bytes().splitlines()
    except OSError:
        return without_proc(number)
    for line in lines:
        if line.startswith(b"Pid:"):
            return int(line.split()[1])
    return None


def without_proc(number: int) -> int | None:
    """As :func:`process_behind`, without asking /proc."""
    send = getattr(signal, "pidfd_send_signal", None)
    if send is None:
        return None
    try:
        send(number, 0)
    except ProcessLookupError:
        return GONE
    except PermissionError:
        return UNKNOWN  # of somebody else's process
    except OSError:  # EBADF: no pidfd
        return None
    own = os.pidfd_open(os.getpid())
    try:
        # Before pidfs all pidfds have one inode: then it is taken for our own, for what
        # nobody can tell is nobody's fault.
        is_own = os.path.samestat(os.fstat(own), os.fstat(number))
    finally:
        os.close(own)
    return os.getpid() if is_own else UNKNOWN
