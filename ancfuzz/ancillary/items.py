"""What :class:`ancfuzz.SocketAncillary` finds in its buffer, as values.

Two messages have a meaning here, descriptors and credentials; every other one is handed
out as it is, payload and all.

A value is a picture of some bytes: a number in it is not owned by it, and need not be
open.  Of a message that the kernel cut, the whole elements that were left are there
(R2, ``put_cmsg``, and R3, ``scm_detach_fds``, in ``net/core/scm.c``).

Reading is the codec's, but for a single message of descriptors, which is what nearly
every send sends: that is written in one step, by :func:`rights_form`, and read in one,
by :func:`only_rights`.

This module must not know who owns what it shows (``account``).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import msgspec

from ancfuzz.abi import NATIVE, Abi
from ancfuzz.ancillary.credentials import (
    SocketCred,
    credentials_type,
    read_credentials,
)
from ancfuzz.codec import decode
from ancfuzz.errors import EnvironmentUnsupported, MalformedControl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ancfuzz.codec import ControlMessage

__all__ = [
    "Item",
    "Layout",
    "ScmCredentials",
    "ScmRights",
    "UnknownMessage",
    "descriptors",
    "layout_of",
    "only_rights",
    "read",
    "rights_form",
]


class ScmRights(msgspec.Struct, frozen=True):
    """An SCM_RIGHTS message: descriptor numbers, in their order.

    Attributes:
        fds: the numbers.  They are :meth:`ancfuzz.SocketAncillary.take_fds`'s to hand
            over; here they can be looked at.
    """

    fds: tuple[int, ...]

    def __iter__(self) -> Iterator[int]:
        return iter(self.fds)

    def __len__(self) -> int:
        return len(self.fds)


class ScmCredentials(msgspec.Struct, frozen=True):
    """A message of credentials: SCM_CREDENTIALS, SCM_CREDS2 or SCM_CREDS.

    Attributes:
        creds: none if the kernel cut the message.
    """

    creds: tuple[SocketCred, ...]

    def __iter__(self) -> Iterator[SocketCred]:
        return iter(self.creds)

    def __len__(self) -> int:
        return len(self.creds)


class UnknownMessage(msgspec.Struct, frozen=True):
    """Any other message: a pidfd, a timestamp, a security label.

    Attributes:
        level: ``cmsg_level``.
        type: ``cmsg_type``.
        data: the payload.  A pidfd in it belongs to the buffer that it was received
            into, until :meth:`ancfuzz.SocketAncillary.take_pidfds` hands it over.
    """

    level: int
    type: int
    data: bytes


Item: TypeAlias = ScmRights | ScmCredentials | UnknownMessage
"""What :meth:`ancfuzz.SocketAncillary.messages` yields."""


@dataclass(frozen=True, eq=False)
class Layout:
    """The numbers that an Abi gives to what is told apart here.

    Compared by identity, because an Abi takes long to hash: see :func:`layout_of`.
    """

    abi: Abi
    sol_socket: int
    scm_rights: int
    scm_pidfd: int | None
    scm_credentials: int | None
    native: bool
    unpack_header: Callable[[bytes], tuple[int, ...]]
    data_offset: int
    round_up: int
    mask: int
    high_byte: int


@lru_cache(maxsize=128)
def layout_of(abi: Abi) -> Layout:
    """The one layout of an Abi.

    Raises:
        EnvironmentUnsupported: the Abi does not say what SCM_RIGHTS is.
    """
    try:
        level, rights = abi.constants["SOL_SOCKET"], abi.constants["SCM_RIGHTS"]
    except KeyError as missing:
        raise EnvironmentUnsupported(
            f"the layout {abi.name} does not say what {missing.args[0]} is: expected "
            "one of ancfuzz.abi.ABIS, or constants of its own"
        ) from None
    pidfd = abi.constants.get("SCM_PIDFD")
    header, _, data_offset, round_up, mask = abi.header_format
    return Layout(
        abi=abi,
        sol_socket=level,
        scm_rights=rights,
        scm_pidfd=pidfd,
        scm_credentials=credentials_type(abi),
        native=abi == NATIVE,
        unpack_header=header.unpack_from,
        data_offset=data_offset,
        round_up=round_up,
        mask=mask,
        high_byte=3 if abi.byte_order == "little" else 0,
    )


class RightsForm(NamedTuple):
    """A whole SCM_RIGHTS message of some number of descriptors, padded."""

    pack_into: Callable[..., None]  # length, level, type, and the descriptors
    length: int
    space: int


@lru_cache(maxsize=1024)
def rights_form(layout: Layout, count: int) -> RightsForm:
    """How a number of descriptors is laid out."""
    abi = layout.abi
    gap = abi.data_offset - abi.header_size
    padding = abi.align(4 * count) - 4 * count
    whole = struct.Struct(f"{abi.header.format}{gap}x{count}i{padding}x")
    return RightsForm(whole.pack_into, abi.cmsg_len(4 * count), whole.size)


@lru_cache(maxsize=1024)
def _ints(layout: Layout, count: int) -> struct.Struct:
    return struct.Struct(f"{layout.abi.struct_order}{count}i")


def descriptors(data: bytes, layout: Layout) -> tuple[int, ...]:
    """The whole ints of a payload; up to three stray bytes are left out."""
    return _ints(layout, len(data) // 4).unpack_from(data)


def _interpret(message: ControlMessage, layout: Layout) -> Item:
    level, type_, data = message.level, message.type, message.data
    if level == layout.sol_socket:
        if type_ == layout.scm_rights:
            return ScmRights(descriptors(data, layout))
        if type_ == layout.scm_credentials:
            return ScmCredentials(read_credentials(data, layout.abi))
    return UnknownMessage(level, type_, data)


def only_rights(control: bytes, layout: Layout) -> tuple[int, ...] | None:
    """The descriptors, if control bytes are one message of them and nothing else.

    That is what nearly always arrives, and it is read in one step.  None says no more
    than that these have to be :func:`read`: other messages, or a negative number.
    """
    size = len(control)
    offset = layout.data_offset
    if size < offset:
        return None
    length, level, type_ = layout.unpack_header(control)
    if (
        type_ == layout.scm_rights
        and level == layout.sol_socket
        and offset <= length <= size <= (length + layout.round_up) & layout.mask
        # The signs: the highest bits of the highest bytes.
        and control[offset + layout.high_byte : length : 4].isascii()
    ):
        return _ints(layout, (length - offset) // 4).unpack_from(control, offset)
    return None


# What arrived is read at least twice: by whoever wants it, and to account for it; and
# whoever closes it gets the same numbers, and so the same bytes, the next time.
@lru_cache(maxsize=16)
def read(control: bytes, layout: Layout) -> tuple[tuple[Item, ...], int | None]:
    """Read control bytes.

    Returns:
        The messages; and where the first begins that is none, if there is one.
    """
    rights = only_rights(control, layout)
    if rights is not None:
        return (ScmRights(rights),), None
    broken = None
    try:
        messages = decode(control, layout.abi)
    except MalformedControl as error:
        broken = error.offset
        messages = decode(control[:broken], layout.abi)
    return tuple(_interpret(message, layout) for message in messages), broken
