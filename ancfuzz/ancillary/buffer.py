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
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, NoReturn, Self

from ancfuzz.abi import NATIVE, Abi
from ancfuzz.ancillary.account import Account
from ancfuzz.ancillary.credentials import SocketCred, credentials_message
from ancfuzz.ancillary.items import layout_of, read, rights_form
from ancfuzz.codec import decode, encode
from ancfuzz.errors import EnvironmentUnsupported, MalformedControl
from ancfuzz.syscalls import Message, in_use

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from typing_extensions import Buffer

    from ancfuzz.ancillary.items import Item

__all__ = ["SocketAncillary"]

_MSG_CTRUNC = int(socket.MSG_CTRUNC)
_NATIVE_LAYOUT = layout_of(NATIVE)


class SocketAncillary(Message):
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
    to it writes to the messages.

    One thread at a time: threads have one each.  While one of them receives, adding,
    sending, clearing, taking and a second receive are refused with a UsageError; and
    whatever threads do with one that they share, a descriptor is handed over or closed
    once.  After a fork there are two, each with its own process's descriptors.

    It may be used again and again, or made for each message: it costs little.  What it
    closes it closes in runs, faster than ``os.close`` for each.
    """

    __slots__ = ("__weakref__", "_account", "_layout")

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
        # Not super(): a fifth of what it takes to make one, and many are used once.
        Message.__init__(self, buffer)
        self._account: Account | None = None  # until something arrives
        self._layout = _NATIVE_LAYOUT
        if abi is not NATIVE:
            self._layout = layout_of(abi)
            if not self._layout.native:
                self._barred = partial(_foreign, abi)

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
    def is_empty(self) -> bool:
        """Whether no byte is in use."""
        return not self._length

    @property
    def truncated(self) -> bool:
        """Whether the last receive had more for us than we got (MSG_CTRUNC).

        Too small a buffer, a full descriptor table or a security module; the kernel
        says neither which nor how much.  Adding and sending leave this as it is.
        """
        return bool(self._flags & _MSG_CTRUNC)

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
            UsageError: another thread is receiving into this buffer.
        """
        numbers = tuple(fds)
        layout = self._layout
        pack_into, length, space = rights_form(layout, len(numbers))
        # No other thread runs between the question and the writing: what is in the
        # memory when something has arrived is what is owned.
        if self._barred is in_use:
            raise in_use()
        start = self._length
        stop = start + space
        if stop > self._capacity:
            return False
        level, type_ = layout.sol_socket, layout.scm_rights
        try:
            pack_into(self._memory, start, length, level, type_, *numbers)
        except struct.error:
            raise _not_c_ints(numbers) from None
        self._length = stop
        return True

    def add_creds(self, creds: Iterable[SocketCred]) -> bool:
        """Append a message of credentials.

        The kernel takes a message of exactly one, and of several messages the last;
        and it wants the sender to be entitled to the values (unix(7)).

        Returns:
            Whether there was room; if not, nothing is changed.

        Raises:
            EnvironmentUnsupported: this system sends no credentials.
            TypeError: something is no SocketCred.
            ValueError: a value does not fit into its field.
            UsageError: another thread is receiving into this buffer.
        """
        abi = self._layout.abi
        whole = encode([credentials_message(creds, abi)], abi)
        memory = memoryview(self._memory)
        if self._barred is in_use:  # as above
            raise in_use()
        start = self._length
        stop = start + len(whole)
        if stop > self._capacity:
            return False
        memory[start:stop] = whole
        self._length = stop
        return True

    def messages(self) -> Iterator[Item]:
        """Read the messages in the buffer, each time from the first.

        What is yielded is a picture of the bytes as they are now: nothing is handed
        over, and what was taken or closed is there still, until the next receive.

        Raises:
            MalformedControl: behind the last message that was whole, somebody has
                written to the buffer what is no message.  The kernel never does.
        """
        if not self._length:
            return iter(())
        control = bytes(self._memory[: self._length])
        items, broken = read(control, self._layout)
        if broken is None:
            return iter(items)
        return chain(items, _raising(control, self.abi))

    def take_fds(self) -> list[int]:
        """Hand over the received descriptors, of all SCM_RIGHTS, in their order.

        They are the caller's to close from now on.  Empty if nothing arrived, or if
        they were taken or closed before.

        Raises:
            UsageError: another thread is receiving into this buffer.
        """
        if self._barred is in_use:
            raise in_use()
        account = self._account
        return [] if account is None else account.take_fds()

    def take_pidfds(self) -> list[int]:
        """Hand over the received pidfds (SO_PASSPIDFD), as :meth:`take_fds` does.

        Where the kernel could install none it says a negative errno; that is in
        :meth:`messages`, and is not a descriptor.

        Raises:
            UsageError: another thread is receiving into this buffer.
        """
        if self._barred is in_use:
            raise in_use()
        account = self._account
        return [] if account is None else account.take_pidfds()

    def clear(self) -> None:
        """Forget the messages, and close received descriptors that were not taken.

        Raises:
            UsageError: another thread is receiving into this buffer.
        """
        if self._barred is in_use:
            raise in_use()
        if self._length or self._account is not None:
            self._forget()
        self._flags = 0
        self._address = None

    def _forget(self) -> None:
        account = self._account
        if account is not None:
            account.close()
        self._length = 0

    def _arrived(self, length: int) -> None:
        account = self._account
        if account is None:
            account = self._account = Account(self._layout)
        account.enter(bytes(self._memory[:length]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self.clear()

    def __getstate__(self) -> NoReturn:
        # Two copies would own the same descriptors, and two buffers are two buffers.
        raise TypeError("a SocketAncillary cannot be copied or pickled")


def _foreign(abi: Abi) -> EnvironmentUnsupported:
    return EnvironmentUnsupported(
        f"these messages are laid out for {abi.name}: only those of {NATIVE.name} can "
        "be sent and received here"
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
