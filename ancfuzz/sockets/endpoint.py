"""What every kind of Unix socket has, and how all of them wait.

A ``socket.socket`` with a timeout is non-blocking underneath, so a call that would
block waits here, until the timeout is over.

This module must not know whether there are packets.
"""

from __future__ import annotations

import math
import select
import socket
import time
from typing import TYPE_CHECKING, ClassVar, Self

from ancfuzz.abi import NATIVE
from ancfuzz.errors import EnvironmentUnsupported
from ancfuzz.sockets.addresses import InvalidInput, checked_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from typing_extensions import Buffer

    from ancfuzz.ancillary import SocketAncillary
    from ancfuzz.sockets.addresses import SocketPath

__all__ = ["UnixSocket"]

_MSG_DONTWAIT = int(socket.MSG_DONTWAIT)

# What makes a socket report its peers' credentials with each message.
_CREDENTIAL_OPTIONS = (
    ("SOL_SOCKET", "SO_PASSCRED"),  # Linux
    ("SOL_LOCAL", "LOCAL_CREDS_PERSISTENT"),  # FreeBSD
    ("SOL_LOCAL", "LOCAL_CREDS"),  # NetBSD
)


_PAUSE = 0.002  # seconds


class UnixSocket:
    """What the three kinds have in common."""

    __slots__ = ("_socket",)
    _kind: ClassVar[socket.SocketKind]

    def __init__(self, sock: socket.socket) -> None:
        """As :meth:`from_socket`."""
        if sock.family != socket.AF_UNIX or sock.type != self._kind:
            # Of a family or a kind that Python does not know there is only the number.
            family, kind = (
                getattr(one, "name", one) for one in (sock.family, sock.type)
            )
            raise InvalidInput(
                f"a socket of {family} and {kind} cannot be a {type(self).__name__}: "
                f"expected AF_UNIX and {self._kind.name}"
            )
        self._socket = sock

    @classmethod
    def from_socket(cls, sock: socket.socket) -> Self:
        """Use this socket; it is shared, not copied.

        What is set on it counts here, its timeout among other things, and closing
        either closes both.  Whoever wants it back has it as :attr:`socket`.

        Raises:
            InvalidInput: it is of another kind or family.
        """
        return cls(sock)

    @classmethod
    def pair(cls) -> tuple[Self, Self]:
        """Two sockets, connected to each other."""
        one, other = socket.socketpair(socket.AF_UNIX, cls._kind)
        return cls(one), cls(other)

    @classmethod
    def connect(cls, path: SocketPath) -> Self:
        """A socket that is connected to the one at this path.

        Args:
            path: in the file system; or an abstract name, which begins with a zero
                byte (Linux).

        Raises:
            InvalidInput: the path is too long, or has a zero byte inside.
            OSError: with the errno of ``connect``.
        """
        return cls._opened(socket.socket.connect, path)

    @classmethod
    def _opened(
        cls, at: Callable[[socket.socket, bytes], object], path: SocketPath
    ) -> Self:
        checked = checked_path(path)
        sock = socket.socket(socket.AF_UNIX, cls._kind)
        try:
            at(sock, checked)
        except BaseException:
            sock.close()
            raise
        return cls(sock)

    @property
    def socket(self) -> socket.socket:
        """The socket beneath, for everything that has no method here."""
        return self._socket

    def fileno(self) -> int:
        """The descriptor; -1 once it is closed."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket; a second time does nothing."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._socket!r}>"

    def set_passcred(self, passcred: bool) -> None:
        """Have credentials with every message that is received, or no more.

        Raises:
            EnvironmentUnsupported: this system has no such option.
        """
        self._socket.setsockopt(*_credential_option(), int(passcred))

    def passcred(self) -> bool:
        """Whether credentials come with every message that is received.

        Raises:
            EnvironmentUnsupported: this system has no such option.
        """
        return bool(self._socket.getsockopt(*_credential_option()))

    # The first try is each method's own: a call in between costs as much as the rest of
    # what happens here. What follows is for when it would have blocked.

    def _send_later(
        self,
        bufs: Sequence[Buffer],
        ancillary: SocketAncillary,
        flags: int,
        address: bytes | None = None,
    ) -> int:
        """Wait until there is room, and send; in an ``except BlockingIOError``."""
        if not self._may_wait(flags):
            raise  # noqa: PLE0704  (what the caller is handling)
        deadline = self._wait(select.POLLOUT, None)
        while True:
            try:
                return ancillary.sendmsg(self._socket.fileno(), bufs, flags, address)
            except BlockingIOError:
                deadline = self._wait(select.POLLOUT, deadline)
                # Ready, and full all the same: the queue is another socket's.
                time.sleep(_PAUSE)

    def _receive_later(
        self,
        bufs: Sequence[Buffer],
        ancillary: SocketAncillary,
        flags: int,
        *,
        address: bool = False,
    ) -> int:
        """Wait until something arrives; in an ``except BlockingIOError``."""
        if not self._may_wait(flags):
            raise  # noqa: PLE0704  (what the caller is handling)
        deadline = self._wait(select.POLLIN, None)
        while True:
            try:
                return ancillary.recvmsg(self._socket.fileno(), bufs, flags, address)
            except BlockingIOError:
                deadline = self._wait(select.POLLIN, deadline)

    def _may_wait(self, flags: int) -> bool:
        # A socket.socket with a timeout is non-blocking underneath.
        return bool(self._socket.gettimeout()) and not flags & _MSG_DONTWAIT

    def _wait(self, event: int, deadline: float | None) -> float:
        """Wait until the socket is ready, or the deadline is over; return it."""
        now = time.monotonic()
        if deadline is None:
            deadline = now + (self._socket.gettimeout() or 0)
        poll = select.poll()
        poll.register(self._socket, event)
        if now >= deadline or not poll.poll(math.ceil((deadline - now) * 1000)):
            raise TimeoutError(f"timed out after {self._socket.gettimeout()} s")
        return deadline


def _credential_option() -> tuple[int, int]:
    constants = NATIVE.constants
    for level, option in _CREDENTIAL_OPTIONS:
        if level in constants and option in constants:
            return constants[level], constants[option]
    names = ", ".join(option for _, option in _CREDENTIAL_OPTIONS)
    raise EnvironmentUnsupported(
        f"{NATIVE.name} has no option to pass credentials: expected one of {names}"
    )
