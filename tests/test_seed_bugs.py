"""What is wrong with Rust's SocketAncillary, and right here: one test for each finding.

The numbers are those of the table in docs/seed.md, which says what the original does.
Findings that are a row of the other tables are tested there.
"""

from __future__ import annotations

import array
import os
import socket
import struct
import sys
from typing import TYPE_CHECKING

import pytest

from ancfuzz import decode
from ancfuzz.abi import ABIS, NATIVE
from ancfuzz.ancillary import (
    ScmCredentials,
    ScmRights,
    SocketAncillary,
    SocketCred,
    UnknownMessage,
)
from ancfuzz.descriptors import open_numbers
from ancfuzz.sockets import UnixDatagram, UnixStream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ancfuzz import Abi

on_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="observed on Linux, by its rules of truncation"
)

SO_PASSPIDFD = NATIVE.constants.get("SO_PASSPIDFD")


def accepts(option: int | None) -> bool:
    """Whether this kernel knows an option of Unix sockets."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        try:
            ours.setsockopt(socket.SOL_SOCKET, option or -1, 1)
        except OSError:
            return False
    return True


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


@on_linux
@pytest.mark.parametrize("count", range(10))
@pytest.mark.parametrize(
    "option",
    [
        pytest.param(NATIVE.constants.get("SO_PASSCRED"), id="SO_PASSCRED"),
        pytest.param(
            SO_PASSPIDFD,
            id="SO_PASSPIDFD",
            marks=pytest.mark.skipif(
                not accepts(SO_PASSPIDFD), reason="this kernel has no SO_PASSPIDFD"
            ),
        ),
    ],
)
def test_b1_b3_what_is_installed_is_reported(
    stream: tuple[UnixStream, UnixStream], fd: int, count: int, option: int
) -> None:
    """B1: 100 of 1210 cases lose descriptors, 20 in silence; B3: 666 a pidfd."""
    ours, theirs = stream
    theirs.socket.setsockopt(socket.SOL_SOCKET, option, 1)
    sent = SocketAncillary(SocketAncillary.capacity_for(fds=count))
    sent.add_fds([fd] * count)
    before = open_numbers()
    for capacity in range(121):
        ours.send_vectored_with_ancillary([b"x"], sent)
        received = SocketAncillary(capacity)
        theirs.recv_vectored_with_ancillary([bytearray(1)], received)
        installed = open_numbers() - before
        shown = [
            number for message in received.messages() for number in shown_in(message)
        ]
        assert {*shown} == installed, capacity
        taken = received.take_fds() + received.take_pidfds()
        assert {*taken} == installed, capacity
        for number in taken:
            os.close(number)
        arrived = [one for one in received.messages() if isinstance(one, ScmRights)]
        assert received.truncated or sum(map(len, arrived)) == count, capacity


def shown_in(message: object) -> tuple[int, ...]:
    match message:
        case ScmRights():
            return message.fds
        case UnknownMessage(type=4):
            return (*array.array("i", message.data),)
        case _:
            return ()


def test_b4_looking_takes_nothing_and_taking_takes_once(
    stream: tuple[UnixStream, UnixStream], fd: int
) -> None:
    ours, theirs = stream
    ancillary = SocketAncillary(64)
    ancillary.add_fds([fd, fd])
    ours.send_vectored_with_ancillary([b"x"], ancillary)
    theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary)
    looked = list(ancillary.messages())
    taken = ancillary.take_fds()
    assert looked == [ScmRights(tuple(taken))]
    assert ancillary.take_fds() == []
    ancillary.clear()
    for number in taken:
        os.close(number)  # would fail if clear() had


TARGETS = [pytest.param(abi, id=name) for name, abi in ABIS.items()]


@pytest.mark.parametrize("abi", TARGETS)
@pytest.mark.parametrize("count", [0, 1, 2, 3, 253])
def test_b7_k_descriptors_are_4k_bytes(abi: Abi, count: int) -> None:
    """The original copies a credential's size of them on FreeBSD."""
    ancillary = SocketAncillary(2048, abi=abi)
    assert ancillary.add_fds(range(count))
    (message,) = decode(ancillary.control, abi)
    assert len(message.data) == 4 * count
    assert message.data == struct.pack(f"{abi.struct_order}{count}i", *range(count))
    assert len(ancillary) == abi.cmsg_space(4 * count)


@pytest.mark.parametrize("abi", TARGETS)
def test_b8_an_empty_message_behind_a_full_one(abi: Abi) -> None:
    """The original overwrites the first header, with musl's CMSG_NXTHDR."""
    ancillary = SocketAncillary(bytearray(b"\xa5" * 256), abi=abi)
    assert ancillary.add_fds([7])
    assert ancillary.add_fds([])
    assert ancillary.add_fds([8, 9])
    assert list(ancillary.messages()) == [
        ScmRights((7,)),
        ScmRights(()),
        ScmRights((8, 9)),
    ]


def test_b9_a_closed_number_is_another_file_when_it_is_sent(
    stream: tuple[UnixStream, UnixStream], fd: int
) -> None:
    """Not to be helped: numbers are added, not files. The docstring says so."""
    ours, theirs = stream
    number = os.dup(fd)
    ancillary = SocketAncillary(64)
    ancillary.add_fds([number])
    other = os.open(".", os.O_RDONLY)
    os.dup2(other, number)
    os.close(other)
    ours.send_vectored_with_ancillary([b"x"], ancillary)
    theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary)
    (received,) = ancillary.take_fds()
    assert os.path.sameopenfile(received, number)
    assert not os.path.sameopenfile(received, fd)
    os.close(received)
    os.close(number)


def test_b10_an_add_does_not_read_what_lies_before() -> None:
    buffer = bytearray(64)
    ancillary = SocketAncillary(buffer)
    assert ancillary.add_fds([1])
    used = len(ancillary)
    buffer[:used] = bytes(used)  # a header of length 0, at which a walk would hang
    assert ancillary.add_fds([2])
    rest = decode(ancillary.control[used:])
    assert [one.data for one in rest] == [struct.pack("@i", 2)]


@on_linux
def test_b11_adding_and_sending_do_not_hide_a_truncation(
    stream: tuple[UnixStream, UnixStream], fd: int
) -> None:
    ours, theirs = stream
    theirs.set_passcred(True)
    sent = SocketAncillary(64)
    sent.add_fds([fd])
    ours.send_vectored_with_ancillary([b"x"], sent)
    capacity = SocketAncillary.capacity_for(creds=1, fds=0)
    received = SocketAncillary(capacity)
    theirs.recv_vectored_with_ancillary([bytearray(1)], received)
    assert received.truncated
    assert not received.add_fds([fd])
    assert received.truncated
    assert received.add_fds([])
    assert received.truncated
    theirs.send_vectored_with_ancillary([b"x"], received)
    assert received.truncated
    received.clear()
    assert not received.truncated


def test_b12_why_a_value_cannot_be_added_is_said_at_once() -> None:
    ancillary = SocketAncillary(64)
    with pytest.raises(ValueError, match="2147483648: expected a C int"):
        ancillary.add_fds([3, 2**31])
    with pytest.raises(TypeError, match="'3': expected a descriptor, an int"):
        ancillary.add_fds(["3"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="expected a C int for pid"):
        ancillary.add_creds([SocketCred(2**31)])
    assert ancillary.is_empty


@pytest.mark.parametrize("fds", [None, 0, 1, 2, 253])
@pytest.mark.parametrize("creds", [None, 0, 1, 2])
def test_b13_how_much_capacity_is_enough(fds: int | None, creds: int | None) -> None:
    capacity = SocketAncillary.capacity_for(fds=fds, creds=creds)
    exact = SocketAncillary(capacity)
    assert fds is None or exact.add_fds([0] * fds)
    assert creds is None or exact.add_creds([SocketCred()] * creds)
    assert len(exact) == capacity


@on_linux
def test_b13_cmsg_len_is_enough_to_receive_and_not_to_add(
    stream: tuple[UnixStream, UnixStream], fd: int
) -> None:
    ours, theirs = stream
    exact = SocketAncillary(NATIVE.cmsg_len(4))
    assert not exact.add_fds([fd])
    sent = SocketAncillary(64)
    sent.add_fds([fd])
    ours.send_vectored_with_ancillary([b"x"], sent)
    with exact:
        theirs.recv_vectored_with_ancillary([bytearray(1)], exact)
        assert not exact.truncated
        assert len(exact) == NATIVE.cmsg_len(4)


def test_b14_any_socket_of_anybody_can_be_used(fd: int) -> None:
    """Others reach into the original's private fields for that."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    buffer = bytearray(64)
    with ours, theirs, SocketAncillary(buffer) as ancillary:
        ancillary.add_fds([fd])
        assert ancillary.sendmsg(ours.fileno(), [b"x"]) == 1
        assert ancillary.recvmsg(theirs.fileno(), [bytearray(1)]) == 1
        assert ancillary.control == buffer[: len(ancillary)]


def test_b15_everything_says_what_it_is() -> None:
    ancillary = SocketAncillary(256)
    ancillary.add_fds([3])
    ancillary.add_creds([SocketCred(1, 2, 3)])
    rights, creds = ancillary.messages()
    assert repr(rights) == "ScmRights(fds=(3,))"
    assert repr(creds) == "ScmCredentials(creds=(SocketCred(pid=1, uid=2, gid=3),))"
    used = len(ancillary)
    assert repr(ancillary) == (
        f"<SocketAncillary: {used} of 256 bytes used, {rights!r}, {creds!r}>"
    )
    ancillary.clear()
    assert repr(ancillary) == "<SocketAncillary: 0 of 256 bytes used>"


@on_linux
def test_b17_payloads_and_flags_are_not_hidden(
    stream: tuple[UnixStream, UnixStream], fd: int
) -> None:
    ours, theirs = UnixDatagram.pair()
    with ours, theirs, SocketAncillary(64) as ancillary:
        option = NATIVE.constants["SO_TIMESTAMP"]
        theirs.socket.setsockopt(socket.SOL_SOCKET, option, 1)
        ours.send_vectored_with_ancillary([b"x"], ancillary, socket.MSG_DONTWAIT)
        theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary)
        (stamp,) = ancillary.messages()
        assert isinstance(stamp, UnknownMessage)
        assert len(stamp.data) in {8, 16}
    ours_, theirs_ = stream
    peeked = SocketAncillary(64)
    peeked.add_fds([fd])
    ours_.send_vectored_with_ancillary([b"x"], peeked)
    with peeked:  # each look installs the descriptors anew (R10)
        for flags in (socket.MSG_PEEK, socket.MSG_PEEK, 0):
            assert theirs_.recv_vectored_with_ancillary([bytearray(1)], peeked, flags)
            (number,) = peeked.take_fds()
            os.close(number)


def test_b19_b20_the_kind_of_socket_decides_what_is_said() -> None:
    """A packet's MSG_TRUNC is in every packet socket's answer, the address too."""
    ours, theirs = UnixDatagram.pair()
    with ours, theirs:
        ours.send_vectored_with_ancillary([b"12345678"], SocketAncillary(0))
        got = theirs.recv_vectored_with_ancillary_from(
            [bytearray(2), bytearray(2)], SocketAncillary(0)
        )
        assert got == (4, True, None)


def test_b23_a_send_changes_nothing(
    stream: tuple[UnixStream, UnixStream], fd: int
) -> None:
    ours, _ = stream
    ancillary = SocketAncillary(64)
    ancillary.add_fds([fd])
    before = (ancillary.control, ancillary.flags, ancillary.truncated)
    ours.send_vectored_with_ancillary([b"x"], ancillary)
    assert (ancillary.control, ancillary.flags, ancillary.truncated) == before


@pytest.mark.parametrize(
    "abi", [pytest.param(abi, id=name) for name, abi in ABIS.items() if abi.structs]
)
def test_b16_credentials_of_other_systems(abi: Abi) -> None:
    """What the original compiles only for them is read and written anywhere here."""
    cred = SocketCred(1, 2, 3)
    ancillary = SocketAncillary(256, abi=abi)
    assert ancillary.add_creds([cred, cred])
    assert list(ancillary.messages()) == [ScmCredentials((cred, cred))]
    (message,) = decode(ancillary.control, abi)
    assert message.data == cred.encode(abi) * 2
