"""What Rust's SocketAncillary was observed to do, row by row: 2.3, credentials.

See test_seed_tables_encode.
"""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest

from ancfuzz.abi import NATIVE
from ancfuzz.ancillary import (
    ScmCredentials,
    ScmRights,
    SocketAncillary,
    SocketCred,
    UnknownMessage,
)
from ancfuzz.sockets import UnixStream
from tests.seed_observed import (
    OWN,
    accepts,
    child,
    may_become_somebody,
    on_linux,
    receive,
    space,
)

pytestmark = on_linux


def test_2_3_receiver_without_so_passcred(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    ancillary = SocketAncillary(64)
    ancillary.add_creds([OWN])
    assert ours.send_vectored_with_ancillary([b"x"], ancillary) == 1
    received = receive(theirs)
    assert received.is_empty
    assert not received.truncated


def test_2_3_so_passcred_plain_send(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    theirs.set_passcred(True)
    ours.send_vectored_with_ancillary([b"x"], SocketAncillary(0))
    received = receive(theirs)
    assert list(received.messages()) == [ScmCredentials((OWN,))]
    assert len(received) == space(12)


def test_2_3_so_passcred_set_after_the_send(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    ours.send_vectored_with_ancillary([b"x"], SocketAncillary(0))
    theirs.set_passcred(True)
    nobody = SocketCred(0, 65534, 65534)
    assert list(receive(theirs).messages()) == [ScmCredentials((nobody,))]


# What a claim needs, and what the kernel says to somebody who has it (S10).
CLAIMS = {
    "zeros": ({"sys_admin", "setuid", "setgid"}, "ESRCH"),
    "own": (set[str](), "delivered as given"),
    "foreign uid": ({"setuid"}, "delivered as given"),
    "foreign gid": ({"setgid"}, "delivered as given"),
    "foreign pid": ({"sys_admin"}, "delivered as given"),
    "no such pid": ({"sys_admin"}, "ESRCH"),
    "uid -1": (set[str](), "EINVAL"),
    "gid -1": (set[str](), "EINVAL"),
}


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize(
    "uid",
    [
        pytest.param(None, id="as we are"),
        pytest.param(
            65534,
            id="unprivileged",
            marks=pytest.mark.skipif(
                not may_become_somebody(), reason="we may not become another user"
            ),
        ),
    ],
)
def test_2_3_claims(uid: int | None, claim: str) -> None:
    told = child("credentials", uid)
    needed, granted = CLAIMS[claim]
    may = {*told["may"]}
    if claim == "zeros":  # which is no foreign id to root
        may |= {f"set{kind}" for kind in ("uid", "gid") if told[kind] == 0}
    assert told["answers"][claim] == (granted if needed <= may else "EPERM")


def test_2_3_two_creds_cmsgs(pair: tuple[Any, Any]) -> None:
    """The last wins; with capabilities the two can differ."""
    ours, theirs = pair
    theirs.set_passcred(True)
    ancillary = SocketAncillary(128)
    other = SocketCred(OWN.pid, OWN.uid + 1, OWN.gid)
    may = may_become_somebody()
    ancillary.add_creds([other if may else OWN])
    ancillary.add_creds([OWN])
    ours.send_vectored_with_ancillary([b"x"], ancillary)
    assert list(receive(theirs).messages()) == [ScmCredentials((OWN,))]


@pytest.mark.parametrize("count", [0, 2, 3])
def test_2_3_add_creds_with_0_or_2_creds(pair: tuple[Any, Any], count: int) -> None:
    ancillary = SocketAncillary(128)
    assert ancillary.add_creds([OWN] * count)
    with pytest.raises(OSError, match="Invalid argument") as refused:
        pair[0].send_vectored_with_ancillary([b"x"], ancillary)
    assert refused.value.errno == errno.EINVAL


OPTIONS = {
    name: NATIVE.constants.get(name)
    for name in ("SO_PASSCRED", "SO_PASSPIDFD", "SO_TIMESTAMP")
}


@pytest.mark.parametrize("rights_first", [False, True])
def test_2_3_receive_order(pair: tuple[Any, Any], fd: int, rights_first: bool) -> None:
    ours, theirs = pair
    known = [
        name for name, option in OPTIONS.items() if accepts(socket.SOL_SOCKET, option)
    ]
    for name in known:
        theirs.socket.setsockopt(socket.SOL_SOCKET, OPTIONS[name], 1)
    ancillary = SocketAncillary(128)
    if rights_first:
        ancillary.add_fds([fd])
    ancillary.add_creds([OWN])
    if not rights_first:
        ancillary.add_fds([fd])
    ours.send_vectored_with_ancillary([b"x"], ancillary)
    with receive(theirs) as received:
        order = [kind_of(message) for message in received.messages()]
    expected = ["timestamp", "credentials", "rights", "pidfd"]
    if isinstance(theirs, UnixStream):
        expected.remove("timestamp")
    if "SO_PASSPIDFD" not in known:
        expected.remove("pidfd")
    assert order == expected


def kind_of(message: object) -> str:
    match message:
        case ScmRights():
            return "rights"
        case ScmCredentials():
            return "credentials"
        case UnknownMessage(type=4):
            return "pidfd"
        case UnknownMessage(type=type_) if type_ in {29, 63}:
            return "timestamp"
        case _:
            return repr(message)


def test_2_3_passcred_on_one_end(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    ours.set_passcred(True)
    assert ours.passcred()
    assert not theirs.passcred()
    ours.send_vectored_with_ancillary([b"x"], SocketAncillary(0))
    assert receive(theirs).is_empty
    ours.set_passcred(False)
    assert not ours.passcred()
