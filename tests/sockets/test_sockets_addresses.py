"""Addresses of Unix sockets: paths, abstract names, none, and what would be cut."""

from __future__ import annotations

import os
import socket
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancfuzz import UsageError
from ancfuzz.ancillary import ScmRights, SocketAncillary
from ancfuzz.sockets import InvalidInput, UnixDatagram, UnixSeqpacket, UnixStream
from ancfuzz.sockets.addresses import decode_address, encode_address
from tests.socket_kinds import NOTHING, TYPES

if TYPE_CHECKING:
    from collections.abc import Callable

on_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="abstract names are Linux's"
)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("as_path", [str, os.fsencode, Path])
def test_connect(kind: Any, as_path: Any) -> None:
    path = as_path("socket")
    with socket.socket(socket.AF_UNIX, TYPES[kind]) as listener:
        listener.bind("socket")
        if kind is not UnixDatagram:
            listener.listen()
        with kind.connect(path) as ours:
            assert ours.send_vectored_with_ancillary([b"x"], NOTHING) == 1
            theirs = listener if kind is UnixDatagram else listener.accept()[0]
            assert theirs.recv(8) == b"x"
            theirs.close()


def test_connect_to_nobody(kind: Any, here: Path) -> None:
    with pytest.raises(FileNotFoundError):
        kind.connect("missing")
    (here / "file").touch()
    with pytest.raises(ConnectionRefusedError):
        kind.connect("file")
    with pytest.raises(OSError, match="in use"):
        UnixDatagram.bind("file")


@pytest.mark.usefixtures("here")
def test_datagrams_to_and_from_a_path() -> None:
    with UnixDatagram.bind(Path("one")) as ours, UnixDatagram.bind("two") as theirs:
        with SocketAncillary(64) as ancillary:
            ancillary.add_fds([ours.fileno()])
            sent = ours.send_vectored_with_ancillary_to([b"abc"], ancillary, "two")
            assert sent == 3
            data = bytearray(2)
            got = theirs.recv_vectored_with_ancillary_from([data], ancillary)
            assert got == (2, True, "one")
            assert data == b"ab"
            (rights,) = ancillary.messages()
            assert isinstance(rights, ScmRights)
            assert os.path.sameopenfile(rights.fds[0], ours.fileno())
        theirs.socket.connect("one")
        theirs.send_vectored_with_ancillary([b"x"], NOTHING)
        got = ours.recv_vectored_with_ancillary_from([bytearray(1)], NOTHING)
        assert got == (1, False, "two")


@on_linux
@pytest.mark.parametrize("as_path", [os.fsdecode, bytes])
def test_abstract_names(as_path: Any) -> None:
    name = as_path(b"\0ancfuzz \xff\0 %d" % os.getpid())
    with UnixDatagram.bind(name) as ours, UnixDatagram.bind("") as theirs:
        theirs.send_vectored_with_ancillary_to([b"x"], NOTHING, name)
        got = ours.recv_vectored_with_ancillary_from([bytearray(1)], NOTHING)
        own = theirs.socket.getsockname()
        assert got == (1, False, own)
        assert isinstance(own, bytes)  # the kernel chose it
        with UnixDatagram.connect(name) as third:
            assert third.socket.getpeername() == os.fsencode(name)


def test_no_address_is_none(pair: tuple[Any, Any]) -> None:
    ours, theirs = UnixDatagram.pair()
    with ours, theirs:
        ours.send_vectored_with_ancillary([b"x"], NOTHING)
        got = theirs.recv_vectored_with_ancillary_from([bytearray(1)], NOTHING)
        assert got == (1, False, None)


@pytest.mark.parametrize(
    "use",
    [
        UnixStream.connect,
        UnixDatagram.connect,
        UnixSeqpacket.connect,
        UnixDatagram.bind,
        encode_address,
    ],
)
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("p" * 200, "a path of 200 bytes"),
        ("ä" * 60, "a path of 120 bytes"),
        ("p" * 108, "a path of 108 bytes"),
        (b"\0" + b"a" * 108, "a path of 109 bytes"),
        ("a\0b", "zero byte inside"),
        (b"a\0", "zero byte inside"),
    ],
)
def test_a_path_that_would_be_cut_is_refused(
    use: Callable[[Any], object], path: Any, said: str
) -> None:
    with pytest.raises(InvalidInput, match=said) as refused:
        use(path)
    assert isinstance(refused.value, UsageError)
    assert isinstance(refused.value, OSError)
    assert isinstance(refused.value, ValueError)
    assert refused.value.errno is None


paths = st.binary(min_size=1, max_size=107).filter(lambda path: b"\0" not in path)
names = st.binary(max_size=107).map(lambda name: b"\0" + name)


@given(path=st.one_of(paths, names))
def test_addresses_come_back(path: bytes) -> None:
    address = encode_address(path)
    assert address[:2] == struct.pack("=H" if sys.platform == "linux" else "=xB", 1)
    expected = path if path[0] == 0 else os.fsdecode(path)
    assert decode_address(address) == expected


@given(path=paths)
def test_longest_path_is_not_cut_without_its_zero_byte(path: bytes) -> None:
    """As the kernel gives one that fills the structure: there is no room for it."""
    assert decode_address(encode_address(path)[:-1]) == os.fsdecode(path)
    assert (
        decode_address(b"") is decode_address(None) is decode_address(b"\1\0") is None
    )
