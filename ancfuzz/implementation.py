"""What an implementation under test is: the face that users write against.

An :class:`Implementation` is a plain class.  Nothing in it is abstract: what a subclass
does not define is not tested, and the reference does it in its place.  A few lines are
enough:

    class Mine(ancfuzz.Implementation):
        def receive(self, sock, data_capacity, control_capacity, flags=0):
            flags |= socket.MSG_CMSG_CLOEXEC
            data, got, flags, _ = sock.recvmsg(data_capacity, control_capacity, flags)
            messages = tuple(ancfuzz.ControlMessage(*message) for message in got)
            return ancfuzz.Received(data, messages, bool(flags & socket.MSG_CTRUNC))

What an API does on purpose it says in its :class:`Promise`, and is judged by that: a
library that takes at most sixteen descriptors is not wrong to refuse the seventeenth.
The same fields are the hello of a driver in another language.

This room must not know how an implementation is performed or judged, and imports no
socket: the reference is in ``implementations``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from msgspec import Struct

from ancfuzz.abi import NATIVE, Abi
from ancfuzz.codec import ControlMessage

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable


__all__ = ["OPERATIONS", "Implementation", "PairEnd", "Promise", "Received", "tested"]


class Promise(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an API says of itself, so that it is judged by what it promises.

    Attributes:
        capacity: whose choice the size of the control buffer is: the ``caller``'s,
            through ``control_capacity``, or the API's ``own``.
        max_descriptors: most descriptors that it takes in one message; None for as
            many as the kernel does.
        reports: ``all`` control messages, or descriptors (``rights``) only.
        on_truncation: ``deliver`` what arrived and say so, or ``refuse`` by raising.
        close_on_exec: whether received descriptors have FD_CLOEXEC.
        payload: the data bytes that it insists on; None if any will do.
        thread_safe: whether threads may share one instance and its socket.
    """

    capacity: Literal["caller", "own"] = "caller"
    max_descriptors: int | None = None
    reports: Literal["all", "rights"] = "all"
    on_truncation: Literal["deliver", "refuse"] = "deliver"
    close_on_exec: bool = True
    payload: bytes | None = None
    thread_safe: bool = False


class Received(Struct, frozen=True):
    """What a receive returns.

    Attributes:
        data: the payload.
        messages: the control messages in order; the data of an SCM_RIGHTS message holds
            this process's descriptor numbers as native ints.
        truncated: MSG_CTRUNC, as the API reports it.
        flags: msg_flags, for an API that shows them.
        control_length: msg_controllen, for an API that shows it.
    """

    data: bytes
    messages: tuple[ControlMessage, ...]
    truncated: bool
    flags: int | None = None
    control_length: int | None = None


class PairEnd(Protocol):
    """What an implementation's own pair has to be: the methods that are used of it."""

    def sendmsg(
        self,
        buffers: Iterable[bytes],
        ancdata: Iterable[tuple[int, int, bytes]] = ...,
        flags: int = ...,
        /,
    ) -> int:
        """As ``socket.socket.sendmsg``."""
        ...

    def recvmsg(
        self, bufsize: int, ancbufsize: int = ..., flags: int = ..., /
    ) -> tuple[bytes, list[tuple[int, int, bytes]], int, object]:
        """As ``socket.socket.recvmsg``."""
        ...

    def setsockopt(self, level: int, optname: int, value: int, /) -> None:
        """As ``socket.socket.setsockopt``."""
        ...

    def shutdown(self, how: int, /) -> None:
        """As ``socket.socket.shutdown``."""
        ...

    def close(self) -> None:
        """As ``socket.socket.close``."""
        ...


class Implementation:
    """Base of everything under test; override what your API has.

    One fresh instance, made without arguments, serves one case.  An operation is tested
    iff the class overrides it.

    Any operation may raise :class:`ancfuzz.Unsupported` (this API cannot say that),
    :class:`ancfuzz.Refused` (declined on purpose) or ``OSError`` with the system call's
    errno.  Any other exception is a finding.
    """

    name: ClassVar[str] = ""
    abi: ClassVar[Abi] = NATIVE
    promise: ClassVar[Promise] = Promise()

    def encode(
        self, messages: tuple[ControlMessage, ...], capacity: int
    ) -> bytes | None:
        """Lay messages out as :func:`ancfuzz.encode` does.

        Returns:
            The bytes, or None if they are more than ``capacity``.
        """
        raise NotImplementedError

    def encode_into(
        self, buffer: memoryview, messages: tuple[ControlMessage, ...]
    ) -> int | None:
        """The same in a caller's buffer: dirty, at any alignment, a canary behind it.

        Returns:
            The bytes used, or None if the buffer is too small.
        """
        raise NotImplementedError

    def decode(self, control: bytes) -> list[ControlMessage]:
        """Read control messages as :func:`ancfuzz.decode` does.

        Malformed bytes end in :class:`ancfuzz.MalformedControl`, or in the messages
        that came before them.
        """
        raise NotImplementedError

    def send(
        self,
        sock: socket.socket,
        data: bytes,
        messages: tuple[ControlMessage, ...],
        flags: int = 0,
    ) -> int:
        """Send once; neither close nor keep what was given.  Returns bytes sent."""
        raise NotImplementedError

    def send_all(
        self, sock: socket.socket, data: bytes, messages: tuple[ControlMessage, ...]
    ) -> None:
        """Send all of the data, looping over short writes: descriptors go once."""
        raise NotImplementedError

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        """Receive once."""
        raise NotImplementedError

    def held(self) -> tuple[ControlMessage, ...]:
        """What would still be handed out; ``()`` after a failed receive."""
        raise NotImplementedError

    def pair(self, kind: str) -> tuple[PairEnd, PairEnd]:
        """Sockets of its own: a faulty kernel, a simulated pair.

        Args:
            kind: ``stream``, ``dgram`` or ``seqpacket``.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Let go of everything.  What is still open afterwards has leaked."""


OPERATIONS = (
    "encode",
    "encode_into",
    "decode",
    "send",
    "send_all",
    "receive",
    "held",
    "pair",
    "close",
)
"""The operations that a subclass may override, in the order of reports."""


def tested(cls: type[Implementation]) -> frozenset[str]:
    """The operations of a class that are its own, and so are tested."""
    return frozenset(
        name
        for name in OPERATIONS
        if getattr(cls, name, None) is not getattr(Implementation, name)
    )
