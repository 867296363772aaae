"""What the tests of the seed need a process of its own for.

Started as ``python seed_child.py SCENARIO [UID]``; prints one line of JSON.  A process
that is killed by a signal, whose descriptor table is full, or who is somebody else, may
not be the one that runs the tests.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ancfuzz.abi import NATIVE
from ancfuzz.ancillary import (
    ScmCredentials,
    ScmRights,
    SocketAncillary,
    SocketCred,
    UnknownMessage,
)
from ancfuzz.descriptors import open_numbers
from ancfuzz.sockets import UnixStream

if TYPE_CHECKING:
    from collections.abc import Callable

NO_SUCH_PROCESS = 2**22  # above the highest pid that Linux can be told to give
CAPABILITIES = {"setgid": 6, "setuid": 7, "sys_admin": 21}  # linux/capability.h


def become(uid: int) -> None:
    """Be somebody who may nothing, for good."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def name_of(error: OSError) -> str:
    """``EPIPE`` and the like."""
    return errno.errorcode[error.errno or 0]


def sigpipe() -> Any:
    """Send to a closed peer, in a process that SIGPIPE would kill."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    ours, theirs = UnixStream.pair()
    theirs.close()
    try:
        with ours:
            ours.send_vectored_with_ancillary([b"x"], SocketAncillary(0))
    except OSError as error:
        return name_of(error)
    return "sent"


def leave_free(count: int) -> None:
    """Lower the soft limit so that so many more descriptors can be opened."""
    taken = open_numbers()
    free = [number for number in range(max(taken) + count + 2) if number not in taken]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[count], hard))


def small_table() -> Any:
    """Receive ten descriptors into a table that has room for fewer."""
    answers: dict[str, Any] = {}
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    for room in (0, 5):
        ours, theirs = UnixStream.pair()
        ancillary = SocketAncillary(256)
        with ours, theirs, ancillary:
            ancillary.add_fds([ours.fileno()] * 10)
            ours.send_vectored_with_ancillary([b"x"], ancillary)
            leave_free(room)
            theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary)
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            answers[str(room)] = {
                "length": len(ancillary),
                "truncated": ancillary.truncated,
                "yielded": [
                    len(rights)
                    for rights in ancillary.messages()
                    if isinstance(rights, ScmRights)
                ],
                "installed": len(ancillary.take_fds()),
            }
    return answers


def no_pidfd() -> Any:
    """Receive a pidfd into a full table: the kernel says a negative errno instead."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    ours, theirs = UnixStream.pair()
    ancillary = SocketAncillary(256)
    with ours, theirs, ancillary:
        option = NATIVE.constants["SO_PASSPIDFD"]
        theirs.socket.setsockopt(socket.SOL_SOCKET, option, 1)
        ours.send_vectored_with_ancillary([b"x"], ancillary)
        before = open_numbers()
        leave_free(0)
        theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        told = [
            message.data.hex()
            for message in ancillary.messages()
            if isinstance(message, UnknownMessage)
        ]
        repr(ancillary)
        ancillary.clear()
        return {"told": told, "the same are open": open_numbers() == before}


def in_flight() -> Any:
    """Send ten descriptors at a time, until the kernel has enough of it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
    ours, theirs = UnixStream.pair()
    ancillary = SocketAncillary(SocketAncillary.capacity_for(fds=10))
    ancillary.add_fds([ours.fileno()] * 10)
    queued = 0
    with ours, theirs:
        try:
            while queued < 1000:
                ours.send_vectored_with_ancillary([b"x"], ancillary)
                queued += 10
        except OSError as error:
            return {"queued": queued, "then": name_of(error)}
    return {"queued": queued, "then": "no error"}


def credentials() -> Any:
    """Claim to be somebody, truly and falsely."""
    own = SocketCred.current()
    claims = {
        "zeros": SocketCred(),
        "own": own,
        "foreign uid": SocketCred(own.pid, own.uid + 1, own.gid),
        "foreign gid": SocketCred(own.pid, own.uid, own.gid + 1),
        "foreign pid": SocketCred(os.getppid(), own.uid, own.gid),
        "no such pid": SocketCred(NO_SUCH_PROCESS, own.uid, own.gid),
        "uid -1": SocketCred(own.pid, -1, own.gid),
        "gid -1": SocketCred(own.pid, own.uid, -1),
    }
    answers: dict[str, Any] = {}
    ours, theirs = UnixStream.pair()
    with ours, theirs:
        theirs.set_passcred(True)
        for name, claim in claims.items():
            ancillary = SocketAncillary(64)
            ancillary.add_creds([claim])
            try:
                ours.send_vectored_with_ancillary([b"x"], ancillary)
            except OSError as error:
                answers[name] = name_of(error)
                continue
            theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary)
            received = list(ancillary.messages())
            answers[name] = (
                "delivered as given"
                if received == [ScmCredentials((claim,))]
                else repr(received)
            )
    # As bytes: whoever we are by now may be unable to read a codec's module.
    status = Path("/proc/self/status").read_bytes()
    held = int(status.split(b"CapEff:")[1].split()[0], 16)
    may = [name for name, bit in CAPABILITIES.items() if held >> bit & 1]
    return {"may": may, "uid": own.uid, "gid": own.gid, "answers": answers}


SCENARIOS: dict[str, Callable[[], Any]] = {
    scenario.__name__: scenario
    for scenario in (sigpipe, small_table, no_pidfd, in_flight, credentials)
}


if __name__ == "__main__":
    name, *uid = sys.argv[1:]
    if uid:
        become(int(uid[0]))
    sys.stdout.write(json.dumps(SCENARIOS[name]()))
