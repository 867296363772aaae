"""Programs to record, and what is needed for it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

__all__ = ["DEADLINE", "NEEDS", "PASSES", "compiled", "is_running", "python"]

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
