"""Who else reads and writes control messages, and how they are asked.

A :class:`Codec` is one way to do it, with what is needed to see that it does the same
as the others.  Libraries give their own objects and take their own: only the call that
they are timed by lies between bytes and these, and turning them into :data:`Plain`
messages is not timed.

Each comes twice where it can: once with descriptors as Python integers, and once with
the payload left as bytes, which is what ``ancfuzz.decode`` does.

The libraries are imported by their names, as ``Any``: they are no dependency of this
project, and who checks its types need not have them.  Each has a file ``with_*.py``;
the loops without a library are here.
"""

from __future__ import annotations

import importlib
import struct
import sys
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Payload: TypeAlias = Literal["ints", "bytes"]
PAYLOADS: tuple[Payload, ...] = ("ints", "bytes")

Plain: TypeAlias = tuple[int, int, bytes]
"""Level, type and payload of one message."""

_OfInts: TypeAlias = tuple[int, int, tuple[int, ...]]

LIBRARIES = {
    "construct": "with_construct",
    "dissect.cstruct": "with_cstruct",
    "scapy": "with_scapy",
    "kaitaistruct": "with_kaitai",
}
"""Distributions, and our files that use them."""

# What all of these files write down: a 64-bit, little-endian struct cmsghdr.
HEADER = 16
LAID_OUT_HERE = sys.byteorder == "little" and struct.calcsize("N") == HEADER // 2


class Codec(NamedTuple):
    """One way to decode and encode.

    Attributes:
        name: the row of the table.
        decode: what is timed: bytes to its own kind of messages.
        plain: those as plain messages.
        encode: what is timed: its own kind of messages to bytes; None if that is
            another's.
        made: what ``encode`` takes, of plain messages.
    """

    name: str
    decode: Callable[[bytes], Any]
    plain: Callable[[Any], list[Plain]]
    encode: Callable[[Any], bytes] | None
    made: Callable[[Sequence[Plain]], Any]


def label(library: str, payload: Payload) -> str:
    """The name of a library's codec."""
    return library if payload == "ints" else f"{library}, bytes"


def ints(data: bytes) -> tuple[int, ...]:
    """A payload as integers."""
    return struct.unpack(f"={len(data) // 4}i", data)


def packed(payload: bytes | Sequence[int]) -> bytes:
    """A payload as bytes, whichever way a codec has it."""
    if isinstance(payload, bytes):
        return payload
    return struct.pack(f"={len(payload)}i", *payload)


# The bare loops: what a program has that trusts its kernel. Nothing is checked.

_HEADER = struct.Struct("@Nii")
_INTS = [struct.Struct(f"={count}i") for count in range(254)]


def decode_ints(control: bytes) -> list[_OfInts]:
    """The loop as one writes it, with a compiled ``struct`` for each count."""
    length: int  # unpack_from says Any
    found: list[_OfInts] = []
    at = 0
    while at + HEADER <= len(control):
        length, level, type_ = _HEADER.unpack_from(control, at)
        ints = _INTS[(length - HEADER) // 4]
        found.append((level, type_, ints.unpack_from(control, at + HEADER)))
        at += (length + 7) & -8
    return found


def decode_bytes(control: bytes) -> list[Plain]:
    """The same, with the payload left as bytes."""
    found: list[Plain] = []
    at = 0
    while at + HEADER <= len(control):
        length, level, type_ = _HEADER.unpack_from(control, at)
        found.append((level, type_, control[at + HEADER : at + length]))
        at += (length + 7) & -8
    return found


_read_header = _HEADER.unpack_from
_read_ints: list[Callable[[bytes, int], tuple[int, ...]]] = [
    one.unpack_from for one in _INTS
]


def decode_tuned(control: bytes) -> list[_OfInts]:
    """The first, with all that can be looked up and reckoned before the loop."""
    length: int
    found: list[_OfInts] = []
    at = 0
    last = len(control) - HEADER
    while at <= last:
        length, level, type_ = _read_header(control, at)
        fds = _read_ints[(length - HEADER) >> 2](control, at + HEADER)
        found.append((level, type_, fds))
        at += (length + 7) & -8
    return found


def encode_ints(messages: Sequence[_OfInts]) -> bytes:
    """The bare loop the other way, of descriptors."""
    parts: list[bytes] = []
    for level, type_, fds in messages:
        size = 4 * len(fds)
        parts.append(_HEADER.pack(HEADER + size, level, type_))
        parts.append(_INTS[len(fds)].pack(*fds))
        parts.append(bytes(-size & 7))
    return b"".join(parts)


def encode_bytes(messages: Sequence[Plain]) -> bytes:
    """The bare loop the other way, of payloads."""
    parts: list[bytes] = []
    for level, type_, data in messages:
        parts.append(_HEADER.pack(HEADER + len(data), level, type_))
        parts.append(data)
        parts.append(bytes(-len(data) & 7))
    return b"".join(parts)


def _plain(found: Sequence[_OfInts]) -> list[Plain]:
    return [(level, type_, packed(fds)) for level, type_, fds in found]


def _made(messages: Sequence[Plain]) -> list[_OfInts]:
    return [(level, type_, ints(data)) for level, type_, data in messages]


BARE = Codec(
    "bare struct loop",
    decode=decode_ints,
    plain=_plain,
    encode=encode_ints,
    made=_made,
)
TUNED = Codec("bare struct loop, tuned", decode_tuned, _plain, None, list)
BARE_BYTES = Codec(
    "bare struct loop, bytes",
    decode=decode_bytes,
    plain=list,
    encode=encode_bytes,
    made=list,
)


def rivals(left_out: Callable[[str, str], None]) -> Iterator[Codec]:
    """Every codec that is not ours; those not installed are said."""
    if not LAID_OUT_HERE:
        left_out("other codecs", "theirs are written for 64-bit little-endian layouts")
        return
    yield BARE
    yield TUNED
    yield BARE_BYTES
    for distribution, module in LIBRARIES.items():
        try:
            found: Any = importlib.import_module(module)
        except ModuleNotFoundError as error:
            left_out(distribution, f"{error}: python -m pip install {distribution}")
            continue
        for payload in PAYLOADS:
            yield found.codec(payload)
