"""A buffer of control messages, to be sent or as they were received.

Numbers that were added are not owned: they are copied into the buffer as they are, and
the caller goes on owning what they name.  Numbers that the kernel installed are owned
from the moment that ``recvmsg`` returns; the account of them is ``account``'s.

The invariants: of the buffer only the bytes in use are ever read, and only what is
added is written; and after a receive that failed there are no messages.

This module must not know what a message says (``items``), nor which kind of socket it
goes over.
"""

from __future__ import annotations

import socket
import struct
import warnings
from itertools import chain
from typing import TYPE_CHECKING, NoReturn, Self

from ancfuzz.abi import NATIVE, Abi
from ancfuzz.ancillary.account import Account
from ancfuzz.ancillary.credentials import SocketCred, credentials_message
from ancfuzz.ancillary.items import layout_of, read, rights_form
from ancfuzz.codec import decode, encode
from ancfuzz.errors import EnvironmentUnsupported, MalformedControl
from ancfuzz.syscalls import Message

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from typing_extensions import Buffer

    from ancfuzz.ancillary.items import Item

__all__ = ["SocketAncillary"]

_MSG_CTRUNC = int(socket.MSG_CTRUNC)


class SocketAncillary:
    """Control messages in a buffer: added to be sent, or as they were received.

    The arithmetic and the results are those of Rust's ``SocketAncillary``; where that
    is wrong this is right (docs/seed.md has the list).  A message takes
    ``abi.cmsg_space`` of its payload; what is received needs ``abi.cmsg_len`` only, and
    what lies behind it, up to the capacity, holds further descriptors (R3,
    ``scm_detach_fds`` in ``net/core/scm.c``).

    Received descriptors belong to this object until :meth:`take_fds` or
    :meth:`take_pidfds` hands them over.  :meth:`clear`, the end of a ``with`` block and
    the next receive close what was not taken, and so does the collector, with a
    ResourceWarning.  Whoever closes a number that it only looked at closes it a second
    time, and by then it may be another file's.

    Added descriptors stay the caller's; they need to be open when they are sent.

    The buffer is borrowed: it can be neither resized nor released, and what else writes
    to it writes to the messages.  One thread at a time.
    """

    __slots__ = ("__weakref__", "_account", "_layout", "_message")

    def __init__(self, buffer: Buffer | int, *, abi: Abi = NATIVE) -> None:
        """Begin with no messages; what the buffer holds is neither read nor written.

        Args:
            buffer: memory to work in: any writable C-contiguous buffer, at any
                alignment; or a capacity in bytes.  See :meth:`capacity_for`.
            abi: the layout of the messages; only native ones can be sent and received.

        Raises:
            TypeError: the buffer is read-only, not contiguous, or no buffer.
            ValueError: the capacity is negative.
            EnvironmentUnsupported: the Abi does not say what SCM_RIGHTS is.
        """
        self._layout = layout_of(abi)
        self._account = Account(self._layout)
        if isinstance(buffer, int):
            if buffer < 0:
                raise ValueError(f"a capacity of {buffer} bytes: expected 0 or more")
            buffer = bytearray(buffer)
        self._message = Message(buffer)

    @staticmethod
    def capacity_for(*, fds: int | None = None, creds: int | None = None) -> int:
        """Bytes for one message of descriptors, one of credentials, or both.

        As a capacity to receive into, on a socket with no further options set, it holds
        exactly what the numbers say, or one descriptor more: padding is capacity too.

        Args:
            fds: descriptors in the message; None for no such message.
            creds: credentials in the message (Linux sends and receives one); None for
                no such message.

        Raises:
            EnvironmentUnsupported: credentials, and this system sends none.
        """
        sizes: list[int] = []
        if fds is not None:
            sizes.append(NATIVE.cmsg_space(4 * fds))
        if creds is not None:
            sizes.append(NATIVE.cmsg_space(creds * len(SocketCred().encode())))
        return sum(sizes)

    @property
    def abi(self) -> Abi:
        """The layout of the messages."""
        return self._layout.abi

    @property
    def capacity(self) -> int:
        """The size of the buffer in bytes."""
        return self._message.capacity

    def __len__(self) -> int:
        """Bytes in use."""
        return self._message.length

    @property
    def is_empty(self) -> bool:
        """Whether no byte is in use."""
        return not self._message.length

    @property
    def truncated(self) -> bool:
        """Whether the last receive had more for us than we got (MSG_CTRUNC).

        Too small a buffer, a full descriptor table or a security module; the kernel
        says neither which nor how much.  Adding and sending leave this as it is.
        """
        return bool(self._message.flags & _MSG_CTRUNC)

    @property
    def flags(self) -> int:
        """``msg_flags`` of the last receive; 0 if it failed, or after :meth:`clear`."""
        return self._message.flags

    @property
    def address(self) -> bytes | None:
        """The ``sockaddr`` of the last sender: b"" if it has none.

        None if it was not asked for, if the receive failed, and after :meth:`clear`.
        """
        return self._message.address

    @property
    def control(self) -> bytes:
        """A copy of the bytes in use: what a send sends."""
        return bytes(self._message.control[: self._message.length])

    def __repr__(self) -> str:
        said: list[str] = []
        try:
            said.extend(map(repr, self.messages()))
        except MalformedControl as error:
            said.append(str(error))
        if self.truncated:
            said.append("truncated")
        used = f"{len(self)} of {self.capacity} bytes used"
        return f"<{type(self).__name__}: {', '.join([used, *said])}>"

    def add_fds(self, fds: Iterable[int]) -> bool:
        """Append an SCM_RIGHTS message.

        Behind received messages too: a send then forwards those, and adds this one.

        Args:
            fds: any C ints; whether they are open shows when they are sent.  None at
                all is a message too, of which a receiver sees nothing.

        Returns:
            Whether there was room; if not, nothing is changed.

        Raises:
            TypeError: something is no int.
            ValueError: something is no C int.
        """
        numbers = tuple(fds)
        layout, message = self._layout, self._message
        pack_into, length, space = rights_form(layout, len(numbers))
        start = message.length
        stop = start + space
        if stop > message.capacity:
            return False
        level, type_ = layout.sol_socket, layout.scm_rights
        try:
            pack_into(message.control, start, length, level, type_, *numbers)
        except struct.error:
            raise _not_c_ints(numbers) from None
        message.length = stop
        return True

    def add_creds(self, creds: Iterable[SocketCred]) -> bool:
        """Append a message of credentials.

        The kernel takes a message of exactly one, and of several messages the last;
        and it wants the sender to be entitled to the values (unix(7)).

        Returns:
            Whether there was room; if not, nothing is changed.

        Raises:
            EnvironmentUnsupported: this system sends no credentials.
            ValueError: a value does not fit into its field.
        """
        abi, message = self._layout.abi, self._message
        whole = encode([credentials_message(creds, abi)], abi)
        start = message.length
        stop = start + len(whole)
        if stop > message.capacity:
            return False
        message.control[start:stop] = whole
        message.length = stop
        return True

    def messages(self) -> Iterator[Item]:
        """Read the messages in the buffer, each time from the first.

        What is yielded is a picture of the bytes as they are now: nothing is handed
        over, and what was taken or closed is there still, until the next receive.

        Raises:
            MalformedControl: behind the last message that was whole, somebody has
                written to the buffer what is no message.  The kernel never does.
        """
        control = self.control
        items, broken = read(control, self._layout)
        if broken is None:
            return iter(items)
        return chain(items, _raising(control, self.abi))

    def take_fds(self) -> list[int]:
        """Hand over the received descriptors, of all SCM_RIGHTS, in their order.

        They are the caller's to close from now on.  Empty if nothing arrived, or if
        they were taken or closed before.
        """
        return self._account.take_fds()

    def take_pidfds(self) -> list[int]:
        """Hand over the received pidfds (SO_PASSPIDFD), as :meth:`take_fds` does.

        Where the kernel could install none it says a negative errno; that is in
        :meth:`messages`, and is not a descriptor.
        """
        return self._account.take_pidfds()

    def clear(self) -> None:
        """Forget the messages, and close received descriptors that were not taken."""
        if self._account.pending:
            self._account.close()
        message = self._message
        message.length = message.flags = 0
        message.address = None

    def sendmsg(
        self,
        fd: int,
        buffers: Sequence[Buffer],
        flags: int = 0,
        address: bytes | None = None,
    ) -> int:
        """Send data and these messages; see :func:`ancfuzz.syscalls.sendmsg`.

        The messages stay: a second call sends them again.

        Raises:
            OSError: with the errno of the call; nothing was sent.
            EnvironmentUnsupported: the messages are laid out for another system.
        """
        if not self._layout.native:
            raise self._foreign()
        return self._message.send(fd, buffers, flags, address)

    def recvmsg(
        self,
        fd: int,
        buffers: Sequence[Buffer],
        flags: int = 0,
        *,
        address: bool = False,
    ) -> int:
        """Receive data and messages; see :func:`ancfuzz.syscalls.recvmsg`.

        Clears first, so that after a receive that failed there is nothing.  What
        arrives is close-on-exec; and it is owned also where a signal handler raises as
        soon as the kernel is done.

        Returns:
            Data bytes received.

        Raises:
            OSError: with the errno of the call.
            EnvironmentUnsupported: this buffer is for the messages of another system.
        """
        if not self._layout.native:
            raise self._foreign()
        self.clear()
        message = self._message
        try:
            return message.receive(fd, buffers, flags, address=address)
        finally:
            if message.length:
                self._account.enter(bytes(message.control[: message.length]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def __del__(self) -> None:
        # A buffer that was refused at once has no account.
        account: Account | None = getattr(self, "_account", None)
        if account is not None and (numbers := account.untaken()):
            try:
                warnings.warn(
                    f"received descriptors {numbers} were neither taken nor closed",
                    ResourceWarning,
                    stacklevel=2,
                    source=self,
                )
            finally:  # a filter may make an error of the warning
                account.close()

    def __getstate__(self) -> NoReturn:
        # Two copies would own the same descriptors, and two buffers are two buffers.
        raise TypeError("a SocketAncillary cannot be copied or pickled")

    def _foreign(self) -> EnvironmentUnsupported:
        return EnvironmentUnsupported(
            f"these messages are laid out for {self.abi.name}: only those of "
            f"{NATIVE.name} can be sent and received here"
        )


def _raising(control: bytes, abi: Abi) -> Iterator[NoReturn]:
    """An iterator whose first step raises what is wrong with control bytes."""
    decode(control, abi)
    yield from ()


def _not_c_ints(numbers: Sequence[object]) -> TypeError | ValueError:
    for number in numbers:
        if not isinstance(number, int):
            return TypeError(f"cannot add {number!r}: expected a descriptor, an int")
        if not -(2**31) <= number < 2**31:
            return ValueError(f"cannot add descriptor {number}: expected a C int")
    raise AssertionError(numbers)
