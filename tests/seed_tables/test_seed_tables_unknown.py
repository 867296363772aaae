"""What Rust's SocketAncillary was observed to do, row by row: 2.5, unknown messages.

See test_seed_tables_encode.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
from typing import Any

import pytest

from ancfuzz.abi import NATIVE
from ancfuzz.ancillary import ScmRights, SocketAncillary, UnknownMessage
from ancfuzz.descriptors import open_numbers
from ancfuzz.sockets import UnixDatagram, UnixStream
from tests.seed_observed import accepts, on_linux, send

pytestmark = on_linux


SO_PASSPIDFD = NATIVE.constants.get("SO_PASSPIDFD")
SO_TIMESTAMP = NATIVE.constants.get("SO_TIMESTAMP")
SO_TIMESTAMPNS = 35  # and the type of its message, on x86 and arm
SO_INQ = 84  # likewise
SO_RXQ_OVFL = 40
GENERIC = NATIVE.constants.get("SO_PASSCRED") == 16 and SO_TIMESTAMP == 29


def has(option: int | None, name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        not (GENERIC and accepts(socket.SOL_SOCKET, option)),
        reason=f"this kernel has no {name}",
    )


def types_after(pair: tuple[Any, Any], option: int | None, *fds: int) -> list[object]:
    """Levels and types of the unknown messages that an option brings."""
    ours, theirs = pair
    theirs.socket.setsockopt(socket.SOL_SOCKET, option, 1)
    send(ours, b"x", *fds)
    with SocketAncillary(256) as ancillary:
        theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary)
        assert not ancillary.truncated
        return [
            (message.level, message.type)
            if isinstance(message, UnknownMessage)
            else type(message)
            for message in ancillary.messages()
        ]


@has(SO_PASSPIDFD, "SO_PASSPIDFD")
def test_2_5_so_passpidfd(pair: tuple[Any, Any]) -> None:
    """The pidfd leaks in the original (B3); here it is owned like the rest."""
    ours, theirs = pair
    theirs.socket.setsockopt(socket.SOL_SOCKET, SO_PASSPIDFD, 1)
    before = open_numbers()
    ancillary = SocketAncillary(64)
    for _ in range(5):
        send(ours, b"x")
        theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary)
        (number,) = open_numbers() - before
        told = UnknownMessage(1, 4, struct.pack("@i", number))
        assert list(ancillary.messages()) == [told]
        assert not ancillary.truncated
    assert ancillary.take_fds() == []
    (pidfd,) = ancillary.take_pidfds()
    assert pidfd in open_numbers() - before
    assert ancillary.take_pidfds() == []
    ancillary.clear()
    signal.pidfd_send_signal(pidfd, 0)  # to ourselves: does it name us?
    os.close(pidfd)


@has(SO_TIMESTAMP, "SO_TIMESTAMP")
@pytest.mark.parametrize(
    ("kind", "found"), [(UnixDatagram, [(1, 29)]), (UnixStream, [])]
)
def test_2_5_so_timestamp(kind: Any, found: list[object]) -> None:
    ours, theirs = kind.pair()
    with ours, theirs:
        assert types_after((ours, theirs), SO_TIMESTAMP) == found


@has(SO_TIMESTAMPNS, "SO_TIMESTAMPNS")
def test_2_5_so_timestampns(
    datagram: tuple[UnixDatagram, UnixDatagram], fd: int
) -> None:
    """And an unknown message does not end the iteration."""
    assert types_after(datagram, SO_TIMESTAMPNS, fd) == [(1, 35), ScmRights]


@has(SO_INQ, "SO_INQ")
def test_2_5_so_inq(stream: tuple[UnixStream, UnixStream], fd: int) -> None:
    assert types_after(stream, SO_INQ, fd) == [ScmRights, (1, 84)]


@has(NATIVE.constants.get("SO_PASSSEC"), "SO_PASSSEC")
def test_2_5_so_passsec(pair: tuple[Any, Any]) -> None:
    """Without a security module none; with one, what CPython sees."""
    ours, theirs = pair
    theirs.socket.setsockopt(socket.SOL_SOCKET, NATIVE.constants["SO_PASSSEC"], 1)
    send(ours, b"x")
    send(ours, b"y")
    ancillary = SocketAncillary(256)
    theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary)
    _, seen, _, _ = theirs.socket.recvmsg(1, 256)
    assert list(ancillary.messages()) == [UnknownMessage(*one) for one in seen]


@has(SO_RXQ_OVFL, "SO_RXQ_OVFL")
def test_2_5_so_rxq_ovfl(pair: tuple[Any, Any]) -> None:
    assert types_after(pair, SO_RXQ_OVFL) == []
