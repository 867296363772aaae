"""Why a program cannot be recorded, read from its file.

``LD_PRELOAD`` is a request to the dynamic loader (ld.so(8)), so it does nothing for a
program that has none, that the kernel starts in secure mode, or whose architecture is
not the shim's.  The program then runs as ever and makes no log; this room says why.

It reads files and runs nothing.
"""

from __future__ import annotations

import os
import shutil
import stat
import struct
import sys
from pathlib import Path
from typing import Final

__all__ = ["obstacle"]

_PT_INTERP: Final = 3
_HEADER: Final = 256  # more than an ELF header; as much of a script as the kernel reads
# Of ELF's e_phoff, e_phentsize, e_phnum (elf(5)): offset and struct code, by EI_CLASS.
_PROGRAM_HEADERS: Final = {
    1: ((28, "I"), (42, "H"), (44, "H")),
    2: ((32, "Q"), (54, "H"), (56, "H")),
}
_BYTE_ORDERS: Final = {1: "<", 2: ">"}


def obstacle(program: str) -> str | None:
    """Says in a few words why a program makes no log; None if it should make one.

    ``program`` is a path, or a name to be found in PATH. A script is judged by its
    interpreter.
    """
    found = shutil.which(program)
    if found is None:
        return "there is no such program"
    path = Path(found)
    try:
        head = _head(path)
        if head.startswith(b"#!"):
            path = _interpreter(head)
            head = _head(path)
        secure = _is_secure(path)
        ours = _head(Path(sys.executable))
        interpreted = _has_interpreter(path)
    except (OSError, ValueError, LookupError, struct.error) as error:
        return f"its file cannot be read ({error})"
    answers = {
        "it is not an ELF program": not head.startswith(b"\x7fELF"),
        "it is of another architecture than the recorder": (
            _architecture(head) != _architecture(ours)
        ),
        "it is linked statically": not interpreted,
        "it runs with more rights than its caller (set-user-id, capabilities)": secure,
    }
    return next((why for why, holds in answers.items() if holds), None)


def _interpreter(head: bytes) -> Path:
    """Who runs a script; behind ``env`` it is the first word that is a program."""
    interpreter, *words = os.fsdecode(head[2:]).partition("\n")[0].split()
    if Path(interpreter).name == "env":
        named = (w for w in words if not w.startswith("-") and "=" not in w)
        interpreter = shutil.which(next(named, interpreter)) or interpreter
    return Path(interpreter)


def _is_secure(path: Path) -> bool:
    """Whether the kernel starts it so that ld.so takes no advice (AT_SECURE)."""
    is_ = path.stat()
    user, group = is_.st_uid != os.getuid(), is_.st_gid != os.getgid()
    try:
        capable = bool(os.getxattr(path, "security.capability"))
    except OSError:  # it has none, or they are not to be read
        capable = False
    return (
        (bool(is_.st_mode & stat.S_ISUID) and user)
        or (bool(is_.st_mode & stat.S_ISGID) and group)
        or (capable and os.getuid() != 0)
    )


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEADER)


def _architecture(head: bytes) -> tuple[bytes, bytes]:
    """EI_CLASS with EI_DATA, and e_machine."""
    return head[4:6], head[18:20]


def _has_interpreter(path: Path) -> bool:
    """Whether an ELF file names a dynamic loader, in a PT_INTERP segment."""
    with path.open("rb") as file:
        head = file.read(_HEADER)
        if not head.startswith(b"\x7fELF"):
            return False
        order = _BYTE_ORDERS[head[5]]
        start, size, count = (
            struct.unpack_from(order + code, head, at)[0]
            for at, code in _PROGRAM_HEADERS[head[4]]
        )
        file.seek(start)
        table = file.read(size * count)
    types = (struct.unpack_from(order + "I", table, i * size)[0] for i in range(count))
    return _PT_INTERP in types
