"""Programs to record, and what is needed for it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ancfuzz.recorder import Recording, build, record

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = [
    "DEADLINE",
    "NEEDS",
    "PASSES",
    "PRELUDE",
    "cached_recorder",
    "compiled",
    "is_running",
    "python",
    "recording_of",
]

DEADLINE = 60.0
CC = shutil.which("cc")
NEEDS = (
    pytest.mark.skipif(sys.platform != "linux", reason="the recorder is for Linux"),
    pytest.mark.skipif(CC is None, reason="the recorder needs a C compiler"),
)

PASSES = """
import array, os, socket, sys
a, b = socket.socketpair()
rights = array.array("i", os.pipe())
a.sendmsg([b"a secret"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
data, (message,), flags, _ = b.recvmsg(100, socket.CMSG_SPACE(8))
print(data.decode(), sys.stdin.read())
sys.exit(int(sys.argv[1]) if sys.argv[1:] else 0)
"""
"""Passes two descriptors, prints what it sent and what it read, ends as it is told."""


PRELUDE = """
import array, errno, json, os, socket, struct, sys, threading
L, RIGHTS, CREDENTIALS = socket.SOL_SOCKET, socket.SCM_RIGHTS, socket.SCM_CREDENTIALS
STREAM, DGRAM, PACKET = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET
def rights(*fds): return L, RIGHTS, array.array("i", fds)
def me():
    ids = os.getpid(), os.getuid(), os.getgid()
    return L, CREDENTIALS, struct.pack("3i", *ids)
def pair(kind=STREAM):
    a, b = socket.socketpair(socket.AF_UNIX, kind)
    b.setblocking(False)
    return a, b
def passcred(*sockets):
    for one in sockets: one.setsockopt(L, socket.SO_PASSCRED, 1)
def fails(call, *arguments):
    try: call(*arguments)
    except OSError: return
    raise AssertionError(call)
"""
"""What the programs of :func:`recording_of` begin with."""


def recording_of(source: str, *arguments: str) -> Recording:
    """Records a Python program that has to end well; :data:`PRELUDE` is before it."""
    # -I -S: no site, no environment: nothing but the program makes calls.
    program = [sys.executable, "-ISc", PRELUDE + textwrap.dedent(source), *arguments]
    recording = record(program, timeout=DEADLINE)
    assert (recording.status, recording.notes) == (0, ())
    return recording


@contextmanager
def cached_recorder(folder: Path) -> Generator[Path]:
    """A cache of our own with the recorder in it: nothing is written to a home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        patch.delenv("CC", raising=False)
        build()
        yield folder


def python(source: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs a Python program: no site, no environment."""
    return ("--", sys.executable, "-ISc", textwrap.dedent(source), *arguments)


def compiled(source: str, folder: Path, *flags: str) -> str:
    """Compiles a C program; returns its path."""
    assert CC is not None
    program = folder / "program"
    subprocess.run(
        [CC, "-xc", "-", "-O1", "-pthread", "-o", str(program), *flags],
        input=source.encode(),
        check=True,
        timeout=DEADLINE,
    )
    return str(program)


def is_running(pid: int) -> bool:
    """Whether a process is there, and not a zombie that nobody has waited for."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text("ascii")
    except OSError:
        return False
    return status.rpartition(") ")[2][0] != "Z"
