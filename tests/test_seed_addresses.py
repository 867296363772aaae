"""Where datagrams go and where they come from: paths, abstract names, and none.

What is refused before the kernel is asked is in ``test_sockets_addresses``; here the
kernel has its say.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ancfuzz.ancillary import SocketAncillary
from ancfuzz.descriptors import open_numbers
from ancfuzz.sockets import InvalidInput, UnixDatagram, UnixSeqpacket, UnixStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONGEST = 107 if sys.platform == "linux" else 103
NOTHING = SocketAncillary(0)

on_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="abstract names are Linux's"
)


@pytest.fixture(autouse=True)
def leaks_nothing() -> Iterator[None]:
    before = open_numbers()
    yield
    assert open_numbers() == before


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the working one: paths in it are short wherever it is."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def heard_from(server: UnixDatagram) -> str | bytes | None:
    count, cut, sender = server.recv_vectored_with_ancillary_from(
        [bytearray(8)], NOTHING
    )
    assert (count, cut) == (5, False)
    return sender


def send(client: UnixDatagram, path: Any) -> None:
    assert client.send_vectored_with_ancillary_to([b"hello"], NOTHING, path) == 5


@pytest.mark.parametrize(
    "path",
    [
        "name",
        b"name",
        Path("name"),
        "./sub/../name",
        b"\xff\xfe not text",
        os.fsdecode(b"\xff\xfe not text"),  # the same, with surrogates
        "ümläut",
        " ",
        "n" * LONGEST,
        b"n" * LONGEST,
    ],
    ids=ascii,
)
def test_a_path_there_and_back(path: Any, here: Path) -> None:
    (here / "sub").mkdir()
    with UnixDatagram.bind(path) as server, UnixDatagram.bind("client") as client:
        assert os.path.lexists(path)
        send(client, path)
        assert heard_from(server) == "client"
        send(server, "client")
        assert heard_from(client) == os.fsdecode(path)  # as it was bound, not resolved
        with UnixDatagram.connect(path) as third:
            third.send_vectored_with_ancillary([b"hello"], NOTHING)
            assert heard_from(server) is None


@pytest.mark.parametrize("length", [LONGEST + 1, LONGEST + 2, 4096])
@pytest.mark.parametrize("kind", [str.encode, str, Path])
def test_a_path_that_is_too_long_is_refused_before_anything_is_sent(
    length: int, kind: Any
) -> None:
    path = kind("n" * length)
    with UnixDatagram.bind("client") as client:
        uses: list[Callable[[Any], object]] = [
            UnixDatagram.bind,
            UnixDatagram.connect,
            UnixStream.connect,
            partial(send, client),
        ]
        for use in uses:
            with pytest.raises(InvalidInput, match=f"a path of {length} bytes") as told:
                use(path)
            assert "a shorter one can lead there by a link" in str(told.value)


def test_a_link_leads_to_a_socket_that_is_too_far(here: Path) -> None:
    """As the error advises."""
    far = here / ("d" * 100)
    far.mkdir()
    (here / "near").symlink_to(far)
    with UnixDatagram.bind("near/socket") as server, UnixDatagram.bind("") as client:
        assert (far / "socket").exists()
        send(client, "near/socket")
        heard_from(server)


def test_relative_paths_are_relative_to_where_one_is(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "sub").mkdir()
    with UnixDatagram.bind("name") as server, UnixDatagram.bind("client") as client:
        monkeypatch.chdir(here / "sub")
        with pytest.raises(FileNotFoundError):
            send(client, "name")
        send(client, "../name")
        # The kernel keeps what was bound, which leads nowhere from here.
        assert heard_from(server) == "client"
        with pytest.raises(FileNotFoundError):
            send(server, "client")


def test_a_name_that_was_removed(here: Path) -> None:
    with UnixDatagram.bind("name") as server, UnixDatagram.connect("name") as client:
        (here / "name").unlink()
        client.send_vectored_with_ancillary([b"hello"], NOTHING)  # it has the socket
        assert heard_from(server) is None
        with pytest.raises(FileNotFoundError):
            send(client, "name")
        with UnixDatagram.bind("name") as successor:
            with UnixDatagram.bind("other") as other:
                send(other, "name")
            assert heard_from(successor) == "other"


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("missing", errno.ENOENT),
        ("folder", errno.ECONNREFUSED),
        ("file", errno.ECONNREFUSED),
        ("file/below", errno.ENOTDIR),
        ("loop", errno.ELOOP),
        ("dead", errno.ECONNREFUSED),
        ("stream", errno.EPROTOTYPE),
        ("x" * 50 + "/" + "y" * 50, errno.ENOENT),
    ],
)
def test_nobody_is_there(path: str, number: int, here: Path) -> None:
    (here / "folder").mkdir()
    (here / "file").touch()
    (here / "loop").symlink_to("loop")
    UnixDatagram.bind("dead").close()
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream,
        UnixDatagram.bind("client") as client,
    ):
        stream.bind("stream")
        uses: list[Callable[[Any], object]] = [
            UnixDatagram.connect,
            partial(send, client),
        ]
        for use in uses:
            with pytest.raises(OSError, match=os.strerror(number)) as told:
                use(path)
            assert told.value.errno == number
        if path != "stream":
            for kind in (UnixStream, UnixSeqpacket):
                with pytest.raises(OSError, match=os.strerror(number)):
                    kind.connect(path)


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("file", errno.EADDRINUSE),
        ("folder", errno.EADDRINUSE),
        ("missing/name", errno.ENOENT),
        ("file/name", errno.ENOTDIR),
    ],
)
def test_where_no_socket_can_be(path: str, number: int, here: Path) -> None:
    (here / "folder").mkdir()
    (here / "file").touch()
    with pytest.raises(OSError, match=os.strerror(number)) as told:
        UnixDatagram.bind(path)
    assert told.value.errno == number


@on_linux
@pytest.mark.parametrize(
    "rest", [b"", b"\0", b"\0inner\0zeros\0", b"\xff\xfe", b"/a/path"], ids=ascii
)
@pytest.mark.parametrize("kind", [bytes, os.fsdecode])
def test_abstract_names_are_bytes_of_some_length(rest: bytes, kind: Any) -> None:
    own = b"\0ancfuzz %d " % os.getpid() + rest
    full = own.ljust(108, b".")
    for name in (own, full):
        with UnixDatagram.bind(kind(name)) as server:
            assert server.socket.getsockname() == name
            with UnixDatagram.bind(b"\0" + name[1:-1] + b"!") as client:
                send(client, kind(name))
                assert heard_from(server) == client.socket.getsockname()
            # A zero byte more, or fewer, is another name.
            with pytest.raises(ConnectionRefusedError):
                UnixDatagram.connect(name[:-1])
        with pytest.raises(ConnectionRefusedError):  # it goes with its socket
            UnixDatagram.connect(kind(name))


@on_linux
def test_an_empty_path_is_any_abstract_name_and_no_destination() -> None:
    with UnixDatagram.bind("") as one, UnixDatagram.bind(b"") as other:
        names = [end.socket.getsockname() for end in (one, other)]
        assert len({*names}) == 2
        for name in names:
            assert isinstance(name, bytes)
            assert len(name) == 6  # a zero byte and five digits (unix(7))
            assert name[0] == 0
        send(one, names[1])
        assert heard_from(other) == names[0]
        uses: list[Callable[[Any], object]] = [UnixDatagram.connect, partial(send, one)]
        for use in uses:
            with pytest.raises(OSError, match="Invalid argument"):
                use("")


def test_a_peer_that_is_connected_elsewhere_does_not_listen() -> None:
    with (
        UnixDatagram.bind("server") as server,
        UnixDatagram.bind("friend") as friend,
        UnixDatagram.bind("stranger") as stranger,
    ):
        server.socket.connect("friend")
        send(friend, "server")
        assert heard_from(server) == "friend"
        with pytest.raises(PermissionError):
            send(stranger, "server")
        # To where it is connected a datagram goes without an address, too.
        server.send_vectored_with_ancillary([b"hello"], NOTHING)
        assert heard_from(friend) == "server"
