"""How a case is drawn: written once, for every engine.

The grammar draws over a source of :class:`Choices` and knows where bugs live: sizes are
drawn explicitly, and up to the most that there is; capacities close to CMSG_LEN and
CMSG_SPACE of what is sent; lengths close to 0, to a header, to the bytes that are left,
to 2^31, 2^32, 2^63 and 2^64; messages in any order and company.

This room must not know how a case is performed, nor what comes of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ancfuzz.abi import NATIVE, Abi
from ancfuzz.case import (
    Case,
    Close,
    Decode,
    Encode,
    EncodeInto,
    Flag,
    Message,
    NamedCredentials,
    NamedRights,
    Open,
    PlainMessage,
    Receive,
    Send,
    SendAll,
    SendRaw,
    SetOption,
    Shutdown,
    SocketKind,
    Step,
)
from ancfuzz.codec import ControlMessage, encode
from ancfuzz.names import CLOSED, KINDS, NEGATIVE

if TYPE_CHECKING:
    from ancfuzz.choices import Choices

__all__ = [
    "capacity_near",
    "draw_case",
    "draw_codec_case",
    "draw_exchange",
    "hostile_lengths",
    "spread_out",
]

_SOCKET_KINDS: tuple[SocketKind, ...] = ("stream", "dgram", "seqpacket")
_SIZES = (0, 1, 2, 3, 4, 5, 8, 9, 12, 13, 16, 17, 20, 24, 28, 64, 252, 253, 1012)
_NUDGES = (-9, -8, -5, -4, -3, -2, -1, 0, 0, 0, 1, 2, 3, 4, 5, 7, 8, 12, 16)
_FEW = 5  # descriptors in most messages: real ones seldom carry more
_MANY = 253  # SCM_MAX_FD


# -- bytes --------------------------------------------------------------------------


def hostile_lengths(left: int, abi: Abi = NATIVE) -> tuple[int, ...]:
    """Values of cmsg_len that break readers, where so many bytes are left."""
    smallest, top = abi.data_offset, 1 << (8 * abi.length_size)
    candidates = (
        0,
        1,
        smallest - 1,
        smallest,
        smallest + 1,
        abi.header_size,
        left - 1,
        left,
        left + 1,
        left + abi.alignment,
        2**31 - 1,
        2**31,
        2**31 + smallest,
        2**32 - abi.alignment,
        2**32 - 1,
        2**32,
        2**32 + smallest,
        2**32 + left,
        2**63 - 1,
        2**63,
        top - abi.alignment,
        top - abi.alignment + 1,
        top - 1,
    )
    return tuple(dict.fromkeys(n for n in candidates if 0 <= n < top))


def _level_and_type(choices: Choices) -> tuple[int, int]:
    kind = choices.integer(0, 9)
    if kind < 5:
        return 1, choices.integer(0, 4)  # SOL_SOCKET, around SCM_RIGHTS
    if kind < 8:
        return choices.choice((0, 1, 6, 41, 270, 0xFFFF, -1)), choices.integer(-1, 64)
    return choices.integer(-(2**31), 2**31 - 1), choices.integer(-(2**31), 2**31 - 1)


def _size(choices: Choices) -> int:
    if choices.integer(0, 3):
        return choices.choice(_SIZES)
    return choices.integer(0, 40)


def _plain(choices: Choices) -> PlainMessage:
    level, type_ = _level_and_type(choices)
    return PlainMessage(level, type_, choices.data(_size(choices)).hex())


def _plains(choices: Choices) -> tuple[PlainMessage, ...]:
    return tuple(_plain(choices) for _ in range(choices.choice((0, 1, 1, 2, 2, 3, 5))))


def _space(messages: tuple[PlainMessage, ...], abi: Abi) -> int:
    return sum(abi.cmsg_space(len(m.data) // 2) for m in messages)


def capacity_near(choices: Choices, exact: int) -> int:
    """A capacity close to what is needed, or anywhere, or plenty."""
    kind = choices.integer(0, 7)
    if kind < 6:
        return max(0, exact + choices.choice(_NUDGES))
    if kind == 6:
        return choices.integer(0, max(exact, 16))
    return exact + 512


def _hostile(choices: Choices, abi: Abi) -> bytes:
    """A control buffer with something wrong with it, most of the time."""
    kind = choices.integer(0, 9)
    if kind == 0:
        return choices.data(choices.integer(0, 80))
    messages = [
        ControlMessage(m.level, m.type, bytes.fromhex(m.data)) for m in _plains(choices)
    ]
    control = bytearray(encode(messages, abi))
    if kind < 3 or not messages:
        return bytes(control + choices.data(choices.choice((0, 0, 1, 7, 11, 12, 15))))
    if kind == 3:
        return bytes(control[: choices.integer(0, len(control))])
    index = choices.integer(0, len(messages) - 1)
    at = sum(abi.cmsg_space(len(m.data)) for m in messages[:index])
    length = choices.choice(hostile_lengths(len(control) - at, abi))
    field = at + abi.length_offset
    order = abi.byte_order
    control[field : field + abi.length_size] = length.to_bytes(abi.length_size, order)
    if choices.integer(0, 2) == 0:
        control = control[: len(control) - choices.integer(0, 8)]
    return bytes(control)


def draw_codec_case(choices: Choices, abi: Abi = NATIVE) -> Case:
    """A case of bytes alone: one of encode, encode_into, decode."""
    kind = choices.integer(0, 9)
    if kind < 5:
        return Case((Decode(_hostile(choices, abi).hex()),))
    messages = _plains(choices)
    capacity = capacity_near(choices, _space(messages, abi))
    if kind < 8:
        return Case((Encode(messages, capacity),))
    return Case(
        (
            EncodeInto(
                messages,
                capacity,
                misaligned=choices.choice((0, 0, 1, 2, 4, 8, 15)),
                fill=choices.choice((0, 0xFF, 1, 0xAA)),
            ),
        )
    )


# -- sockets ------------------------------------------------------------------------


def spread_out(count: int) -> tuple[str, ...]:
    """So many descriptors, each another open file description."""
    if count == 0:
        return ()
    return ("memfd",) if count == 1 else ("memfd", f"memfd#1..{count - 1}")


def _descriptor(choices: Choices) -> str:
    kind = choices.choice(KINDS)
    turn = choices.integer(0, 7)
    if turn < 4:
        return kind
    if turn < 6:
        return f"{kind}#{choices.integer(1, 3)}"
    if turn == 6:
        return f"dup:{kind}"
    return choices.choice(("socket:a", "socket:b"))


def _rights(choices: Choices, *, most: int = _FEW) -> NamedRights:
    turn = choices.integer(0, 19)
    if turn == 0:
        count = choices.choice((choices.integer(0, _MANY), _MANY - 1, _MANY, _MANY + 1))
        return NamedRights(spread_out(count))
    if turn == 1:
        return NamedRights((_descriptor(choices), choices.choice((CLOSED, NEGATIVE))))
    stray = "" if turn else choices.data(choices.integer(1, 3)).hex()
    count = choices.integer(0 if turn == 2 else 1, most)
    return NamedRights(tuple(_descriptor(choices) for _ in range(count)), stray)


def _message(choices: Choices) -> Message:
    turn = choices.integer(0, 11)
    if turn < 8:
        return _rights(choices)
    if turn < 10:
        return NamedCredentials()
    if turn == 10:
        return NamedCredentials(
            choices.choice(("self", "none", 1)),
            choices.choice(("self", 0, 1, 65534)),
            choices.choice(("self", 0, 1, 65534)),
        )
    return PlainMessage(41, 67, choices.data(4).hex())  # another level: not looked at


def _messages(choices: Choices) -> tuple[Message, ...]:
    return tuple(
        _message(choices) for _ in range(choices.choice((0, 0, 1, 1, 1, 1, 1, 2, 3)))
    )


def _control_size(messages: tuple[Message, ...], abi: Abi, *, asked: bool) -> int:
    rights = sum(len(m.names()) for m in messages if isinstance(m, NamedRights))
    credentials = abi.cmsg_space(12) if asked else 0
    return credentials + (abi.cmsg_len(4 * rights) if rights else 0)


def _raw_control(choices: Choices, abi: Abi) -> str:
    """Control bytes that no sender should send, descriptors by name."""
    order = abi.byte_order
    names = [choices.choice(("memfd", "pipe-read", "eventfd", "closed", "negative"))]
    names += [
        choices.choice(("memfd#1", "socket")) for _ in range(choices.integer(0, 2))
    ]
    size = abi.cmsg_len(4 * len(names))
    space = abi.cmsg_space(4 * len(names))
    turn = choices.integer(0, 3)
    if turn == 0:
        length = choices.choice(hostile_lengths(space, abi))
        # Not a length that reads padding as descriptors 0, 0: whether that number is
        # open is the performer's own affair.
        if size < length <= space:
            length = size
    else:
        length = size
    type_ = choices.choice((1, 1, 1, 2, 3, 4, 0, -1)) if turn == 1 else 1
    level = choices.choice((0, 41, -1)) if turn == 2 else 1
    header = (
        length.to_bytes(8, order)[: abi.length_size]
        if order == "little"
        else length.to_bytes(abi.length_size, order)
    )
    words = [level, type_]
    text = header.hex() + "".join(
        (word & 0xFFFFFFFF).to_bytes(4, order).hex() for word in words
    )
    text += "".join(f"{{{name}}}" for name in names)
    padding = choices.choice((space - size, 0, space - size + 4))
    return text + "00" * padding


def draw_exchange(choices: Choices, abi: Abi = NATIVE) -> Case:
    """A case over a pair of sockets: options, sends, receives, the end."""
    kind = choices.choice(_SOCKET_KINDS)
    steps: list[Step] = [Open(kind)]
    passcred = choices.integer(0, 2) == 0
    if passcred:
        steps.append(SetOption("b", "SO_PASSCRED"))
    if choices.integer(0, 11) == 0:
        steps.append(
            SetOption(
                choices.choice(("a", "b")),
                choices.choice(
                    ("SO_PASSPIDFD", "SO_TIMESTAMP", "SO_TIMESTAMPNS", "SO_PASSCRED")
                ),
            )
        )
    needed: list[int] = []
    for _ in range(choices.choice((1, 1, 1, 2, 3))):
        data = choices.choice(("78", "78", "6162636465", "61*40", ""))
        if choices.integer(0, 15) == 0:
            steps.append(SendRaw("a", _raw_control(choices, abi), data))
            needed.append(abi.cmsg_space(12))
            continue
        messages = _messages(choices)
        steps.append(Send("a", data, messages))
        needed.append(_control_size(messages, abi, asked=passcred))
    ending = choices.integer(0, 9)
    if ending == 0:
        steps.append(Close("a"))
    elif ending == 1:
        steps.append(Shutdown("a", choices.choice(("write", "read", "both"))))
    steps += _receives(choices, needed)
    return Case(tuple(steps))


def _receives(choices: Choices, needed: list[int]) -> list[Step]:
    steps: list[Step] = []
    for exact in (*needed, needed[-1])[: choices.integer(1, len(needed) + 1)]:
        flags: tuple[Flag, ...] = ()
        turn = choices.integer(0, 9)
        if turn == 0:
            flags = ("MSG_PEEK",)
        elif turn == 1:
            flags = ("MSG_DONTWAIT",)
        size = choices.choice((64, 64, 64, 64, 1, 2, 3, 5, 0))
        capacity = capacity_near(choices, exact)
        steps.append(Receive("b", size, capacity, flags))
        if flags == ("MSG_PEEK",):
            steps.append(Receive("b", size, capacity))
    return steps


def _long_send(choices: Choices) -> Case:
    size = choices.choice((1, 3000, 20000, 100000))
    return Case(
        (Open("stream"), SendAll("a", f"61*{size}", (_rights(choices, most=3),)))
    )


def draw_case(choices: Choices, abi: Abi = NATIVE) -> Case:
    """Any case."""
    turn = choices.integer(0, 99)
    if turn < 40:
        return draw_codec_case(choices, abi)
    if turn < 99:
        return draw_exchange(choices, abi)
    return _long_send(choices)
