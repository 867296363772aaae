"""Which receive got which send: the calls of a recording, put back together.

Programs mix sendmsg with write(2) and recvmsg with read(2), which are not recorded, so
nothing can be counted from the beginning of a connection.  A receive is matched with a
send by what passed: between the two ends of one connection, or where no end is known,
the same descriptors, by identity, in the same order, and the same bytes.

The rules of what one receive may hold are those of ``net/unix/af_unix.c``.  A packet is
one message.  Of a stream it is what was queued: plain bytes first, then at most one
message with descriptors, which ends it (R12); the rest of a message that did not fit
comes with later receives.  Only what follows these rules is matched; the rest is
counted as unmatched, never guessed.

This room knows calls. It must not know what a case is.
"""

from __future__ import annotations

import errno
import itertools
import socket
from typing import TYPE_CHECKING, Final

import msgspec

from ancfuzz.recorder.log import Call, ReceiveCall, SendCall

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Exchange", "Matching", "match"]

_NOTHING_THERE: Final = frozenset({errno.EAGAIN})
# What a send is refused for on account of its control message alone.
_REFUSED: Final = frozenset({errno.EBADF, errno.EINVAL})
_MOST_RECEIVES: Final = 4


class Exchange(msgspec.Struct, frozen=True):
    """One send and what became of it, or a receive that found nothing.

    Attributes:
        sent: the send; None if there was nothing to receive.
        received: the receives that got it, in order; none if it was refused.
        before: plain bytes that came with the first receive, in front of the send's.
        after: plain bytes that came with it, behind the send's.
    """

    sent: SendCall | None
    received: tuple[ReceiveCall, ...]
    before: int = 0
    after: int = 0


class Matching(msgspec.Struct, frozen=True):
    """The exchanges of a recording, and what could not be told.

    Attributes:
        exchanges: in the order of time of their first call.
        unmatched: sends with control messages whose receive was not seen, and
            receives of control messages whose send was not.
    """

    exchanges: tuple[Exchange, ...]
    unmatched: tuple[Call, ...]


def match(calls: Sequence[Call]) -> Matching:
    """Puts the calls of a recording together again; they are in the order of time."""
    return _Matcher().run(calls)


class _Flight(msgspec.Struct, eq=False):
    """A send that is under way.

    ``arrived`` are its bytes that have been received, None before the first receive.
    """

    sent: SendCall
    arrived: int | None = None
    received: tuple[ReceiveCall, ...] = ()
    before: int = 0
    after: int = 0


class _Matcher:
    """The state of one pass over the calls."""

    def __init__(self) -> None:
        # By the socket that sent, for most calls know it: a program may send thousands
        # of messages that nobody is seen to receive.
        self._flights: dict[int, list[_Flight]] = {}
        self._exchanges: list[Exchange] = []
        self._unmatched: list[Call] = []

    def run(self, calls: Sequence[Call]) -> Matching:
        for call in calls:
            if isinstance(call, ReceiveCall):
                self._receive(call)
            elif call.result >= 0:
                self._flights.setdefault(call.inode, []).append(_Flight(call))
            elif call.errno in _REFUSED and call.capacity:
                self._exchanges.append(Exchange(call, ()))
        for flights in self._flights.values():
            for flight in flights:
                self._land(flight)
        self._unmatched.sort(key=lambda unmatched: unmatched.at)
        self._exchanges.sort(key=lambda e: (e.sent or e.received[0]).at)
        return Matching(tuple(self._exchanges), tuple(self._unmatched))

    def _receive(self, call: ReceiveCall) -> None:
        if call.result < 0:
            if call.errno in _NOTHING_THERE:
                self._exchanges.append(Exchange(None, (call,)))
            return
        for fits in (self._fits, self._fits_in_part):
            for flight in self._candidates(call):
                if fits(flight, call):
                    self._take(flight, call)
                    return
        if call.result == 0 and call.type == socket.SOCK_STREAM and call.size:
            self._exchanges.append(Exchange(None, (call,)))  # the end of the stream
        elif call.control:
            self._unmatched.append(call)

    def _candidates(self, call: ReceiveCall) -> Iterator[_Flight]:
        if call.peer:
            of_peer = self._flights.get(call.peer, [])
        else:
            anybody = itertools.chain.from_iterable(self._flights.values())
            of_peer = sorted(anybody, key=lambda flight: flight.sent.at)
        for flight in of_peer:
            sent = flight.sent
            if sent.type == call.type and sent.peer in {0, call.inode}:
                yield flight

    def _fits(self, flight: _Flight, call: ReceiveCall) -> bool:
        if flight.arrived is not None:
            return _continues(flight, call)
        return _same_descriptors(flight.sent, call) and self._places(flight, call)

    def _fits_in_part(self, flight: _Flight, call: ReceiveCall) -> bool:
        """As the other, where descriptors are missing and nobody says so.

        That some arrived, and their bytes, tells which send it was; that the others did
        not is for the judges.
        """
        wanted, got = _identities(flight.sent), _identities(call)
        return (
            flight.arrived is None
            and bool(got)
            and wanted[: len(got)] == got
            and self._places(flight, call)
        )

    def _places(self, flight: _Flight, call: ReceiveCall) -> bool:
        """Whether the bytes agree; and if so, how the send lies in what was got."""
        sent = flight.sent
        if sent.type != socket.SOCK_STREAM:
            whole = call.result in {sent.result, min(sent.result, call.size)}
            return whole and _agree(sent.data, call.data)
        if sent.result == 0:
            return False  # no byte of a stream carries it: linux drops it
        spare = call.result - sent.result
        for before in _offsets(sent, call):
            if _agree(sent.data, call.data[before:]):
                flight.before = before
                return True
        # Credentials alone do not end a read: more of the same sender may follow; what
        # was cut may have been descriptors of that.
        cut = call.msg_flags & socket.MSG_CTRUNC
        if sent.control and not sent.fds and spare > 0 and not cut:
            flight.after = spare
            return len(sent.data) == sent.result and call.data.startswith(sent.data)
        return False

    def _take(self, flight: _Flight, call: ReceiveCall) -> None:
        sent = flight.sent
        flight.received = (*flight.received, call)
        if call.flags & socket.MSG_PEEK:
            return
        # What this socket sent before has been received, by calls that are not seen.
        flights = self._flights[sent.inode]
        if sent.type == socket.SOCK_STREAM:
            at = flights.index(flight)
            for passed in flights[:at]:
                self._land(passed)
            del flights[:at]
        if flight.arrived is None:
            flight.arrived = min(call.result - flight.before, sent.result)
        else:
            flight.arrived += call.result
        whole = flight.arrived >= sent.result or sent.type != socket.SOCK_STREAM
        if whole or len(flight.received) >= _MOST_RECEIVES:
            self._land(flight)
            flights.remove(flight)

    def _land(self, flight: _Flight) -> None:
        if flight.received:
            self._exchanges.append(
                Exchange(flight.sent, flight.received, flight.before, flight.after)
            )
        elif flight.sent.control:
            self._unmatched.append(flight.sent)


def _offsets(sent: SendCall, call: ReceiveCall) -> Iterator[int]:
    """Where in what was got the bytes of a send may begin, the likeliest first.

    A send with descriptors ends the read, so it lies at the end, whole; or it lies
    anywhere, cut, where the read was full; or its first part came alone, for a large
    write is several buffers of which the first carries them (S19).
    """
    spare = call.result - sent.result
    full = call.result == call.size
    if spare == 0 or (spare > 0 and sent.control):
        yield spare
    elif spare < 0 and (full or sent.fds):
        yield 0
    if full and sent.fds:
        yield from range(max(spare, 0) + 1, min(call.result, len(call.data)))


def _agree(sent: bytes, got: bytes) -> bool:
    """Whether two logged beginnings of data are those of the same bytes."""
    size = min(len(sent), len(got))
    return sent[:size] == got[:size] and (size > 0 or sent == got)


def _same_descriptors(sent: SendCall, call: ReceiveCall) -> bool:
    wanted, got = _identities(sent), _identities(call)
    if call.msg_flags & socket.MSG_CTRUNC:
        return wanted[: len(got)] == got
    return wanted == got


def _identities(call: Call) -> list[tuple[int, int, int]]:
    return [descriptor.identity for descriptor in call.fds]


def _continues(flight: _Flight, call: ReceiveCall) -> bool:
    """Whether a receive holds more of a message of which it got the beginning."""
    done, last = flight.arrived or 0, flight.received[-1]
    rest = flight.sent.data[done:]
    return (
        call.inode == last.inode
        and not call.fds
        and 0 < call.result <= flight.sent.result - done
        and _agree(rest, call.data)
        and bool(rest)
    )
