"""What a user namespace makes of ids and capabilities (user_namespaces(7)).

A container without a root of its own lives in one: it knows some user ids and no
others, and it is root among what it made and nobody outside.  Sockets carry the
kernel's ids, and each reader is told them in the words of its own namespace.

Where there is no /proc, or a kernel without namespaces, all is as in the first one.
This room must not know what is done with any of it.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Final, NamedTuple

from ancfuzz.naming import OVERFLOW_ID

__all__ = ["Ids", "is_first", "known_ids", "owns_its_processes"]

_FIRST: Final = 0xEFFFFFFD  # PROC_USER_INIT_INO, linux/proc_ns.h
_NS_GET_USERNS: Final = 0xB701  # linux/nsfs.h
_ALL: Final = [(0, 0, 0xFFFFFFFF)]


class Ids(NamedTuple):
    """What is known of ids.

    Attributes:
        known: those that exist here, as (first, how many); () for all.
        root: what the kernel's 0 is called here.
    """

    known: tuple[tuple[int, int], ...] = ()
    root: int = 0


def is_first() -> bool:
    """Whether this is the namespace that the machine began with."""
    try:
        return Path("/proc/self/ns/user").stat().st_ino == _FIRST
    except OSError:
        return True


def known_ids(kind: str, table: Path | None = None) -> Ids:
    """The ids of a kind, ``uid`` or ``gid``, that exist in this process's namespace.

    Args:
        kind: which.
        table: lines of first id inside, first id outside, and how many; of this process
            by default.  "Outside" is the parent, which is taken for the first one.
    """
    table = Path(f"/proc/self/{kind}_map") if table is None else table
    try:
        lines = table.read_text(encoding="ascii").splitlines()
    except OSError:
        return Ids()
    rows = [(int(a), int(b), int(c)) for a, b, c in map(str.split, lines)]
    if rows == _ALL:
        return Ids()
    root = [inside for inside, outside, _ in rows if outside == 0]
    known = tuple((inside, count) for inside, _, count in rows)
    return Ids(known, root[0] if root else OVERFLOW_ID)


def owns_its_processes() -> bool:
    """Whether the pid namespace that this process is in belongs to its user namespace.

    Only there does CAP_SYS_ADMIN let it name a foreign pid (``scm_check_creds`` in
    ``net/core/scm.c``).
    """
    try:
        processes = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        owner = fcntl.ioctl(processes, _NS_GET_USERNS)
    except OSError as error:
        return error.errno != errno.EPERM  # EPERM: it belongs to one that we are in
    finally:
        os.close(processes)
    try:
        return os.path.samestat(os.fstat(owner), Path("/proc/self/ns/user").stat())
    finally:
        os.close(owner)
