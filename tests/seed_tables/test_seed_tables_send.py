"""What Rust's SocketAncillary was observed to do, row by row: 2.2, sending.

See test_seed_tables_encode.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

import pytest

from ancfuzz.abi import NATIVE
from ancfuzz.ancillary import SocketAncillary
from ancfuzz.descriptors import open_numbers
from ancfuzz.sockets import InvalidInput, UnixDatagram, UnixSeqpacket, UnixStream
from ancfuzz.syscalls import IOV_MAX
from tests.seed_observed import (
    accepts,
    child,
    end_of,
    may_become_somebody,
    numbers_in,
    on_linux,
    receive,
    space,
)

pytestmark = on_linux


SO_PASSRIGHTS = NATIVE.constants.get("SO_PASSRIGHTS")

needs_passrights = pytest.mark.skipif(
    not accepts(socket.SOL_SOCKET, SO_PASSRIGHTS),
    reason="this kernel has no SO_PASSRIGHTS",
)


def test_2_2_len_0(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    assert ours.send_vectored_with_ancillary([b"plain"], SocketAncillary(0)) == 5
    data = bytearray(5)
    assert theirs.socket.recvmsg_into([data], 64) == (5, [], 0, None)
    assert data == b"plain"


def test_2_2_only_a_0_fd_cmsg(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    ancillary = SocketAncillary(64)
    ancillary.add_fds([])
    assert ours.send_vectored_with_ancillary([b"x"], ancillary) == 1
    received = receive(theirs)
    assert received.is_empty
    assert not received.truncated


@pytest.mark.parametrize("empty_first", [False, True])
def test_2_2_2_scm_rights_cmsgs(
    pair: tuple[Any, Any], pipe: tuple[int, int], empty_first: bool
) -> None:
    ours, theirs = pair
    ancillary = SocketAncillary(256)
    if empty_first:
        ancillary.add_fds([])
    ancillary.add_fds([pipe[0]])
    ancillary.add_fds([pipe[1], pipe[0]])
    assert ours.send_vectored_with_ancillary([b"x"], ancillary) == 1
    with receive(theirs) as received:
        assert len(list(received.messages())) == 1
        assert [end_of(number) for number in numbers_in(received)] == [0, 1, 0]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 28, 29, 64, 128, 252, 253])
def test_2_2_n_of_0_to_253(pair: tuple[Any, Any], fd: int, count: int) -> None:
    ours, theirs = pair
    ancillary = SocketAncillary(SocketAncillary.capacity_for(fds=count))
    assert ancillary.add_fds([fd] * count)
    assert ours.send_vectored_with_ancillary([b"x"], ancillary) == 1
    before = open_numbers()
    with receive(theirs, len(ancillary)) as received:
        assert not received.truncated
        assert len(open_numbers()) == len(before) + count
        assert len(numbers_in(received)) == count
        assert all(os.path.sameopenfile(n, fd) for n in numbers_in(received))


@pytest.mark.parametrize(
    ("counts", "sent"),
    [((254,), False), ((255,), False), ((200, 53), True), ((200, 54), False)],
)
def test_2_2_at_most_253_in_one_sendmsg(
    pair: tuple[Any, Any], fd: int, counts: tuple[int, ...], sent: bool
) -> None:
    ours, theirs = pair
    ancillary = SocketAncillary(2048)
    for count in counts:
        assert ancillary.add_fds([fd] * count)
    if sent:
        ours.send_vectored_with_ancillary([b"x"], ancillary)
        with receive(theirs) as received:
            assert len(numbers_in(received)) == sum(counts)
        return
    with pytest.raises(OSError, match="Invalid argument") as refused:
        ours.send_vectored_with_ancillary([b"x"], ancillary)
    assert refused.value.errno == errno.EINVAL


@pytest.mark.parametrize("which", ["fd -1", "closed", "one bad of several"])
def test_2_2_bad_fd(pair: tuple[Any, Any], fd: int, which: str) -> None:
    ours, theirs = pair
    closed = os.dup(fd)
    os.close(closed)
    bad = {"fd -1": [-1], "closed": [closed], "one bad of several": [fd, closed, fd]}
    ancillary = SocketAncillary(64)
    ancillary.add_fds(bad[which])
    control = ancillary.control
    with pytest.raises(OSError, match="Bad file descriptor") as refused:
        ours.send_vectored_with_ancillary([b"x"], ancillary)
    assert refused.value.errno == errno.EBADF
    assert ancillary.control == control
    theirs.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        receive(theirs)


def test_2_2_zero_data_bytes_on_a_stream(
    stream: tuple[UnixStream, UnixStream], fd: int
) -> None:
    """The kernel drops the descriptors and says 0 (S14, unix(7)), and so do we."""
    ours, theirs = stream
    ancillary = SocketAncillary(64)
    ancillary.add_fds([fd])
    nothing: list[list[bytes | bytearray]] = [[], [b""], [b"", bytearray()]]
    for bufs in nothing:
        assert ours.send_vectored_with_ancillary(bufs, ancillary) == 0
        assert len(ancillary) == 24
    theirs.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        receive(theirs)
    assert ours.send_vectored_with_ancillary([], SocketAncillary(64)) == 0


@pytest.mark.parametrize("kind", [UnixDatagram, UnixSeqpacket])
def test_2_2_zero_data_bytes_in_a_packet(kind: Any, fd: int) -> None:
    ours, theirs = kind.pair()
    with ours, theirs, SocketAncillary(64) as ancillary:
        ancillary.add_fds([fd])
        assert ours.send_vectored_with_ancillary([], ancillary) == 0
        got = theirs.recv_vectored_with_ancillary([bytearray(4)], ancillary)
        assert got == (0, False)
        assert len(numbers_in(ancillary)) == 1


def test_2_2_after_send(pair: tuple[Any, Any], fd: int) -> None:
    ours, theirs = pair
    ancillary = SocketAncillary(64)
    ancillary.add_fds([fd])
    for _ in range(2):
        assert ours.send_vectored_with_ancillary([b"x"], ancillary) == 1
        assert len(ancillary) == space(4)
    for _ in range(2):
        with receive(theirs) as received:
            assert len(numbers_in(received)) == 1


@pytest.mark.parametrize("kind", [UnixDatagram, UnixSeqpacket])
def test_2_2_1025_io_slices_in_a_packet(kind: Any) -> None:
    ours, theirs = kind.pair()
    with ours, theirs, pytest.raises(OSError, match="Message too long") as refused:
        ours.send_vectored_with_ancillary([b"x"] * (IOV_MAX + 1), SocketAncillary(0))
    assert refused.value.errno == errno.EMSGSIZE


def test_2_2_1025_io_slices_on_a_stream(
    stream: tuple[UnixStream, UnixStream], fd: int
) -> None:
    """As write_vectored: what does not go with this call goes with the next."""
    ours, theirs = stream
    ancillary = SocketAncillary(64)
    ancillary.add_fds([fd])
    slices = [b""] * IOV_MAX + [b"x"] * (IOV_MAX + 1)
    assert ours.send_vectored_with_ancillary(slices, ancillary) == IOV_MAX
    holes = [bytearray(0)] * IOV_MAX + [bytearray(1) for _ in range(IOV_MAX + 1)]
    assert theirs.recv_vectored_with_ancillary(holes, ancillary) == IOV_MAX
    assert b"".join(holes) == b"x" * IOV_MAX + b"\0"
    ancillary.clear()


def test_2_2_closed_peer() -> None:
    """SIGPIPE would kill the child; it is told EPIPE instead."""
    assert child("sigpipe") == "EPIPE"


@needs_passrights
def test_2_2_so_passrights_0_on_receiver(pair: tuple[Any, Any], fd: int) -> None:
    ours, theirs = pair
    theirs.socket.setsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS, 0)
    ancillary = SocketAncillary(64)
    ancillary.add_fds([fd])
    with pytest.raises(PermissionError) as refused:
        ours.send_vectored_with_ancillary([b"x"], ancillary)
    assert refused.value.errno == errno.EPERM


@pytest.mark.skipif(
    os.geteuid() == 0 and not may_become_somebody(),
    reason="root is not limited, and may not become another user",
)
def test_2_2_in_flight_fds() -> None:
    """110 are queued, and the next ten are too many: the check is before the add."""
    if may_become_somebody():
        # A user of its own, for others in flight would count too.
        answer = child("in_flight", 1_000_000 + os.getpid())
        assert answer == {"queued": 110, "then": "ETOOMANYREFS"}
    else:
        answer = child("in_flight")
        assert answer["queued"] <= 110
        assert answer["then"] == "ETOOMANYREFS"


def test_2_2_dgram_unconnected() -> None:
    sock = UnixDatagram.from_socket(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    with sock, pytest.raises(OSError, match="not connected") as refused:
        sock.send_vectored_with_ancillary([b"x"], SocketAncillary(0))
    assert refused.value.errno == errno.ENOTCONN


def test_2_2_dgram_missing_path() -> None:
    ours, theirs = UnixDatagram.pair()
    with ours, theirs, pytest.raises(FileNotFoundError):
        ours.send_vectored_with_ancillary_to([b"x"], SocketAncillary(0), "missing")


@pytest.mark.parametrize("length", [108, 200])
def test_2_2_dgram_200_char_path(length: int) -> None:
    ours, theirs = UnixDatagram.pair()
    with ours, theirs, pytest.raises(InvalidInput, match="expected 107 at most") as no:
        ours.send_vectored_with_ancillary_to([b"x"], SocketAncillary(0), "p" * length)
    assert isinstance(no.value, OSError)
    assert no.value.errno is None
