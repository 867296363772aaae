"""Decoding and encoding, against everybody else who can.

The shapes are the messages in a buffer times the descriptors in each.  What a codec
makes of each is checked once, before any clock starts: one that is wrong is not fast.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

from pairing import CannotMeasure, Contender, Effort, Table, by_row, column, python
from rivals import BARE, Codec, Plain, rivals

from ancfuzz import ControlMessage, decode, encode
from ancfuzz.abi import ABIS, NATIVE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ancfuzz import Abi

SHAPES = {
    "1x1": (1, 1),
    "1x8": (1, 8),
    "1x253": (1, 253),
    "10x1": (10, 1),
    "100x1": (100, 1),
}
"""The number of messages, and of descriptors in each."""

# Another header size, alignment and byte order than that of most who run this.
OTHER = ABIS["sparc-linux-gnu"]
OURS = {"ancfuzz": None, "ancfuzz, abi=NATIVE": NATIVE, "ancfuzz, another abi": OTHER}
"""Our rows, and the Abi that is passed in each; None for none."""


def shaped(shape: str) -> list[Plain]:
    """The messages of a shape."""
    count, descriptors = SHAPES[shape]
    ints = struct.Struct(f"={descriptors}i")
    return [
        (socket.SOL_SOCKET, socket.SCM_RIGHTS, ints.pack(*range(at, at + descriptors)))
        for at in range(3, 3 + count)
    ]


def tables(effort: Effort, left_out: Callable[[str, str], None]) -> Iterator[Table]:
    """Decoding, and encoding."""
    others = list(rivals(left_out))
    against = BARE.name if BARE in others else next(iter(OURS))
    for name, contenders in (("decode", decoders), ("encode", encoders)):
        columns = {
            shape: column(contenders(shaped(shape), others), against, effort)
            for shape in SHAPES
        }
        title = f"{name}: messages x descriptors in each"
        yield Table(name, title, "ratio", against, tuple(SHAPES), by_row(columns))


def decoders(messages: Sequence[Plain], others: Sequence[Codec]) -> list[Contender]:
    """Who decodes these messages, each from the bytes that its layout has."""
    ours = [ControlMessage(*one) for one in messages]
    found: list[Contender] = []
    for name, abi in OURS.items():
        control = encode(ours, abi or NATIVE)
        _same(name, decode(control, abi or NATIVE), ours)
        found.append(_ours(name, "decode", control, abi, decode=decode))
    for one in others:
        control = encode(ours)
        _same(one.name, one.plain(one.decode(control)), list(messages))
        found.append(
            python(one.name, "decode(control)", decode=one.decode, control=control)
        )
    return found


def encoders(messages: Sequence[Plain], others: Sequence[Codec]) -> list[Contender]:
    """Who encodes these messages, each from objects of its own kind."""
    ours = [ControlMessage(*one) for one in messages]
    found: list[Contender] = []
    for name, abi in OURS.items():
        _same(name, decode(encode(ours, abi or NATIVE), abi or NATIVE), ours)
        found.append(_ours(name, "encode", ours, abi, encode=encode))
    for one in others:
        if one.encode is None:
            continue
        made = one.made(messages)
        _same(one.name, one.encode(made), encode(ours))
        found.append(python(one.name, "encode(made)", encode=one.encode, made=made))
    return found


def _ours(
    name: str, does: str, what: object, abi: Abi | None, **function: object
) -> Contender:
    if abi is None:
        return python(name, f"{does}(what)", what=what, **function)
    return python(name, f"{does}(what, abi)", what=what, abi=abi, **function)


def _same(name: str, found: object, expected: object) -> None:
    if found != expected:
        raise CannotMeasure(f"{name} made {found!r:.200} of {expected!r:.200}")
