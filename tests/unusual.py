"""Right, and otherwise than most: what a judge must not convict.

A judge that convicts the innocent is soon ignored.  Here is an implementation for each
freedom that an API has (``tolerances``, and what counts as a leak), each of which does
something that a careless judge would call a bug.  :data:`UNUSUAL` holds them by name.

Imported by the worker under its own name, ``unusual``, as ``planted`` is.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import stat
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from ancfuzz import (
    Implementation,
    MalformedControl,
    Promise,
    Received,
    Refused,
    SocketAncillary,
    UnixDatagram,
    UnixSeqpacket,
    UnixStream,
    Unsupported,
    decode,
    encode,
)
from ancfuzz.abi import ABIS, NATIVE
from ancfuzz.codec import ControlMessage, walk
from ancfuzz.implementations import Reference

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ancfuzz import Abi

RIGHT = Reference()
SOL_SOCKET = NATIVE.constants["SOL_SOCKET"]
SCM_RIGHTS = NATIVE.constants["SCM_RIGHTS"]
SCM_CREDENTIALS = NATIVE.constants["SCM_CREDENTIALS"]
SCM_PIDFD = NATIVE.constants["SCM_PIDFD"]
UCRED_SIZE = 12
PLENTY = socket.CMSG_SPACE(4 * 253) + 256
Messages = tuple[ControlMessage, ...]
_Unusual = TypeVar("_Unusual", bound=Implementation)

UNUSUAL: dict[str, type[Implementation]] = {}


def unusual(cls: type[_Unusual]) -> type[_Unusual]:
    """Register an implementation under its class's name."""
    UNUSUAL[cls.__name__] = cls
    return cls


def is_rights(message: ControlMessage) -> bool:
    return (message.level, message.type) == (SOL_SOCKET, SCM_RIGHTS)


def is_pidfd(message: ControlMessage) -> bool:
    return (message.level, message.type) == (SOL_SOCKET, SCM_PIDFD)


def numbers_in(messages: Iterable[ControlMessage]) -> list[int]:
    """The descriptors in these messages, pidfds included."""
    return [
        number
        for message in messages
        if is_rights(message) or is_pidfd(message)
        for number in memoryview(message.data[: len(message.data) & -4]).cast("i")
        if number >= 0
    ]


def rights(numbers: Iterable[int]) -> ControlMessage:
    data = b"".join(n.to_bytes(4, sys.byteorder, signed=True) for n in numbers)
    return ControlMessage(SOL_SOCKET, SCM_RIGHTS, data)


def close(numbers: Iterable[int]) -> None:
    for number in numbers:
        os.close(number)


class Receiver(Implementation):
    """A receiver that does otherwise what :meth:`shown` says."""

    def before(self) -> None:
        """What it does before each receive."""

    def shown(self, got: Received) -> Received:
        return got

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        self.before()
        return self.shown(RIGHT.receive(sock, data_capacity, control_capacity, flags))


def changed(got: Received, messages: Iterable[ControlMessage]) -> Received:
    return Received(got.data, tuple(messages), got.truncated, got.flags)


# -- policy, by promise -------------------------------------------------------------


@unusual
class Inheritable(Implementation):
    promise: ClassVar[Promise] = Promise(close_on_exec=False)

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


class OwnBuffer(Implementation):
    """Has a control buffer of its own, whatever it is asked for."""

    size: ClassVar[int] = PLENTY

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        return RIGHT.receive(sock, data_capacity, self.size, flags)


@unusual
class RoomForAll(OwnBuffer):
    promise: ClassVar[Promise] = Promise(capacity="own")


@unusual
class RoomForFour(OwnBuffer):
    """Room for four descriptors in whatever company: without any, for some more."""

    promise: ClassVar[Promise] = Promise(capacity="own", max_descriptors=4)
    size: ClassVar[int] = sum(map(socket.CMSG_SPACE, (16, 12, 16, 4)))


@unusual
class OnlyRights(Receiver):
    """Hands out descriptors and nothing else, and closes what it does not hand out."""

    promise: ClassVar[Promise] = Promise(reports="rights")

    def shown(self, got: Received) -> Received:
        close(numbers_in(m for m in got.messages if is_pidfd(m)))
        return changed(got, (m for m in got.messages if is_rights(m)))


class RefusesTruncation(Receiver):
    """All or nothing: what comes with a truncated message is closed."""

    promise: ClassVar[Promise] = Promise(on_truncation="refuse")
    refusal: ClassVar[Exception] = Refused("control data was truncated")

    def shown(self, got: Received) -> Received:
        if got.truncated:
            close(numbers_in(got.messages))
            raise self.refusal
        return got


@unusual
class RefusesTruncationOnPurpose(RefusesTruncation):
    pass


@unusual
class RefusesTruncationWithAnErrno(RefusesTruncation):
    refusal: ClassVar[Exception] = OSError(errno.EMSGSIZE, "Message too long")


@unusual
class TakesSixteen(Implementation):
    promise: ClassVar[Promise] = Promise(max_descriptors=16)

    def send(
        self, sock: socket.socket, data: bytes, messages: Messages, flags: int = 0
    ) -> int:
        if sum(len(m.data) // 4 for m in messages if is_rights(m)) > 16:
            raise Refused("at most sixteen descriptors")
        return RIGHT.send(sock, data, messages, flags)


@unusual
class TakesSixteenWithAnErrno(Implementation):
    promise: ClassVar[Promise] = Promise(max_descriptors=16)

    def send(
        self, sock: socket.socket, data: bytes, messages: Messages, flags: int = 0
    ) -> int:
        if sum(len(m.data) // 4 for m in messages if is_rights(m)) > 16:
            raise OSError(errno.E2BIG, "Argument list too long")
        return RIGHT.send(sock, data, messages, flags)


@unusual
class InsistsOnItsPayload(Implementation):
    """Sends its own four bytes of protocol, and takes no others."""

    promise: ClassVar[Promise] = Promise(payload=b"anc1")

    def send(
        self, sock: socket.socket, data: bytes, messages: Messages, flags: int = 0
    ) -> int:
        if data != b"anc1":
            raise ValueError(f"{data!r} is not our protocol")
        return RIGHT.send(sock, data, messages, flags)


@unusual
class CannotSayCredentials(Implementation):
    """``send_fds``: descriptors are all that there is to say."""

    def send(
        self, sock: socket.socket, data: bytes, messages: Messages, flags: int = 0
    ) -> int:
        if flags or any(not is_rights(m) or len(m.data) % 4 for m in messages):
            raise Unsupported("descriptors only")
        return RIGHT.send(sock, data, messages)


@unusual
class RefusesEverything(Implementation):
    def send(
        self, sock: socket.socket, data: bytes, messages: Messages, flags: int = 0
    ) -> int:
        raise Refused("not today")


# -- encodings ----------------------------------------------------------------------


class Encoder(Implementation):
    """An encoder that lays out what :meth:`chosen` makes of the messages."""

    last_is_padded: ClassVar[bool] = True

    def chosen(self, messages: list[ControlMessage]) -> list[ControlMessage]:
        return messages

    def encode(self, messages: Messages, capacity: int) -> bytes | None:
        chosen = self.chosen(list(messages))
        control = encode(chosen, self.abi)
        if chosen and not self.last_is_padded:
            size = len(chosen[-1].data)
            control = control[: len(control) - (self.abi.align(size) - size)]
        return control if len(control) <= capacity else None


def merged(messages: list[ControlMessage]) -> list[ControlMessage]:
    """One SCM_RIGHTS in the place of the first; what has stray bytes stays as it is."""
    of_rights = [m for m in messages if is_rights(m)]
    if not of_rights or any(len(m.data) % 4 for m in of_rights):
        return messages
    one = ControlMessage(SOL_SOCKET, SCM_RIGHTS, b"".join(m.data for m in of_rights))
    at = messages.index(of_rights[0])
    rest = [m for m in messages[at:] if not is_rights(m)]
    return [*messages[:at], one, *rest]


def without_empty(messages: list[ControlMessage]) -> list[ControlMessage]:
    return [m for m in messages if m.data or not is_rights(m)]


@unusual
class MergesRights(Encoder):
    def chosen(self, messages: list[ControlMessage]) -> list[ControlMessage]:
        return merged(messages)


@unusual
class LeavesEmptyRightsOut(Encoder):
    def chosen(self, messages: list[ControlMessage]) -> list[ControlMessage]:
        return without_empty(messages)


@unusual
class UnpaddedLast(Encoder):
    last_is_padded: ClassVar[bool] = False


@unusual
class MergesAndLeavesOutUnpadded(Encoder):
    last_is_padded: ClassVar[bool] = False

    def chosen(self, messages: list[ControlMessage]) -> list[ControlMessage]:
        return without_empty(merged(without_empty(messages)))


@unusual
class MergesWhatItSends(Implementation):
    def send(
        self, sock: socket.socket, data: bytes, messages: Messages, flags: int = 0
    ) -> int:
        kept = tuple(without_empty(merged(list(messages))))
        return RIGHT.send(sock, data, kept, flags)


@unusual
class ForMacOs(Encoder):
    """A cross-compiler's codec: twelve bytes of header, an alignment of four."""

    abi: ClassVar[Abi] = ABIS["aarch64-macos-none"]

    def decode(self, control: bytes) -> list[ControlMessage]:
        return decode(control, self.abi)

    def encode_into(self, buffer: memoryview, messages: Messages) -> int | None:
        control = encode(messages, self.abi)
        if len(control) > len(buffer):
            return None
        buffer[: len(control)] = control
        return len(control)


@unusual
class ForBigEndianMusl(ForMacOs):
    abi: ClassVar[Abi] = ABIS["s390x-linux-musl"]


@unusual
class UsesTheRestOfTheBuffer(Implementation):
    """Clears the caller's whole buffer first, once it knows that there is room."""

    def encode_into(self, buffer: memoryview, messages: Messages) -> int | None:
        control = encode(messages)
        if len(control) > len(buffer):
            return None
        buffer[:] = control.ljust(len(buffer), b"\0")
        return len(control)


# -- decodings ----------------------------------------------------------------------


def as_far_as_it_goes(control: bytes) -> list[ControlMessage]:
    """The whole messages before the first that is not."""
    whole = [span for span in walk(control) if span.kind != "broken"]
    return decode(control[: whole[-1].stop if whole else 0])


@unusual
class StopsAtTheBreak(Implementation):
    def decode(self, control: bytes) -> list[ControlMessage]:
        return as_far_as_it_goes(control)


@unusual
class WordsItItsOwnWay(Implementation):
    """Says where it breaks, and counts needed bytes from elsewhere."""

    def decode(self, control: bytes) -> list[ControlMessage]:
        try:
            return decode(control)
        except MalformedControl as error:
            raise MalformedControl(offset=error.offset, needed=0, available=0) from None


@unusual
class ReadsNoEmptyRights(Implementation):
    def decode(self, control: bytes) -> list[ControlMessage]:
        return without_empty(decode(control))


@unusual
class RefusesMalformed(Implementation):
    def decode(self, control: bytes) -> list[ControlMessage]:
        try:
            return decode(control)
        except MalformedControl as error:
            raise Refused(str(error)) from error


@unusual
class DecodesLazily(Implementation):
    """A tuple of messages whose data are views: still messages."""

    def decode(self, control: bytes) -> list[ControlMessage]:
        messages = decode(bytearray(control))
        return tuple(  # type: ignore[return-value]  # a sequence, as good as a list
            ControlMessage(m.level, m.type, memoryview(m.data))  # type: ignore[arg-type]
            for m in messages
        )


# -- what a receive shows -----------------------------------------------------------


@unusual
class HidesWhatWasCut(Receiver):
    """Of a message that the kernel cut, nothing: ``truncated`` says it."""

    def shown(self, got: Received) -> Received:
        kept = [m for m in got.messages if not self.is_cut(m)]
        return changed(got, kept if got.truncated else got.messages)

    def is_cut(self, message: ControlMessage) -> bool:
        whole = {SCM_CREDENTIALS: UCRED_SIZE, SCM_PIDFD: 4}
        clocks = {SCM_TIMESTAMP: 16, SCM_TIMESTAMPNS: 16}
        size = (whole | clocks).get(message.type, 0)
        return message.level == SOL_SOCKET and len(message.data) < size


SCM_TIMESTAMP = NATIVE.constants["SCM_TIMESTAMP"]
SCM_TIMESTAMPNS = NATIVE.constants["SCM_TIMESTAMPNS"]


@unusual
class HidesRootAtTheEnd(Receiver):
    """Credentials {0, 0, 0} at the end of a stream are nobody's."""

    def shown(self, got: Received) -> Received:
        if got.data:
            return got
        kept = (
            m for m in got.messages if m.type != SCM_CREDENTIALS or m.data.strip(b"\0")
        )
        return changed(got, kept)


@unusual
class HidesAFailedPidfd(Receiver):
    """A pidfd of -24 is an errno and no descriptor."""

    def shown(self, got: Received) -> Received:
        failed = [
            m
            for m in got.messages
            if is_pidfd(m) and int.from_bytes(m.data, sys.byteorder, signed=True) < 0
        ]
        return changed(got, (m for m in got.messages if m not in failed))


@unusual
class ShowsNoFlags(Receiver):
    def shown(self, got: Received) -> Received:
        return Received(got.data, got.messages, got.truncated)


@unusual
class LooseTypes(Receiver):
    """Bytes-like, a list, a bit for a bool: close enough to be understood."""

    def shown(self, got: Received) -> Received:
        return Received(
            bytearray(got.data),  # type: ignore[arg-type]  # what is unusual
            list(got.messages),  # type: ignore[arg-type]
            8 if got.truncated else 0,  # type: ignore[arg-type]
        )


@unusual
class HighNumbers(Receiver):
    """Moves each descriptor up, the last first: neither lowest nor in order."""

    def shown(self, got: Received) -> Received:
        return changed(
            got, [self.moved(m) if is_rights(m) else m for m in got.messages]
        )

    def moved(self, message: ControlMessage) -> ControlMessage:
        old = numbers_in([message])
        new: list[int] = []
        try:
            new.extend(
                fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 300)
                for number in reversed(old)
            )
        except OSError:  # no such numbers under a low limit
            close(new)
            return message
        close(old)
        return rights(reversed(new))


@unusual
class SurfacesEintr(Implementation):
    """Every other call is interrupted before it did anything."""

    def __init__(self) -> None:
        self.calls = 0

    def interrupted(self) -> None:
        self.calls += 1
        if self.calls % 2:
            raise InterruptedError(errno.EINTR, "Interrupted system call")

    def send(
        self, sock: socket.socket, data: bytes, messages: Messages, flags: int = 0
    ) -> int:
        self.interrupted()
        return RIGHT.send(sock, data, messages, flags)

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        self.interrupted()
        return RIGHT.receive(sock, data_capacity, control_capacity, flags)


# -- what is no leak ----------------------------------------------------------------


@unusual
class ClosesInTheEnd(Implementation):
    """Holds duplicates of what it sends until it is closed."""

    def __init__(self) -> None:
        self.kept: list[int] = []

    def send(
        self, sock: socket.socket, data: bytes, messages: Messages, flags: int = 0
    ) -> int:
        self.kept += [os.dup(n) for n in numbers_in(messages) if may_be_kept(n)]
        return RIGHT.send(sock, data, messages, flags)

    def close(self) -> None:
        close(self.kept)


def may_be_kept(number: int) -> bool:
    """Whether a duplicate does nothing: of an open socket it would delay the end."""
    try:
        return not stat.S_ISSOCK(os.fstat(number).st_mode)
    except OSError:
        return False


class Owned:
    """A descriptor that is closed when nobody refers to it any more."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.close(self.number)


@unusual
class LeftToTheCollector(Receiver):
    """Owns a duplicate of each descriptor in a cycle of references."""

    def shown(self, got: Received) -> Received:
        for number in numbers_in(got.messages):
            try:
                owned = Owned(os.dup(number))
            except OSError:  # a full table
                continue
            owned.itself = owned  # type: ignore[attr-defined]
        return got


@unusual
class HeldByTheException(Receiver):
    """Refuses, and what it received is closed with the exception."""

    promise: ClassVar[Promise] = Promise(on_truncation="refuse")

    def shown(self, got: Received) -> Received:
        if got.truncated:
            mine = [Owned(number) for number in numbers_in(got.messages)]
            raise Refused(f"truncated: {len(mine)} closed")
        return got


class Runtime:
    """What a language's runtime opens for itself, once, when it is first needed."""

    opened: ClassVar[list[object]] = []

    @classmethod
    def start(cls) -> None:
        if cls.opened:
            return
        reader, writer = os.pipe2(os.O_NONBLOCK)
        epoll = select.epoll()
        epoll.register(reader)
        log = open(os.devnull, "w")  # noqa: SIM115, PTH123  (kept open: that is the point)
        thread = threading.Thread(target=os.read, args=(os.pipe()[0], 1), daemon=True)
        thread.start()
        cls.opened += [reader, writer, epoll, log, thread, os.memfd_create("arena")]
        cls.opened += [os.eventfd(0), *socket.socketpair(socket.AF_UNIX)]


@unusual
class HasARuntime(Receiver):
    """Opens an epoll, pipes, a log, a memfd and a thread of its own, and keeps them."""

    def before(self) -> None:
        try:
            Runtime.start()
        except OSError:  # a full table: another time
            Runtime.opened.clear()


@unusual
class OpensEachTime(Receiver):
    """Reads a file before it receives: under a full table that is what fails."""

    def before(self) -> None:
        with open("/proc/self/stat", "rb") as file:  # noqa: PTH123  (any file)
            file.read()


@unusual
class StartsAThread(Receiver):
    """Leaves a thread behind at each receive, that waits for nothing."""

    def before(self) -> None:
        if threading.active_count() < 16:
            threading.Thread(target=threading.Event().wait, daemon=True).start()


@unusual
class RunsAProgram(Receiver):
    """Asks a program each time, as some do to resolve a name."""

    runs: ClassVar[int] = 0

    def before(self) -> None:
        if RunsAProgram.runs < 3:
            RunsAProgram.runs += 1
            subprocess.run(["/bin/true"], check=True)


@unusual
class ForksAndWaits(Receiver):
    """Has a child do a thing, and waits for it."""

    def before(self) -> None:
        pid = os.fork()
        if not pid:
            os._exit(0)
        os.waitpid(pid, 0)


# -- other sockets, other interfaces ------------------------------------------------


@unusual
class ItsOwnSocketpair(Implementation):
    def pair(self, kind: str) -> tuple[Any, Any]:
        types = {
            "stream": socket.SOCK_STREAM,
            "dgram": socket.SOCK_DGRAM,
            "seqpacket": socket.SOCK_SEQPACKET,
        }
        a, b = socket.socketpair(socket.AF_UNIX, types[kind] | socket.SOCK_NONBLOCK)
        return a, b


@unusual
class TheSeed(Implementation):
    """This project's own :class:`ancfuzz.SocketAncillary`, as a user has it."""

    def send(
        self, sock: socket.socket, data: bytes, messages: Messages, flags: int = 0
    ) -> int:
        if not all(is_rights(m) and len(m.data) % 4 == 0 for m in messages):
            raise Unsupported("descriptors only")
        with SocketAncillary(PLENTY) as ancillary:
            for message in messages:
                if not ancillary.add_fds(list(memoryview(message.data).cast("i"))):
                    raise Unsupported("more than one message takes")
            if messages and not data:
                raise Refused("a stream carries descriptors with data")
            return seed_of(sock).send_vectored_with_ancillary([data], ancillary, flags)

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        data = bytearray(data_capacity)
        with SocketAncillary(control_capacity) as ancillary:
            count = seed_of(sock).recv_vectored_with_ancillary([data], ancillary, flags)
            if not isinstance(count, int):
                count, _ = count
            messages = tuple(decode(ancillary.control))
            ancillary.take_fds()
            ancillary.take_pidfds()
            return Received(bytes(data[:count]), messages, ancillary.truncated)


SEEDS: dict[
    socket.SocketKind,
    type[UnixStream | UnixDatagram | UnixSeqpacket],
] = {
    socket.SOCK_STREAM: UnixStream,
    socket.SOCK_DGRAM: UnixDatagram,
    socket.SOCK_SEQPACKET: UnixSeqpacket,
}


def seed_of(sock: socket.socket) -> UnixStream | UnixDatagram | UnixSeqpacket:
    """The socket as the seed has it; it stays the caller's to close."""
    return SEEDS[socket.SocketKind(sock.type)].from_socket(sock)
