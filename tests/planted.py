"""Bugs on purpose: implementations of a few lines, each wrong in one way.

A judge that never convicts proves nothing.  For every invariant there is one bug here
that breaks it and hardly anything else, and beside them the ways in which real code
goes wrong: it raises, hangs, exits, forks, closes what is not its own.
:data:`PLANTED` says what each has to be convicted of.

The worker imports this module by its name, ``planted``, and so it stands alone: it
needs ancfuzz and nothing of the tests.  What is right in a bug is done by the
reference.
"""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from msgspec.structs import replace

from ancfuzz import Implementation, MalformedControl, Received, decode, encode
from ancfuzz.abi import ABIS, NATIVE
from ancfuzz.codec import ControlMessage, walk
from ancfuzz.implementations import Reference
from ancfuzz.syscalls import recvmsg, sendmsg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ancfuzz import Abi

RIGHT = Reference()
SOL_SOCKET = NATIVE.constants["SOL_SOCKET"]
SCM_RIGHTS = NATIVE.constants["SCM_RIGHTS"]
SCM_CREDENTIALS = NATIVE.constants["SCM_CREDENTIALS"]
CLOCKS = (NATIVE.constants["SCM_TIMESTAMP"], NATIVE.constants["SCM_TIMESTAMPNS"])
CLOEXEC = int(socket.MSG_CMSG_CLOEXEC)
Messages = tuple[ControlMessage, ...]
_Bug = TypeVar("_Bug", bound=Implementation)


class Plant(NamedTuple):
    """A bug, and what it is to be convicted of.

    Attributes:
        bug: the implementation.
        invariant: which has to be among the violations.
        reach: with which reach.
    """

    bug: type[Implementation]
    invariant: str
    reach: str


PLANTED: dict[str, Plant] = {}


def plant(invariant: str, reach: str = "kernel") -> Callable[[type[_Bug]], type[_Bug]]:
    """Register a bug under its class's name."""

    def register(bug: type[_Bug]) -> type[_Bug]:
        PLANTED[bug.__name__] = Plant(bug, invariant, reach)
        return bug

    return register


def is_rights(message: ControlMessage) -> bool:
    return (message.level, message.type) == (SOL_SOCKET, SCM_RIGHTS)


def numbers_in(messages: Iterable[ControlMessage]) -> list[int]:
    return [
        number
        for message in messages
        if is_rights(message)
        for number in memoryview(message.data[: len(message.data) & -4]).cast("i")
    ]


def rights(numbers: Iterable[int]) -> ControlMessage:
    data = b"".join(n.to_bytes(4, sys.byteorder, signed=True) for n in numbers)
    return ControlMessage(SOL_SOCKET, SCM_RIGHTS, data)


def close(numbers: Iterable[int]) -> None:
    for number in numbers:
        os.close(number)


# -- bytes: encoders ----------------------------------------------------------------


class Encoder(Implementation):
    """An encoder that is wrong in what :meth:`lay_out` makes of the messages."""

    def lay_out(self, messages: Messages) -> bytes:
        return encode(messages, self.abi)

    def encode(self, messages: Messages, capacity: int) -> bytes | None:
        control = self.lay_out(messages)
        return control if len(control) <= capacity else None


def space_as_length(messages: Messages) -> bytes:
    """Bytes in which ``cmsg_len`` counts the padding: CMSG_SPACE for CMSG_LEN."""
    padded = [
        ControlMessage(m.level, m.type, m.data + bytes(-len(m.data) % NATIVE.alignment))
        for m in messages
    ]
    return encode(padded)


@plant("LEN.cmsg_len")
class SpaceAsLength(Encoder):
    """The classic: ``cmsg_len = CMSG_SPACE(n)``."""

    def lay_out(self, messages: Messages) -> bytes:
        return space_as_length(messages)


@plant("ALIGN.next")
class NoPaddingBetween(Encoder):
    """The second header right behind the first one's data."""

    def lay_out(self, messages: Messages) -> bytes:
        return b"".join(encode([m])[: NATIVE.cmsg_len(len(m.data))] for m in messages)


@plant("ALIGN.padding")
class DirtyPadding(Encoder):
    """Padding is what was in memory before."""

    def lay_out(self, messages: Messages) -> bytes:
        control = bytearray(encode(messages))
        for span in walk(control):
            if span.kind == "padding":
                control[span.start : span.stop] = b"\xcc" * (span.stop - span.start)
        return bytes(control)


@plant("LEN.total")
class OneMore(Encoder):
    """A whole empty message too many at the end."""

    def lay_out(self, messages: Messages) -> bytes:
        return encode((*messages, ControlMessage(0, 0, b"")))


@plant("ROUND.encode")
class LevelAndTypeSwapped(Encoder):
    def lay_out(self, messages: Messages) -> bytes:
        return encode([ControlMessage(m.type, m.level, m.data) for m in messages])


@plant("CAP.fits")
class RefusesAnExactFit(Implementation):
    def encode(self, messages: Messages, capacity: int) -> bytes | None:
        control = encode(messages)
        return control if len(control) < capacity else None


@plant("CAP.exceeds")
class CapacityIgnored(Implementation):
    def encode(self, messages: Messages, capacity: int) -> bytes | None:
        return encode(messages)


@plant("CAP.outside")
class WritesBehindTheBuffer(Implementation):
    """Zeroes a terminator behind what it wrote, wherever the buffer ends."""

    def encode_into(self, buffer: memoryview, messages: Messages) -> int | None:
        count = RIGHT.encode_into(buffer, messages)
        if count is not None and len(buffer):
            first = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
            ctypes.memset(first + count, 0, 8)
        return count


@plant("CAP.outside")
class WritesBeforeTheBuffer(Implementation):
    """Aligns the buffer downwards before it writes."""

    def encode_into(self, buffer: memoryview, messages: Messages) -> int | None:
        if len(buffer):
            first = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
            if first % NATIVE.alignment:
                ctypes.memset(first - first % NATIVE.alignment, 0, 1)
        return RIGHT.encode_into(buffer, messages)


@plant("CAP.unchanged")
class ClearsBeforeItRefuses(Implementation):
    def encode_into(self, buffer: memoryview, messages: Messages) -> int | None:
        buffer[:] = bytes(len(buffer))
        return RIGHT.encode_into(buffer, messages)


@plant("ALIGN.padding")
class TrustsACleanBuffer(Implementation):
    """Writes headers and data, and takes the padding to be zero already."""

    def encode_into(self, buffer: memoryview, messages: Messages) -> int | None:
        control = encode(messages)
        if len(control) > len(buffer):
            return None
        for span in walk(control):
            if span.kind != "padding":
                buffer[span.start : span.stop] = control[span.start : span.stop]
        return len(control)


@plant("ALIGN.next")
class AlignsToEight(Encoder):
    """A cross-encoder for a target that aligns to four, with the host's eight."""

    abi: ClassVar[Abi] = ABIS["aarch64-macos-none"]

    def lay_out(self, messages: Messages) -> bytes:
        parts = [encode([message], self.abi) for message in messages]
        return b"".join(part + bytes(-len(part) % 8) for part in parts)


# -- bytes: decoders ----------------------------------------------------------------


@plant("WALK.place", "hostile")
class PointsBehindTheHeader(Implementation):
    def decode(self, control: bytes) -> list[ControlMessage]:
        try:
            return decode(control)
        except MalformedControl as error:
            raise MalformedControl(
                offset=error.offset + NATIVE.header_size,
                needed=error.needed,
                available=error.available,
            ) from None


def as_far_as_it_goes(control: bytes) -> list[ControlMessage]:
    """The whole messages before the first that is not."""
    whole = [span for span in walk(control) if span.kind != "broken"]
    return decode(control[: whole[-1].stop if whole else 0])


@plant("WALK.stops", "hostile")
class TakesWhatIsLeft(Implementation):
    """A length beyond the buffer is cut to what is there, as for a whole message."""

    def decode(self, control: bytes) -> list[ControlMessage]:
        try:
            return decode(control)
        except MalformedControl as error:
            level, type_ = memoryview(control[error.offset + 8 :][:8]).cast("i")
            data = control[error.offset + NATIVE.data_offset :]
            return [*as_far_as_it_goes(control), ControlMessage(level, type_, data)]


@plant("WALK.inside", "hostile")
class ReadsPastTheEnd(Implementation):
    """Believes ``cmsg_len``, and so reads what lies behind the buffer."""

    def decode(self, control: bytes) -> list[ControlMessage]:
        try:
            return decode(control)
        except MalformedControl as error:
            memory = bytes(min(error.needed, 4096))
            return [*as_far_as_it_goes(control), ControlMessage(0, 0, memory)]


@plant("WALK.complete")
class DropsAnUnpaddedLast(Implementation):
    """Seed bug B1: a message whose padded end passes the buffer's is not seen."""

    def decode(self, control: bytes) -> list[ControlMessage]:
        return without_unpadded_last(decode(control), len(control))


def without_unpadded_last(
    messages: list[ControlMessage], length: int
) -> list[ControlMessage]:
    padded = sum(NATIVE.cmsg_space(len(message.data)) for message in messages)
    return messages[:-1] if len(messages) > 1 and padded > length else messages


@plant("ROUND.decode")
class PaddingIsData(Implementation):
    """Takes the payload up to the next header."""

    def decode(self, control: bytes) -> list[ControlMessage]:
        messages = decode(control)
        return [
            ControlMessage(m.level, m.type, m.data + bytes(-len(m.data) % 8))
            for m in messages
        ]


# -- sockets: receivers -------------------------------------------------------------


class Receiver(Implementation):
    """A receiver that is wrong in what :meth:`spoil` makes of what it got."""

    def spoil(self, got: Received) -> Received:
        return got

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        return self.spoil(RIGHT.receive(sock, data_capacity, control_capacity, flags))


def changed(
    got: Received, messages: Iterable[ControlMessage] | None = None, **fields: object
) -> Received:
    if messages is not None:
        fields["messages"] = tuple(messages)
    return replace(got, **fields)


@plant("FD.count")
class FirstOnlyRestClosed(Receiver):
    """Keeps the first descriptor and closes the others."""

    def spoil(self, got: Received) -> Received:
        close(numbers_in(got.messages)[1:])
        return changed(got, first_only(got.messages))


@plant("FD.unreported")
class FirstOnlyRestForgotten(Receiver):
    """Keeps the first descriptor; the others stay open."""

    def spoil(self, got: Received) -> Received:
        return changed(got, first_only(got.messages))


@plant("LEAK.sent")
class FirstOnlyRestLeaked(FirstOnlyRestForgotten):
    """The same: what is forgotten is also still open in the end."""


def first_only(messages: Messages) -> Messages:
    return tuple(rights(numbers_in([m])[:1]) if is_rights(m) else m for m in messages)


@plant("FD.unreported")
class DropsWhatIsUnpadded(Implementation):
    """Seed bug B1 over a socket: SO_PASSCRED, one descriptor, 52 to 55 bytes."""

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        got = RIGHT.receive(sock, data_capacity, control_capacity, flags)
        length = got.control_length or 0
        return changed(got, without_unpadded_last(list(got.messages), length))


@plant("FD.identity")
class LastFirst(Receiver):
    def spoil(self, got: Received) -> Received:
        return changed(
            got,
            (
                rights(reversed(numbers_in([m]))) if is_rights(m) else m
                for m in got.messages
            ),
        )


@plant("FD.phantom")
class InventsANumber(Receiver):
    """Reports one descriptor more than came, the next number."""

    def spoil(self, got: Received) -> Received:
        return changed(
            got,
            (
                rights([*(n := numbers_in([m])), n[-1] + 1]) if is_rights(m) else m
                for m in got.messages
            ),
        )


@plant("FD.phantom")
class ClosesBeforeItReports(Receiver):
    def spoil(self, got: Received) -> Received:
        close(numbers_in(got.messages))
        return got


@plant("FD.phantom")
class StaleBytesOfAFullTable(Implementation):
    """Takes a truncated message's room for a message: what is in it is stale."""

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        data, control = bytearray(data_capacity), bytearray(b"\7" * control_capacity)
        count, length, shown, _ = recvmsg(sock.fileno(), [data], control, flags)
        messages = decode(control[:length])
        if shown & socket.MSG_CTRUNC and not length and control_capacity >= 20:
            messages = [ControlMessage(SOL_SOCKET, SCM_RIGHTS, bytes(control[16:20]))]
        return Received(
            bytes(data[:count]), tuple(messages), bool(shown & socket.MSG_CTRUNC)
        )


@plant("CLOEXEC.received", "policy")
class Inheritable(Implementation):
    """``recvmsg`` as Python has it: without MSG_CMSG_CLOEXEC."""

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        data, control, shown, _ = sock.recvmsg(data_capacity, control_capacity, flags)
        messages = tuple(ControlMessage(*message) for message in control)
        return Received(data, messages, bool(shown & socket.MSG_CTRUNC))


@plant("TRUNC.flag")
class TruncationIgnored(Receiver):
    def spoil(self, got: Received) -> Received:
        return changed(got, truncated=False, flags=None)


@plant("TRUNC.flag")
class AlwaysTruncated(Receiver):
    def spoil(self, got: Received) -> Received:
        return changed(got, truncated=True, flags=None)


@plant("TRUNC.flags")
class FlagsOfTheCall(Receiver):
    """Shows no flag of what came: the receiver never looked."""

    def spoil(self, got: Received) -> Received:
        return changed(got, flags=0)


@plant("LEN.controllen")
class ControlLengthIsCapacity(Implementation):
    """msg_controllen as it was before the call."""

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        got = RIGHT.receive(sock, data_capacity, control_capacity, flags)
        return changed(got, control_length=control_capacity)


@plant("CRED.value")
class AnotherUid(Receiver):
    """Reads the ids in the order pid, gid, uid, and adds one to tell them apart."""

    def spoil(self, got: Received) -> Received:
        return changed(got, (self.misread(message) for message in got.messages))

    def misread(self, message: ControlMessage) -> ControlMessage:
        if message.type != SCM_CREDENTIALS or len(message.data) != 12:
            return message
        pid, uid, gid = memoryview(message.data).cast("I")
        data = b"".join(
            (n & 0xFFFFFFFF).to_bytes(4, sys.byteorder) for n in (pid, gid + 1, uid)
        )
        return ControlMessage(message.level, message.type, data)


@plant("CRED.value")
class CredentialsDropped(Receiver):
    def spoil(self, got: Received) -> Received:
        return changed(got, (m for m in got.messages if m.type != SCM_CREDENTIALS))


@plant("ROUND.message")
class ClocksDropped(Receiver):
    def spoil(self, got: Received) -> Received:
        return changed(got, (m for m in got.messages if m.type not in CLOCKS))


@plant("ORDER.messages")
class LastMessageFirst(Receiver):
    def spoil(self, got: Received) -> Received:
        return changed(got, reversed(got.messages))


@plant("BOUND.data")
class WholeBuffer(Implementation):
    """Returns the buffer and not the bytes that came."""

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        got = RIGHT.receive(sock, data_capacity, control_capacity, flags)
        return changed(got, data=got.data.ljust(data_capacity, b"\0"))


@plant("PEEK.keeps")
class PeekTakes(Implementation):
    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        flags &= ~int(socket.MSG_PEEK)
        return RIGHT.receive(sock, data_capacity, control_capacity, flags)


@plant("ERR.errno")
class EveryErrorIsEio(Implementation):
    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        try:
            return RIGHT.receive(sock, data_capacity, control_capacity, flags)
        except OSError as error:
            raise OSError(5, "Input/output error") from error


@plant("STATE.held")
class KeepsTheLast(Implementation):
    """Seed bug B5: after a failed receive the messages of the one before are there."""

    def __init__(self) -> None:
        self.last: Messages = ()

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        got = RIGHT.receive(sock, data_capacity, control_capacity, flags)
        self.last = got.messages
        return got

    def held(self) -> Messages:
        return self.last


@plant("FD.phantom")
class ClosesTwice(Implementation):
    """Closes what it handed out before, whose numbers mean something else by now."""

    def __init__(self) -> None:
        self.handed_out: list[int] = []

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        got = RIGHT.receive(sock, data_capacity, control_capacity, flags)
        for number in self.handed_out:
            try_to_close(number)
        self.handed_out = numbers_in(got.messages)
        return got


def try_to_close(number: int) -> None:
    try:
        os.close(number)
    except OSError:
        return


@plant("LEAK.sent")
class LeaksWhenItRefuses(Implementation):
    """Installs the descriptors, finds that it does not want them, and raises."""

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        got = RIGHT.receive(sock, data_capacity, control_capacity, flags)
        if len(numbers_in(got.messages)) > 1:
            raise OSError(71, "Protocol error")
        return got


@plant("LEAK.sent")
class PidfdsForgotten(Receiver):
    """Seed bug B3: messages it does not know are left out, and a pidfd is open."""

    def spoil(self, got: Received) -> Received:
        known = (SCM_RIGHTS, SCM_CREDENTIALS)
        return changed(got, (m for m in got.messages if m.type in known))


@plant("LEAK.growth")
class OneMoreEachTime(Receiver):
    """Opens something of its own at each receive, and never closes it."""

    def spoil(self, got: Received) -> Received:
        os.eventfd(0)
        return got


# -- sockets: senders ---------------------------------------------------------------


class Sender(Implementation):
    """A sender that does something besides sending."""

    def aside(self, sock: socket.socket, messages: Messages) -> None:
        """What it does wrong."""

    def send(
        self, sock: socket.socket, data: bytes, messages: Messages, flags: int = 0
    ) -> int:
        count = RIGHT.send(sock, data, messages, flags)
        self.aside(sock, messages)
        return count


@plant("FD.count")
class SendsSpaceAsLength(Implementation):
    """CMSG_SPACE as ``cmsg_len``: the kernel reads the padding as descriptor 0."""

    def send(
        self, sock: socket.socket, data: bytes, messages: Messages, flags: int = 0
    ) -> int:
        return sendmsg(sock.fileno(), [data], space_as_length(messages), flags)


@plant("BOUND.count")
class CountsControlToo(Implementation):
    def send(
        self, sock: socket.socket, data: bytes, messages: Messages, flags: int = 0
    ) -> int:
        return RIGHT.send(sock, data, messages, flags) + len(encode(messages))


@plant("ERR.errno")
class NeverFails(Implementation):
    def send(
        self, sock: socket.socket, data: bytes, messages: Messages, flags: int = 0
    ) -> int:
        try:
            return RIGHT.send(sock, data, messages, flags)
        except OSError:
            return len(data)


@plant("LEAK.sent")
class KeepsADuplicate(Sender):
    def aside(self, sock: socket.socket, messages: Messages) -> None:
        for number in numbers_in(messages):
            if number >= 0:
                os.dup(number)


@plant("LEAK.foreign")
class ClosesWhatItSent(Sender):
    def aside(self, sock: socket.socket, messages: Messages) -> None:
        for number in set(numbers_in(messages)):
            try_to_close(number)


@plant("LEAK.foreign")
class ClosesOneAndLeaksOne(Sender):
    """As many open as before, and not the same."""

    def aside(self, sock: socket.socket, messages: Messages) -> None:
        for number in numbers_in(messages)[:1]:
            spare = os.dup(number)
            os.dup(spare)
            os.close(number)
            os.close(spare)


@plant("LEAK.foreign")
class ReplacesWhatItSent(Sender):
    """The number stays open and is something else: ``dup2`` over it."""

    def aside(self, sock: socket.socket, messages: Messages) -> None:
        for number in numbers_in(messages)[:1]:
            os.dup2(0, number, inheritable=False)


@plant("LEAK.foreign")
class ClosesTheSocket(Sender):
    def aside(self, sock: socket.socket, messages: Messages) -> None:
        os.close(sock.detach())


@plant("FD.count")
class AgainOnEachShortWrite(Implementation):
    """The descriptors go with every part of a long message."""

    def send_all(self, sock: socket.socket, data: bytes, messages: Messages) -> None:
        send_in_parts(sock, data, lambda _: messages)


@plant("FD.count")
class WithTheLastPart(Implementation):
    """The descriptors are kept for a part that a long message does not have."""

    def send_all(self, sock: socket.socket, data: bytes, messages: Messages) -> None:
        whole = len(data)
        send_in_parts(sock, data, lambda rest: messages if rest > whole else ())


@plant("BOUND.data")
class OnePartOnly(Implementation):
    """Takes a short write for the whole."""

    def send_all(self, sock: socket.socket, data: bytes, messages: Messages) -> None:
        RIGHT.send(sock, data, messages)


def send_in_parts(
    sock: socket.socket, data: bytes, messages_for: Callable[[int], Messages]
) -> None:
    while data:
        try:
            sent = RIGHT.send(sock, data, messages_for(len(data)))
        except BlockingIOError:
            select.select([], [sock], [], 1.0)
        else:
            data = data[sent:]


# -- pairs: faulty kernels ----------------------------------------------------------

Parts = tuple[bytes, list[tuple[int, int, bytes]], int, object]


class End:
    """An end of a pair of its own: a kernel that :meth:`spoil` makes faulty."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sendmsg = sock.sendmsg
        self.setsockopt = sock.setsockopt
        self.shutdown = sock.shutdown
        self.close = sock.close

    def spoil(self, got: Parts) -> Parts:
        return got

    def recvmsg(self, bufsize: int, ancbufsize: int = 0, flags: int = 0) -> Parts:
        return self.spoil(self.sock.recvmsg(bufsize, ancbufsize, flags))


class Kernel(Implementation):
    """A kernel, right but for its :attr:`end`."""

    end: ClassVar[type[End]] = End

    def pair(self, kind: str) -> tuple[Any, Any]:
        types = {"stream": 1, "dgram": 2, "seqpacket": 5}
        type_ = types[kind] | socket.SOCK_NONBLOCK
        a, b = socket.socketpair(socket.AF_UNIX, type_)
        return self.end(a), self.end(b)


class WithoutTruncation(End):
    def spoil(self, got: Parts) -> Parts:
        data, control, flags, address = got
        return data, control, flags & ~int(socket.MSG_CTRUNC), address


class WithoutCredentials(End):
    def spoil(self, got: Parts) -> Parts:
        data, control, flags, address = got
        return data, [m for m in control if m[1] != SCM_CREDENTIALS], flags, address


class InReverse(End):
    def spoil(self, got: Parts) -> Parts:
        data, control, flags, address = got
        turned = [
            (level, type_, b"".join(reversed([part[i : i + 4] for i in places])))
            if type_ == SCM_RIGHTS
            else (level, type_, part)
            for level, type_, part in control
            for places in [range(0, len(part), 4)]
        ]
        return data, turned, flags, address


@plant("TRUNC.flag")
class KernelLosesTruncation(Kernel):
    end = WithoutTruncation


@plant("CRED.value")
class KernelDropsCredentials(Kernel):
    end = WithoutCredentials


@plant("FD.identity")
class KernelReordersDescriptors(Kernel):
    end = InReverse


# -- how it goes --------------------------------------------------------------------


@plant("CRASH.exception")
class Raises(Receiver):
    def spoil(self, got: Received) -> Received:
        close(numbers_in(got.messages))
        raise ValueError("that came as a surprise")


@plant("CRASH.exception")
class RaisesAtFirst(Receiver):
    """It cannot even be made."""

    def __init__(self) -> None:
        raise RuntimeError("no configuration found")


@plant("CRASH.exception")
class CallsExit(Receiver):
    def spoil(self, got: Received) -> Received:
        close(numbers_in(got.messages))
        sys.exit("goodbye")


@plant("CRASH.exception")
class TakesAllMemory(Receiver):
    def spoil(self, got: Received) -> Received:
        close(numbers_in(got.messages))
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123  (a line is enough)
            pages = int(file.read().split()[0])
        most = pages * resource.getpagesize() + (64 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
        try:
            bytearray(1 << 40)
        finally:
            infinity = resource.RLIM_INFINITY
            resource.setrlimit(resource.RLIMIT_AS, (infinity, infinity))
        return got


@plant("CRASH.exception")
class HeldRaises(Receiver):
    def held(self) -> Messages:
        raise ValueError("nothing was ever kept")


@plant("CRASH.exception")
class PairRaises(Implementation):
    def pair(self, kind: str) -> tuple[Any, Any]:
        raise ValueError(f"{kind}: no such thing")


@plant("CRASH.exception")
class Interrupts(Receiver):
    def spoil(self, got: Received) -> Received:
        raise KeyboardInterrupt


@plant("CRASH.process")
class Exits(Receiver):
    def spoil(self, got: Received) -> Received:
        os._exit(3)


@plant("CRASH.process")
class IsKilled(Receiver):
    def spoil(self, got: Received) -> Received:
        os.kill(os.getpid(), signal.SIGSEGV)
        raise AssertionError("alive")


@plant("CRASH.process")
class ClosesEverything(Receiver):
    def spoil(self, got: Received) -> Received:
        os.closerange(3, 4096)
        return got


@plant("CRASH.process")
class WritesEverywhere(Receiver):
    """Garbage into whatever is open, the way home included."""

    def spoil(self, got: Received) -> Received:
        for number in range(3, 64):
            try:
                os.write(number, b"\xff\xff\xff\xff garbage")
            except OSError:
                continue
        return got


@plant("CRASH.process")
class TwoReturn(Receiver):
    """Forks, and both processes go on with the case."""

    def spoil(self, got: Received) -> Received:
        os.fork()
        return got


@plant("CRASH.answer")
class ReturnsNone(Implementation):
    def receive(  # type: ignore[override]  # that is what is wrong
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> None:
        close(numbers_in(RIGHT.receive(sock, data_capacity, 0, flags).messages))


@plant("CRASH.answer")
class ReturnsText(Encoder):
    def encode(self, messages: Messages, capacity: int) -> bytes | None:
        return "no bytes"  # type: ignore[return-value]  # that is what is wrong


@plant("CRASH.answer")
class DecodesToNumbers(Implementation):
    def decode(self, control: bytes) -> list[ControlMessage]:
        return [1, 2, 3]  # type: ignore[list-item]  # that is what is wrong


@plant("CRASH.answer")
class CountsInText(Implementation):
    def send(
        self, sock: socket.socket, data: bytes, messages: Messages, flags: int = 0
    ) -> int:
        return str(RIGHT.send(sock, data, messages, flags))  # type: ignore[return-value]


@plant("CRASH.answer")
class MessagesAreTuples(Receiver):
    """The type that ``recvmsg`` gives, handed on."""

    def spoil(self, got: Received) -> Received:
        close(numbers_in(got.messages))
        plain = [(m.level, m.type, m.data) for m in got.messages] or [(0, 0, b"")]
        return changed(got, plain)  # type: ignore[arg-type]


@plant("CRASH.answer")
class FlagsAreText(Receiver):
    def spoil(self, got: Received) -> Received:
        close(numbers_in(got.messages))
        return changed(got, (), flags="MSG_CTRUNC", control_length="many")


@plant("CRASH.answer")
class PairIsNone(Implementation):
    def pair(self, kind: str) -> None:  # type: ignore[override]  # that is what is wrong
        return None


@plant("CRASH.close")
class CloseRaises(Receiver):
    def close(self) -> None:
        raise RuntimeError("not open")


@plant("CRASH.output", "policy")
class Prints(Receiver):
    def spoil(self, got: Received) -> Received:
        print("debug:", len(got.messages))  # noqa: T201  (that is what is wrong)
        return got


@plant("CRASH.output", "policy")
class FloodsOutput(Receiver):
    """Sixteen megabytes on each of the two streams."""

    def spoil(self, got: Received) -> Received:
        for stream in (1, 2):
            for _ in range(16):
                os.write(stream, b"\0garbage" * (1 << 17))
        return got


@plant("TIME.hang")
class Waits(Implementation):
    """Takes the socket to be a blocking one."""

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        while True:
            try:
                return RIGHT.receive(sock, data_capacity, control_capacity, flags)
            except BlockingIOError:
                select.select([sock], [], [])


@plant("TIME.hang")
class WaitsForever(Receiver):
    """Ignores every signal that can be ignored, and sleeps."""

    def spoil(self, got: Received) -> Received:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        while True:
            time.sleep(3600)


@plant("TIME.hang")
class HangsInClose(Receiver):
    def close(self) -> None:
        threading.Event().wait()


@plant("TIME.hang")
class HangsAtFirst(Receiver):
    def __init__(self) -> None:
        threading.Event().wait()


@plant("TIME.hang")
class HangsInPair(Implementation):
    def pair(self, kind: str) -> tuple[Any, Any]:
        threading.Event().wait()
        return socket.socketpair()


@plant("TIME.hang")
class FloodsUntilKilled(Receiver):
    """A loop that prints: the flood ends with the deadline."""

    def spoil(self, got: Received) -> Received:
        while True:
            os.write(1, b"y\n")


@plant("TIME.hang")
class LeavesAChild(Receiver):
    """Starts a process that outlives it, and hangs."""

    def spoil(self, got: Received) -> Received:
        if not os.fork():
            while True:
                time.sleep(3600)
        while True:
            time.sleep(3600)
