"""What Rust's SocketAncillary was observed to do: 2.4, receiving, again and by parts.

Whose the descriptors are, which data they come with, and how the kinds of socket
differ. See test_seed_tables_encode; what fits is in test_seed_tables_capacity.
"""

from __future__ import annotations

import os
import signal
import socket
from typing import Any

import pytest

from ancfuzz.ancillary import ScmRights, SocketAncillary
from ancfuzz.descriptors import is_close_on_exec, open_numbers
from ancfuzz.sockets import InvalidInput, UnixDatagram, UnixSeqpacket, UnixStream
from tests.seed_observed import HEADER, numbers_in, on_linux, send

pytestmark = on_linux


def receive(sock: Any, size: int = 64, capacity: int = 4096) -> tuple[bytes, int]:
    """Data, and how many descriptors came with it; those are closed."""
    data = bytearray(size)
    with SocketAncillary(capacity) as ancillary:
        got: Any = sock.recv_vectored_with_ancillary([data], ancillary)
        count: int = got if isinstance(sock, UnixStream) else got[0]
        return bytes(data[:count]), len(numbers_in(ancillary))


def test_2_4_recv_ok_with_no_ancillary(pair: tuple[Any, Any], fd: int) -> None:
    ours, theirs = pair
    send(ours, b"x", fd, fd)
    send(ours, b"x")
    ancillary = SocketAncillary(HEADER + 4)
    theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary)
    assert ancillary.truncated
    theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary)
    assert ancillary.is_empty
    assert not ancillary.truncated


def test_2_4_recv_at_eof(stream: tuple[UnixStream, UnixStream], fd: int) -> None:
    ours, theirs = stream
    send(ours, b"x", fd)
    ours.close()
    ancillary = SocketAncillary(64)
    assert theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary) == 1
    assert theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary) == 0
    assert ancillary.is_empty
    assert not ancillary.truncated


def test_2_4_recv_err_after_a_good_recv(pair: tuple[Any, Any], fd: int) -> None:
    """The original keeps the old messages (B5); here there are none."""
    ours, theirs = pair
    theirs.socket.setblocking(False)
    send(ours, b"x", fd)
    with SocketAncillary(64) as ancillary:
        theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary)
        (number,) = ancillary.take_fds()
        with pytest.raises(BlockingIOError):
            theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary)
        assert ancillary.is_empty
        assert ancillary.control == b""
        assert list(ancillary.messages()) == []
        assert ancillary.take_fds() == []
    os.close(number)


def test_2_4_recv_then_add_fds_without_clear(pair: tuple[Any, Any], fd: int) -> None:
    ours, theirs = pair
    send(ours, b"x", fd)
    with SocketAncillary(256) as ancillary:
        theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary)
        (first,) = ancillary.messages()
        assert ancillary.add_fds([fd, fd])
        assert list(ancillary.messages()) == [first, ScmRights((fd, fd))]
        # Both are forwarded, and only what was received is ours to close.
        theirs.send_vectored_with_ancillary([b"y"], ancillary)
        assert receive(ours) == (b"y", 3)
        assert numbers_in(ancillary)[1:] == [fd, fd]
    os.fstat(fd)


def test_2_4_drop_clear_or_unread(pair: tuple[Any, Any], fd: int) -> None:
    """All of them leak in the original (B4); here whoever does not take, closes."""
    ours, theirs = pair
    before = open_numbers()
    for let_go in ("clear", "with", "receive", "collect"):
        send(ours, b"x", fd, fd)
        ancillary = SocketAncillary(64)
        theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary)
        next(iter(ancillary.messages()))
        assert len(open_numbers() - before) == 2
        if let_go == "clear":
            ancillary.clear()
        elif let_go == "with":
            with ancillary:
                pass
        elif let_go == "receive":
            send(ours, b"y")
            theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary)
        else:
            with pytest.warns(ResourceWarning, match="neither taken nor closed"):
                del ancillary
        assert open_numbers() == before


def test_2_4_received_fd_flags(pair: tuple[Any, Any], fd: int) -> None:
    ours, theirs = pair
    os.set_inheritable(fd, True)
    send(ours, b"x", fd, fd)
    with SocketAncillary(64) as ancillary:
        theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary)
        assert [is_close_on_exec(number) for number in numbers_in(ancillary)] == [
            True,
            True,
        ]


def test_2_4_plain_read_of_a_message_with_fds(pair: tuple[Any, Any], fd: int) -> None:
    ours, theirs = pair
    before = open_numbers()
    send(ours, b"data", fd)
    assert os.read(theirs.fileno(), 64) == b"data"
    assert open_numbers() == before


def test_2_4_stream_aa_bbbb_fd_cc(
    stream: tuple[UnixStream, UnixStream], fd: int
) -> None:
    """What came before a message with descriptors merges into it, what comes after not.

    R12, unix_stream_read_generic in net/unix/af_unix.c.
    """
    ours, theirs = stream
    send(ours, b"AA")
    send(ours, b"BBBB", fd)
    send(ours, b"CC")
    assert receive(theirs) == (b"AABBBB", 1)
    assert receive(theirs) == (b"CC", 0)


def test_2_4_stream_4b_fd_recv_2_twice(
    stream: tuple[UnixStream, UnixStream], fd: int
) -> None:
    send(stream[0], b"abcd", fd)
    assert receive(stream[1], 2) == (b"ab", 1)
    assert receive(stream[1], 2) == (b"cd", 0)


@pytest.mark.parametrize("bufs", [[], [bytearray()]], ids=["no iov", "empty iov"])
def test_2_4_stream_recv_of_0_bytes(
    stream: tuple[UnixStream, UnixStream], fd: int, bufs: list[bytearray]
) -> None:
    ours, theirs = stream
    send(ours, b"x", fd)
    with SocketAncillary(64) as ancillary:
        assert theirs.recv_vectored_with_ancillary(bufs, ancillary) == 0
        assert len(numbers_in(ancillary)) == 1
    assert receive(theirs) == (b"x", 0)


def test_2_4_stream_two_1b_fd_sends(
    stream: tuple[UnixStream, UnixStream], fd: int
) -> None:
    send(stream[0], b"x", fd)
    send(stream[0], b"y", fd)
    assert receive(stream[1]) == (b"x", 1)
    assert receive(stream[1]) == (b"y", 1)


def test_2_4_stream_recv_blocks_and_is_interrupted(
    stream: tuple[UnixStream, UnixStream], fd: int
) -> None:
    """The original returns Interrupted (B19); here the call goes on waiting."""
    ours, theirs = stream
    rung: list[int] = []

    def ring(*_: object) -> None:
        rung.append(len(rung))
        if len(rung) == 2:
            send(ours, b"late", fd)

    old = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    try:
        assert receive(theirs) == (b"late", 1)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert len(rung) >= 2


def test_2_4_dgram_8b_fd_into_4b(
    datagram: tuple[UnixDatagram, UnixDatagram], fd: int
) -> None:
    ours, theirs = datagram
    send(ours, b"12345678", fd)
    data = bytearray(4)
    with SocketAncillary(64) as ancillary:
        assert theirs.recv_vectored_with_ancillary([data], ancillary) == (4, True)
        assert len(numbers_in(ancillary)) == 1
    assert data == b"1234"


def test_2_4_seqpacket_as_unix_stream() -> None:
    """A stream has nowhere to say MSG_TRUNC (B20), so it is refused as one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        for kind in (UnixStream, UnixDatagram):
            with pytest.raises(InvalidInput, match="SOCK_SEQPACKET"):
                kind.from_socket(ours)
        packets = UnixSeqpacket.from_socket(ours)
        theirs.send(b"12345678")
        got = packets.recv_vectored_with_ancillary([bytearray(4)], SocketAncillary(0))
        assert got == (4, True)


def test_2_4_seqpacket_0b_fd(fd: int) -> None:
    ours, theirs = UnixSeqpacket.pair()
    with ours, theirs:
        send(ours, b"", fd)
        assert receive(theirs) == (b"", 1)
