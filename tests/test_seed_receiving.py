"""What Rust's SocketAncillary was observed to do, row by row: receiving and reading.

Each test is a row of a table of observations (2.4 receive, 2.5 unknown messages, 2.6
crafted control bytes) and is named after it.  See test_seed_tables.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import ancfuzz
from ancfuzz import ControlMessage, MalformedControl, encode
from ancfuzz.abi import NATIVE
from ancfuzz.ancillary import (
    ScmCredentials,
    ScmRights,
    SocketAncillary,
    SocketCred,
    UnknownMessage,
)
from ancfuzz.descriptors import is_close_on_exec, open_numbers
from ancfuzz.sockets import InvalidInput, UnixDatagram, UnixSeqpacket, UnixStream

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the tables were observed on Linux"
)

OWN = SocketCred.current()
# What a child has to find: the package that is tested, and what it needs.
PATH = [str(Path(ancfuzz.__file__).parent.parent), *filter(None, sys.path)]
CANARY = 0xA5

# The tables were observed with headers of 16 bytes; on 32-bit hosts they have 12.
HEADER = NATIVE.data_offset
align, space, length_of = NATIVE.align, NATIVE.cmsg_space, NATIVE.cmsg_len
CREDS = space(12)


@pytest.fixture(autouse=True)
def leaks_nothing() -> Iterator[None]:
    before = open_numbers()
    yield
    assert open_numbers() == before


@pytest.fixture
def fd() -> Iterator[int]:
    one, other = os.pipe()
    yield one
    os.close(one)
    os.close(other)


@pytest.fixture
def stream() -> Iterator[tuple[UnixStream, UnixStream]]:
    one, other = UnixStream.pair()
    with one, other:
        yield one, other


@pytest.fixture
def datagram() -> Iterator[tuple[UnixDatagram, UnixDatagram]]:
    one, other = UnixDatagram.pair()
    with one, other:
        yield one, other


@pytest.fixture(params=[UnixStream, UnixDatagram, UnixSeqpacket])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Any, Any]]:
    one, other = request.param.pair()
    with one, other:
        yield one, other


@cache
def child(scenario: str) -> Any:
    """The answer of seed_child.py."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("seed_child.py")), scenario],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(PATH)},
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def send(sock: Any, data: bytes, *fds: int) -> None:
    ancillary = SocketAncillary(SocketAncillary.capacity_for(fds=len(fds)))
    if fds:
        ancillary.add_fds(fds)
    assert sock.send_vectored_with_ancillary([data], ancillary) == len(data)


def numbers_in(ancillary: SocketAncillary) -> list[int]:
    """All descriptors of all SCM_RIGHTS messages."""
    found = [one for one in ancillary.messages() if isinstance(one, ScmRights)]
    return [number for message in found for number in message]


def receive(sock: Any, size: int = 64, capacity: int = 4096) -> tuple[bytes, int]:
    """Data, and how many descriptors came with it; those are closed."""
    data = bytearray(size)
    with SocketAncillary(capacity) as ancillary:
        got: Any = sock.recv_vectored_with_ancillary([data], ancillary)
        count: int = got if isinstance(sock, UnixStream) else got[0]
        return bytes(data[:count]), len(numbers_in(ancillary))


def accepts(option: int | None) -> bool:
    """Whether this kernel knows an option of Unix sockets."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        try:
            ours.setsockopt(socket.SOL_SOCKET, option or -1, 1)
        except OSError:
            return False
    return True


# 2.4 Receive


@pytest.mark.parametrize("count", range(65))
def test_2_4_closed_form(
    stream: tuple[UnixStream, UnixStream], fd: int, count: int
) -> None:
    """All capacities from 0 to 300, for each number of descriptors from 0 to 64."""
    ours, theirs = stream
    sent = SocketAncillary(SocketAncillary.capacity_for(fds=count))
    sent.add_fds([fd] * count)
    memory = bytearray(301)
    data = [bytearray(1)]
    open_before = len(open_numbers())
    for capacity in range(301):
        memory[:] = bytes([CANARY]) * 301
        ours.send_vectored_with_ancillary([b"x"], sent)
        with SocketAncillary(memoryview(memory)[:capacity]) as received:
            theirs.recv_vectored_with_ancillary(data, received)
            room = max(capacity - HEADER, 0) // 4
            yielded = min(count, room)
            used = min(HEADER + align(4 * yielded), capacity) if yielded else 0
            assert received.truncated == (yielded < count), capacity
            assert len(received) == used, capacity
            numbers = numbers_in(received)
            assert len(numbers) == yielded, capacity
            if capacity % 29 == 0:  # it costs as much as all the rest
                assert len(open_numbers()) == open_before + yielded, capacity
            assert all(os.path.sameopenfile(number, fd) for number in numbers[-1:])
        assert memory[capacity:] == bytes([CANARY]) * (301 - capacity)
    assert len(open_numbers()) == open_before


def test_2_4_cap_0_with_fds_sent(pair: tuple[Any, Any], fd: int) -> None:
    ours, theirs = pair
    send(ours, b"x", fd, fd)
    ancillary = SocketAncillary(0)
    theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary)
    assert ancillary.is_empty
    assert ancillary.truncated


@pytest.mark.parametrize("capacity", range(HEADER, HEADER + 12))
def test_2_4_creds_into_cap_16_to_27(pair: tuple[Any, Any], capacity: int) -> None:
    ours, theirs = pair
    theirs.set_passcred(True)
    send(ours, b"x")
    ancillary = SocketAncillary(capacity)
    theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary)
    assert list(ancillary.messages()) == [ScmCredentials(())]
    assert struct.unpack_from("@N", ancillary.control) == (capacity,)
    assert ancillary.truncated


@pytest.mark.parametrize("capacity", range(HEADER + 12, CREDS + 1))
def test_2_4_creds_into_cap_28_to_31(pair: tuple[Any, Any], capacity: int) -> None:
    ours, theirs = pair
    theirs.set_passcred(True)
    send(ours, b"x")
    ancillary = SocketAncillary(capacity)
    theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary)
    assert list(ancillary.messages()) == [ScmCredentials((OWN,))]
    assert len(ancillary) == capacity
    assert not ancillary.truncated


@pytest.mark.parametrize("capacity", range(CREDS + 1, CREDS + HEADER + 4))
def test_2_4_creds_and_2_fds_into_cap_33_to_51(
    pair: tuple[Any, Any], fd: int, capacity: int
) -> None:
    ours, theirs = pair
    theirs.set_passcred(True)
    send(ours, b"x", fd, fd)
    ancillary = SocketAncillary(capacity)
    theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary)
    assert list(ancillary.messages()) == [ScmCredentials((OWN,))]
    assert len(ancillary) == CREDS
    assert ancillary.truncated
    assert ancillary.take_fds() == []


def test_2_4_fd_table_room_for_5_of_10() -> None:
    assert child("small_table")["5"] == {
        "length": space(20),
        "truncated": True,
        "yielded": [5],
        "installed": 5,
    }


def test_2_4_fd_table_full() -> None:
    assert child("small_table")["0"] == {
        "length": 0,
        "truncated": True,
        "yielded": [],
        "installed": 0,
    }


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


# 2.5 Unknown messages

SO_PASSPIDFD = NATIVE.constants.get("SO_PASSPIDFD")
SO_TIMESTAMP = NATIVE.constants.get("SO_TIMESTAMP")
SO_TIMESTAMPNS = 35  # and the type of its message, on x86 and arm
SO_INQ = 84  # likewise
SO_RXQ_OVFL = 40
GENERIC = NATIVE.constants.get("SO_PASSCRED") == 16 and SO_TIMESTAMP == 29


def has(option: int | None, name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        not (GENERIC and accepts(option)), reason=f"this kernel has no {name}"
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


# 2.6 Crafted control bytes: written to the buffer behind the back of SocketAncillary.


def crafted(length: int, region: int = 2 * HEADER, data: bytes = b"") -> Any:
    """A buffer whose first header claims a length, in a region of zeros."""
    buffer = bytearray(region)
    ancillary = SocketAncillary(buffer)
    for _ in range(region // HEADER):
        assert ancillary.add_fds([])
    buffer[:] = bytes(region)
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS)
    struct.pack_into("@Nii", buffer, 0, length, *rights)
    buffer[HEADER : HEADER + len(data)] = data
    return ancillary


@pytest.mark.parametrize("length", [0, 1, HEADER - 1])
def test_2_6_cmsg_len_too_small_as_first_header(length: int) -> None:
    """SIGSEGV in the original (B21)."""
    with pytest.raises(MalformedControl) as malformed:
        list(crafted(length).messages())
    assert malformed.value.offset == 0
    assert malformed.value.needed == HEADER
    assert malformed.value.available == length


@pytest.mark.parametrize(
    "length", [2 * HEADER + 1, 1000, sys.maxsize, 2 * sys.maxsize + 1]
)
def test_2_6_cmsg_len_beyond_the_region(length: int) -> None:
    """246 descriptors of somebody else's memory, or SIGSEGV, in the original (B21)."""
    ancillary = crafted(length)
    with pytest.raises(MalformedControl) as malformed:
        list(ancillary.messages())
    assert malformed.value.needed == length
    assert malformed.value.available == 2 * HEADER
    assert "malformed control message at offset 0" in repr(ancillary)


def test_2_6_cmsg_len_16() -> None:
    """The zero tail is Unknown{0,0} to the original, and no message here."""
    messages = crafted(HEADER).messages()
    assert next(messages) == ScmRights(())
    with pytest.raises(MalformedControl) as malformed:
        next(messages)
    assert malformed.value.offset == HEADER


@pytest.mark.parametrize("stray", [1, 2, 3])
def test_2_6_cmsg_len_17_to_19(stray: int) -> None:
    ancillary = crafted(HEADER + stray, 2 * HEADER)
    assert next(ancillary.messages()) == ScmRights(())


@pytest.mark.parametrize(("payload", "count"), [(11, 0), (12, 1), (23, 1), (30, 2)])
def test_2_6_creds_payload(payload: int, count: int) -> None:
    cred = SocketCred(1, 2, 3)
    data = cred.encode() * 3
    type_ = NATIVE.constants["SCM_CREDENTIALS"]
    whole = encode([ControlMessage(socket.SOL_SOCKET, type_, data[:payload])])
    buffer = bytearray(4 * HEADER)
    ancillary = SocketAncillary(buffer)
    while ancillary.add_fds([]):
        pass
    buffer[: len(whole)] = whole
    assert next(ancillary.messages()) == ScmCredentials((cred,) * count)


def test_2_6_region_below_16(fd: int) -> None:
    ancillary = SocketAncillary(HEADER - 1)
    assert not ancillary.add_fds([])
    ours, theirs = UnixStream.pair()
    with ours, theirs:
        send(ours, b"x", fd)
        theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary)
    assert list(ancillary.messages()) == []
    assert ancillary.truncated
