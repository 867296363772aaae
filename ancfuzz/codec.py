"""Control messages to bytes and back, for any ABI on any host.

Three functions over one layout, and the layout is always a value (:class:`Abi`):

* :func:`encode` writes messages one behind the other, each padded to ``CMSG_SPACE``,
  the last one too, with every padding byte zero.
* :func:`decode` reads them back, or raises :class:`MalformedControl` at the first
  header whose length cannot be true.  It advances by at least a header every time and
  works on Python's integers, so that it can neither loop nor wrap nor read past the
  end, whatever the bytes are.
* :func:`walk` is decode for people: it never raises, and covers every byte of the
  buffer with exactly one span that says what the byte is for.

This room must not know what a level, a type or a payload means (``messages`` does), nor
what a socket is.  Bytes come in as they are; a live descriptor number is four bytes.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Literal

import msgspec

from ancfuzz.abi import NATIVE, Abi
from ancfuzz.errors import MalformedControl

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from typing_extensions import Buffer

__all__ = ["ControlMessage", "Span", "decode", "encode", "encoded_size", "walk"]


class ControlMessage(msgspec.Struct, frozen=True, gc=False):
    """One control message: what lies between two headers, and the header's two names.

    Attributes:
        level: ``cmsg_level``, a C int; ``SOL_SOCKET`` for what AF_UNIX sockets carry.
        type: ``cmsg_type``, a C int.
        data: the payload, without header and padding, in bytes.
    """

    level: int
    type: int
    data: bytes


class Span(msgspec.Struct, frozen=True):
    """What the bytes ``start`` to ``stop`` of a control buffer are.

    Attributes:
        kind: ``header``; ``data``; ``padding`` (behind a header or behind data);
            ``tail`` (fewer bytes than a header, which every reader ignores); ``broken``
            (a header whose length cannot be true, and all that follows it).
        start: offset of the first byte.
        stop: offset behind the last byte.
        message: index of the message that the bytes belong to; of a tail or a broken
            rest, the number of whole messages before it.
        error: for ``broken`` only: what :func:`decode` raises there.
    """

    kind: Literal["header", "data", "padding", "tail", "broken"]
    start: int
    stop: int
    message: int
    error: MalformedControl | None = None


def encoded_size(messages: Iterable[ControlMessage], abi: Abi = NATIVE) -> int:
    """Bytes that :func:`encode` makes of these messages: the sum of CMSG_SPACE."""
    return sum(abi.cmsg_space(len(message.data)) for message in messages)


def encode(messages: Iterable[ControlMessage], abi: Abi = NATIVE) -> bytes:
    """Lay control messages out as ``sendmsg`` wants them.

    Args:
        messages: in the order in which they are to lie in the buffer.
        abi: the layout; the host's own by default.

    Returns:
        As many bytes as the sum of ``CMSG_SPACE`` of the payloads; the last message is
        padded too, and padding is zero.

    Raises:
        ValueError: a level or a type is not a C int, or a payload is longer than this
            Abi's ``cmsg_len`` can say.
    """
    header, header_size, data_offset, round_up, _ = abi.header_format
    gap = data_offset - header_size
    parts: list[bytes] = []
    for message in messages:
        data = message.data
        if type(data) is not bytes:
            data = _as_bytes(data)  # an array counts items, and we count bytes
        size = len(data)
        try:
            parts.append(header.pack(data_offset + size, message.level, message.type))
        except struct.error:
            raise ValueError(_why_not_encodable(message, abi)) from None
        if gap:
            parts.append(bytes(gap))
        parts.append(data)
        if padding := -size & round_up:
            parts.append(bytes(padding))
    return b"".join(parts)


def _why_not_encodable(message: ControlMessage, abi: Abi) -> str:
    for name in ("level", "type"):
        value = getattr(message, name)
        if not (isinstance(value, int) and -(2**31) <= value < 2**31):
            return f"cannot encode {name} {value!r}: expected a C int"
    return (
        f"cannot encode {len(message.data)} payload bytes: "
        f"cmsg_len of {abi.name} has {abi.length_size} bytes"
    )


def _as_bytes(control: Buffer) -> bytes:
    # Through memoryview, because bytes(5) is five zero bytes and not an error.
    return control if isinstance(control, bytes) else bytes(memoryview(control))


def decode(control: Buffer, abi: Abi = NATIVE) -> list[ControlMessage]:
    """Read the control messages that a buffer holds.

    Level, type and payload are not looked at.  Fewer bytes than a header at the end are
    ignored, as the kernel and every ``CMSG_NXTHDR`` ignore them.

    Args:
        control: any bytes-like object: ``msg_control`` cut to ``msg_controllen``.
        abi: the layout; the host's own by default.

    Raises:
        MalformedControl: a header claims fewer bytes than ``CMSG_LEN(0)`` or more than
            are left.  Nothing else is raised for bytes-like input.
    """
    if type(control) is not bytes:
        control = _as_bytes(control)
    header, header_size, data_offset, round_up, mask = abi.header_format
    messages: list[ControlMessage] = []
    end = len(control)
    last = end - header_size
    at = length = stop = 0
    while at <= last:
        length, level, type_ = header.unpack_from(control, at)
        if length < data_offset:
            raise _malformed(at, length, end - at, data_offset)
        stop = at + length
        messages.append(ControlMessage(level, type_, control[at + data_offset : stop]))
        at = (stop + round_up) & mask
    # No header lies behind a message that claims more than there is: only the last can.
    if stop > end:
        at = stop - length
        raise _malformed(at, length, end - at, data_offset)
    return messages


def _malformed(at: int, length: int, left: int, smallest: int) -> MalformedControl:
    if length < smallest:
        return MalformedControl(offset=at, needed=smallest, available=length)
    return MalformedControl(offset=at, needed=length, available=left)


def walk(control: Buffer, abi: Abi = NATIVE) -> Iterator[Span]:
    """Say of every byte of a control buffer what it is for.

    The spans lie one behind the other without gap from 0 to the end of the buffer; none
    is empty.  Their headers and data are those of :func:`decode`, as far as it gets.

    Args:
        control: any bytes-like object.
        abi: the layout; the host's own by default.
    """
    control = _as_bytes(control)
    header, header_size, data_offset, round_up, mask = abi.header_format
    end = len(control)
    at = 0
    index = 0
    while end - at >= header_size:
        length = header.unpack_from(control, at)[0]
        if not data_offset <= length <= end - at:
            error = _malformed(at, length, end - at, data_offset)
            yield Span("broken", at, end, index, error)
            return
        data, data_stop = at + data_offset, at + length
        # An unpadded last message ends the buffer before its padding would.
        next_at = min(at + ((length + round_up) & mask), end)
        yield Span("header", at, at + header_size, index)
        if data > at + header_size:
            yield Span("padding", at + header_size, data, index)
        if data_stop > data:
            yield Span("data", data, data_stop, index)
        if next_at > data_stop:
            yield Span("padding", data_stop, next_at, index)
        at = next_at
        index += 1
    if at < end:
        yield Span("tail", at, end, index)
