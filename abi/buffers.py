"""The control buffers that macros and our reader walk, and what our reader says.

:func:`controls` are buffers as somebody writes them, cut everywhere by who reads them;
:func:`hostile` ones hold a length that cannot be true.  Both are encoded as our layout
of a target has it; if that is wrong, it shows when the target's own macros read them.

A :class:`Reading` is what ``ancfuzz.codec`` makes of a buffer, in the words in which
``walk_main.c`` prints what macros make of it.  It is held against itself first:
``decode`` and ``walk`` say the same, and refuse only what cannot be true.

This room must not know what any macro says.
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from ancfuzz.codec import ControlMessage, decode, encode, walk
from ancfuzz.errors import MalformedControl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ancfuzz.abi import Abi

SIZES = range(65)


class Shape(NamedTuple):
    """A ``cmsg_len`` that cannot be true, and where it stands."""

    name: str
    length: Callable[[Abi, int], int]  # from the bytes left at its header
    second: bool


def _shapes() -> Iterator[Shape]:
    lengths: dict[str, Callable[[Abi, int], int]] = {
        "0": lambda _abi, _left: 0,
        "header - 1": lambda abi, _left: abi.header_size - 1,
        "header": lambda abi, _left: abi.header_size,
        "CMSG_LEN(0) - 1": lambda abi, _left: abi.cmsg_len(0) - 1,
        "left + 1": lambda _abi, left: left + 1,
        "left + alignment": lambda abi, left: left + abi.alignment,
        "2^31": lambda _abi, _left: 1 << 31,
        "2^32 - 1": lambda _abi, _left: (1 << 32) - 1,
        "2^32 - CMSG_SPACE(4)": lambda abi, _left: (1 << 32) - abi.cmsg_space(4),
        "2^63": lambda _abi, _left: 1 << 63,
        "2^64 - 1": lambda _abi, _left: (1 << 64) - 1,
        "2^64 - CMSG_SPACE(4)": lambda abi, _left: (1 << 64) - abi.cmsg_space(4),
    }
    for second in (False, True):
        for name, length in lengths.items():
            yield Shape(f"{'next' if second else 'first'}: {name}", length, second)


SHAPES = tuple(_shapes())


class Control(NamedTuple):
    """A buffer to walk.

    Attributes:
        messages: what was encoded.
        content: as what; with zeros behind.
        first: the first ``msg_controllen`` to read it with: the shorter ones were
            those of a buffer that began with the same message.
    """

    messages: list[ControlMessage]
    content: bytes
    first: int


def controls(abi: Abi) -> Iterator[Control]:
    """Each payload size alone, before others, behind and between."""
    behind = bytes(abi.header_size + abi.alignment)
    for n in SIZES:
        for sizes in ((n,), (n, 0), (n, 1), (0, n), (n, 64 - n, n)):
            messages = [_message(*at_n) for at_n in enumerate(sizes)]
            first = 0 if len(sizes) == 1 else abi.cmsg_space(sizes[0])
            yield Control(messages, encode(messages, abi) + behind, first)


def _message(index: int, size: int) -> ControlMessage:
    data = bytes((16 * index + at) % 251 + 1 for at in range(size))
    return ControlMessage(1 + index, -1 - index, data)


def hostile(abi: Abi) -> Iterator[tuple[Shape, bytes]]:
    """For each shape that this layout can say, two or three messages, one of them bad.

    A shape that is no bad header in this layout is left out.
    """
    good = encode([_message(0, 4)], abi)
    for shape in SHAPES:
        at = len(good) if shape.second else 0
        control = bytearray(good * (3 if shape.second else 2))
        length = shape.length(abi, len(control) - at)
        if length >> 8 * abi.length_size:
            continue
        control[_length_field(at, abi)] = length.to_bytes(
            abi.length_size, abi.byte_order
        )
        if _is_bad(control, at, abi):
            yield shape, bytes(control)


def _length_field(at: int, abi: Abi) -> slice:
    begin = at + abi.length_offset
    return slice(begin, begin + abi.length_size)


def _is_bad(control: bytes | bytearray, at: int, abi: Abi) -> bool:
    """Whether a whole header is there and its length cannot be true."""
    length = int.from_bytes(control[_length_field(at, abi)], abi.byte_order)
    left = len(control) - at
    return left >= abi.header_size and not abi.cmsg_len(0) <= length <= left


class Reading(NamedTuple):
    """What our reader makes of a control buffer, as ``walk_main.c`` prints a walk."""

    control: bytes
    headers: tuple[str, ...]
    broken: int | None  # where it refuses to go on

    @property
    def line(self) -> str:
        """What ``walk_main.c`` prints of a walk that finds the same."""
        return " ".join([".", *self.headers])


def read(control: bytes, abi: Abi) -> Reading:
    """What ``decode`` and ``walk`` make of a buffer, or that they contradict it."""
    spans = [one for one in walk(control, abi) if one.kind in {"header", "broken"}]
    broken = spans.pop().start if spans and spans[-1].kind == "broken" else None
    messages, refused = _decoded(control, abi)
    if broken is not None and not _is_bad(control, broken, abi):
        # Without this, what decode wrongly refuses would pass for a lax macro.
        return Reading(control, (f"refused at {broken}, without reason",), broken)
    if refused != broken or len(messages) != len(spans):
        # No macro prints this, so that it is a difference whatever they say.
        told = f"decode: {len(messages)}, refused at {refused}"
        told = f"{told}; walk: {len(spans)}, broken at {broken}"
        return Reading(control, (told,), broken)
    headers: list[str] = []
    for span, message in zip(spans, messages, strict=True):
        data = span.start + abi.cmsg_len(0)
        length = abi.cmsg_len(len(message.data))
        if control[data : span.start + length] != message.data:
            data = -1  # what decode read does not lie where CMSG_DATA would be
        headers.append(f"{span.start}:{data}:{length}:{message.level}:{message.type}")
    return Reading(control, tuple(headers), broken)


def _decoded(control: bytes, abi: Abi) -> tuple[list[ControlMessage], int | None]:
    """What decode reads, and where it refuses to go on."""
    try:
        return decode(control, abi), None
    except MalformedControl as error:
        refused = error.offset
    with suppress(MalformedControl):  # then it refuses twice, and that is told
        return decode(control[:refused], abi), refused
    return [], refused


@lru_cache(maxsize=16)
def readings(abi: Abi) -> tuple[tuple[Reading, str], ...]:
    """Each of our readings with its line; once for all targets of one layout."""
    every: list[Reading] = []
    for messages, content, first in controls(abi):
        sizes = range(first, len(content) + 1)
        every += (read(content[:size], abi) for size in sizes)
        encoded = content[: sum(abi.cmsg_space(len(one.data)) for one in messages)]
        if _decoded(encoded, abi) != (messages, None):
            # Else both sides would agree about bytes that nobody meant to write.
            every[-1] = Reading(encoded, ("decode reads not what was encoded",), None)
    return tuple((one, one.line) for one in every)
