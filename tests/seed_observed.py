"""What rows of the tables of observations share: to send, receive, and ask a child.

What Rust's SocketAncillary was observed to do is in ``seed_tables/``, a module for each
table. What is here answers for the host: its layout, our ids, what the kernel knows.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import ancfuzz
from ancfuzz.abi import NATIVE
from ancfuzz.ancillary import ScmRights, SocketAncillary, SocketCred

on_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="the tables were observed on Linux"
)

OWN = SocketCred.current()
# What a child has to find: the package that is tested, and what it needs.
PATH = [str(Path(ancfuzz.__file__).parent.parent), *filter(None, sys.path)]

# The tables were observed with headers of 16 bytes; on 32-bit hosts they have 12, and
# the arithmetic is the Abi's.
HEADER = NATIVE.data_offset
align, space, length_of = NATIVE.align, NATIVE.cmsg_space, NATIVE.cmsg_len


def accepts(level: int, option: int | None) -> bool:
    """Whether this kernel knows an option of Unix sockets."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        try:
            ours.setsockopt(level, option or -1, 1)
        except OSError:
            return False
    return True


def may_become_somebody() -> bool:
    """Whether this process may change its ids to any others."""
    if os.geteuid() != 0:
        return False
    status = Path("/proc/self/status").read_text(encoding="ascii")
    effective = int(status.split("CapEff:")[1].split()[0], 16)
    uid_map = Path("/proc/self/uid_map").read_text(encoding="ascii").split()
    return effective >> 6 & 3 == 3 and int(uid_map[2]) > 2**30


@cache
def child(scenario: str, uid: int | None = None) -> Any:
    """The answer of seed_child.py, or the number of the signal that killed it."""
    script = Path(__file__).with_name("seed_child.py")
    arguments = [scenario] if uid is None else [scenario, str(uid)]
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(PATH)},
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    if done.returncode < 0:
        return signal.Signals(-done.returncode).name
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def send(sock: Any, data: bytes, *fds: int) -> None:
    ancillary = SocketAncillary(SocketAncillary.capacity_for(fds=len(fds)))
    if fds:
        ancillary.add_fds(fds)
    assert sock.send_vectored_with_ancillary([data], ancillary) == len(data)


def end_of(number: int) -> int:
    """Which end of a pipe a descriptor is: fstat cannot tell them apart."""
    return fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE


def receive(sock: Any, capacity: int = 4096) -> SocketAncillary:
    """The control messages of what comes next."""
    ancillary = SocketAncillary(capacity)
    sock.recv_vectored_with_ancillary([bytearray(64)], ancillary)
    return ancillary


def numbers_in(ancillary: SocketAncillary) -> list[int]:
    """All descriptors of all SCM_RIGHTS messages."""
    found = [one for one in ancillary.messages() if isinstance(one, ScmRights)]
    return [number for message in found for number in message]
