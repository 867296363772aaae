"""This host, as far as an answer may rightly depend on it.

Which kernel, who we are, which capabilities we have, which socket options there are:
asked once, and written into every transcript, so that the model can say what ought to
have happened here and not somewhere else.

This room must not know what any of it is good for.
"""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path
from typing import get_args

from ancfuzz.abi import NATIVE
from ancfuzz.case import Flag
from ancfuzz.descriptors import IDENTITY_METHOD
from ancfuzz.namespaces import is_first, known_ids, owns_its_processes
from ancfuzz.transcript import Environment

__all__ = ["FLAGS", "OPTIONS", "environment"]

# SO_TIMESTAMPNS is defined as SCM_TIMESTAMPNS (asm-generic/socket.h).
_OPTION_CONSTANTS = {
    "SO_PASSCRED": "SO_PASSCRED",
    "SO_PASSPIDFD": "SO_PASSPIDFD",
    "SO_PASSRIGHTS": "SO_PASSRIGHTS",
    "SO_TIMESTAMP": "SO_TIMESTAMP",
    "SO_TIMESTAMPNS": "SCM_TIMESTAMPNS",
    "SO_INQ": "SO_INQ",
}
OPTIONS: dict[str, int] = {
    option: NATIVE.constants[constant]
    for option, constant in _OPTION_CONSTANTS.items()
    if constant in NATIVE.constants
}
"""Numbers of the socket options that a case can set, on this host's ABI."""

FLAGS: dict[Flag, int] = {
    name: int(getattr(socket, name, 0)) for name in get_args(Flag)
}
"""Numbers of the flags that a case and a transcript name."""

# linux/capability.h
_CAPABILITIES = {
    6: "CAP_SETGID",
    7: "CAP_SETUID",
    21: "CAP_SYS_ADMIN",
    24: "CAP_SYS_RESOURCE",
}


def _features() -> tuple[str, ...]:
    """The options that this kernel takes on a stream socket."""
    found: list[str] = []
    for name, number in OPTIONS.items():
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            try:
                sock.setsockopt(socket.SOL_SOCKET, number, 1)
            except OSError:
                continue
            found.append(name)
    return tuple(found)


def _capabilities() -> tuple[str, ...]:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        line = next(x for x in status.splitlines() if x.startswith("CapEff:"))
        effective = int(line.split()[1], 16)
    except (OSError, StopIteration, ValueError, IndexError):
        # No /proc: root has them all, anybody else none.
        effective = -1 if os.geteuid() == 0 else 0
    found = [
        name for bit, name in sorted(_CAPABILITIES.items()) if effective >> bit & 1
    ]
    # In a user namespace of one's own a capability is one over what is in it.
    if "CAP_SYS_ADMIN" in found and not owns_its_processes():
        found.remove("CAP_SYS_ADMIN")
    if "CAP_SYS_RESOURCE" in found and not is_first():
        found.remove("CAP_SYS_RESOURCE")
    return tuple(found)


@cache
def _of_process(_pid: int) -> Environment:
    system = os.uname()
    users, groups = known_ids("uid"), known_ids("gid")
    return Environment(
        kernel=f"{system.sysname} {system.release} {system.machine}",
        uid=os.getuid(),
        gid=os.getgid(),
        capabilities=_capabilities(),
        is_init=os.getpid() == 1,
        uids=users.known,
        gids=groups.known,
        root=(users.root, groups.root),
        features=_features(),
        identity=IDENTITY_METHOD.name,
    )


def environment() -> Environment:
    """Who performs here, and on what; asked once in each process."""
    return _of_process(os.getpid())
