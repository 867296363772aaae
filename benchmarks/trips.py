"""Round trips: send a byte with descriptors, receive them, close them.

All of that is in the time, because all of it is in the program of whoever passes
descriptors: what is received is owned by somebody, and has to be closed.  No
identities are asked for; that is a test's business and not a program's.

Before any clock starts each contender makes one round trip, which must bring as many
descriptors as were sent and leave none open.  The C loop is ``native``'s.
"""

from __future__ import annotations

import os
import resource
import socket
import struct
from array import array
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import native
from pairing import (
    CannotMeasure,
    Cell,
    Contender,
    Effort,
    Table,
    by_row,
    column,
    python,
)

from ancfuzz import ControlMessage, ScmRights, SocketAncillary, UnixDatagram, UnixStream
from ancfuzz.implementations import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

COUNTS = (0, 1, 8, 64, 253)
KINDS: dict[str, type[UnixDatagram | UnixStream]] = {
    "datagram": UnixDatagram,
    "stream": UnixStream,
}
AGAINST = "send_fds, recv_fds"
_BYTE = b"x"
_MOST_NUMBERS = 512  # what was received, what this process has besides, and room


class Road(NamedTuple):
    """Two sockets of a kind, and what is to go from one to the other."""

    kind: str
    one: socket.socket
    other: socket.socket
    fds: tuple[int, ...]

    def ours(self) -> Sequence[UnixDatagram | UnixStream]:
        """The same two sockets, as ours."""
        kind = KINDS[self.kind]
        return kind.from_socket(self.one), kind.from_socket(self.other)


@contextmanager
def road(kind: str, count: int) -> Generator[Road]:
    """A road for as long as the block runs."""
    sockets = socket.socketpair(
        socket.AF_UNIX,
        socket.SOCK_STREAM if kind == "stream" else socket.SOCK_DGRAM,
    )
    with sockets[0], sockets[1], Path(os.devnull).open("rb") as file:
        yield Road(kind, *sockets, (file.fileno(),) * count)


def send_fds(on: Road) -> Callable[[], int]:
    """The standard library's own pair of functions."""
    one, other, fds = on.one, on.other, on.fds
    count = len(fds)

    def trip() -> int:
        socket.send_fds(one, [_BYTE], fds)
        _, received, _, _ = socket.recv_fds(other, 1, count)
        for fd in received:
            os.close(fd)
        return len(received)

    return trip


def sendmsg_with_array(on: Road) -> Callable[[], int]:
    """The recipe of the ``socket`` module's documentation."""
    one, other, fds = on.one, on.other, on.fds
    capacity = socket.CMSG_SPACE(4 * len(fds))
    level, type_ = int(socket.SOL_SOCKET), int(socket.SCM_RIGHTS)

    def trip() -> int:
        one.sendmsg([_BYTE], [(level, type_, array("i", fds))])
        _, messages, _, _ = other.recvmsg(1, capacity)
        received = array("i")
        for message in messages:
            if message[0] == level and message[1] == type_:
                received.frombytes(message[2])
        for fd in received:
            os.close(fd)
        return len(received)

    return trip


def reference(on: Road) -> Callable[[], int]:
    """``ancfuzz.implementations.Reference``, which closes nothing itself."""
    one, other, fds = on.one, on.other, on.fds
    capacity = socket.CMSG_SPACE(4 * len(fds))
    level, type_ = int(socket.SOL_SOCKET), int(socket.SCM_RIGHTS)
    ints = struct.Struct(f"={len(fds)}i")
    implementation = Reference()

    def trip() -> int:
        rights = ControlMessage(level, type_, ints.pack(*fds))
        implementation.send(one, _BYTE, (rights,))
        count = 0
        for message in implementation.receive(other, 1, capacity).messages:
            for fd in ints.unpack(message.data):
                os.close(fd)
                count += 1
        return count

    return trip


def received(ancillary: SocketAncillary) -> int:
    """Look at what was received, and count it."""
    return sum(len(one) for one in ancillary.messages() if isinstance(one, ScmRights))


def taken(on: Road) -> Callable[[], int]:
    """``SocketAncillary``; what was received is taken, and closed by hand."""
    one, other = on.ours()
    fds = on.fds
    capacity = SocketAncillary.capacity_for(fds=len(fds))
    to_send, to_receive = SocketAncillary(capacity), SocketAncillary(capacity)
    data = [_BYTE]
    room = [bytearray(1)]

    def trip() -> int:
        to_send.clear()
        to_send.add_fds(fds)
        one.send_vectored_with_ancillary(data, to_send)
        other.recv_vectored_with_ancillary(room, to_receive)
        received = to_receive.take_fds()
        for fd in received:
            os.close(fd)
        return len(received)

    return trip


def closed_by_with(on: Road) -> Callable[[], int]:
    """``SocketAncillary``, which closes what was received when the block ends."""
    one, other = on.ours()
    fds = on.fds
    capacity = SocketAncillary.capacity_for(fds=len(fds))
    to_send, to_receive = SocketAncillary(capacity), SocketAncillary(capacity)
    data = [_BYTE]
    room = [bytearray(1)]

    def trip() -> int:
        to_send.clear()
        to_send.add_fds(fds)
        one.send_vectored_with_ancillary(data, to_send)
        with to_receive:
            other.recv_vectored_with_ancillary(room, to_receive)
            return received(to_receive)

    return trip


def unread(on: Road) -> Callable[[], int]:
    """As :func:`closed_by_with`, where nobody looks at what was received."""
    one, other = on.ours()
    fds = on.fds
    count = len(fds)
    capacity = SocketAncillary.capacity_for(fds=count)
    whole = capacity if count else 0  # of no descriptors there is no message
    to_send, to_receive = SocketAncillary(capacity), SocketAncillary(capacity)
    data = [_BYTE]
    room = [bytearray(1)]

    def trip() -> int:
        to_send.clear()
        to_send.add_fds(fds)
        one.send_vectored_with_ancillary(data, to_send)
        with to_receive:
            other.recv_vectored_with_ancillary(room, to_receive)
            return count if len(to_receive) == whole else -1

    return trip


def new_each_time(on: Road) -> Callable[[], int]:
    """As :func:`closed_by_with`, with new buffers for each round trip."""
    one, other = on.ours()
    fds = on.fds
    capacity = SocketAncillary.capacity_for(fds=len(fds))

    def trip() -> int:
        to_send = SocketAncillary(capacity)
        to_send.add_fds(fds)
        one.send_vectored_with_ancillary([_BYTE], to_send)
        with SocketAncillary(capacity) as to_receive:
            other.recv_vectored_with_ancillary([bytearray(1)], to_receive)
            return received(to_receive)

    return trip


TRIPS = {
    "ours, with": closed_by_with,
    "ours, with, unread": unread,
    "ours, with, new buffers": new_each_time,
    "ours, take_fds, close()": taken,
    "ours, Reference, close()": reference,
    AGAINST: send_fds,
    "sendmsg, recvmsg, array": sendmsg_with_array,
}


def tables(effort: Effort, left_out: Callable[[str, str], None]) -> Iterator[Table]:
    """Over a datagram socket, and over a stream."""
    room = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if room != resource.RLIM_INFINITY and room < _MOST_NUMBERS:
        raise CannotMeasure(
            f"RLIMIT_NOFILE is {room}: expected {_MOST_NUMBERS}, to receive 253"
        )
    found = native.compiler()
    if found is None:
        left_out("the C loop", "no gcc, cc or clang on PATH (Debian: gcc libc6-dev)")
    loop = None if found is None else native.build(found)
    for kind in KINDS:
        columns: dict[str, dict[str, Cell]] = {}
        for count in COUNTS:
            with road(kind, count) as on:
                rows = contenders(on, loop)
                columns[str(count)] = column(rows, AGAINST, effort)
        title = f"round trip over a {kind}: descriptors sent, received, closed"
        yield Table(kind, title, "ratio", AGAINST, tuple(columns), by_row(columns))


def contenders(on: Road, loop: Callable[..., int] | None) -> list[Contender]:
    """Who makes round trips; each has made one."""
    found: list[Contender] = []
    for name, make in TRIPS.items():
        trip = make(on)
        before = open_numbers()
        if (arrived := trip()) != len(on.fds):
            raise CannotMeasure(f"{name}: {arrived} descriptors of {len(on.fds)}")
        if left := open_numbers() - before:
            raise CannotMeasure(f"{name}: leaves {sorted(left)} open")
        found.append(python(name, "trip()", trip=trip))
    if loop is not None:
        found += native.contenders(loop, on.one, on.other, on.fds)
    return found


def open_numbers() -> set[int]:
    """Descriptors of this process that are open, of those that it may get here."""
    found: set[int] = set()
    for number in range(_MOST_NUMBERS):
        with suppress(OSError):
            os.fstat(number)
            found.add(number)
    return found
