"""Control buffers: what a reader of ``msg_control`` is given.

Two sorts.  A well-formed buffer decodes, whatever the messages in it say; a hostile one
holds what no writer means to write, and may decode or not.  Both are drawn by laying
out messages and then changing bytes, so that what is wrong is wrong in one place and
everything around it is right: that is where readers fail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from hypothesis import strategies as st

from ancfuzz.abi import NATIVE, Abi
from ancfuzz.codec import ControlMessage, decode, encode, walk
from ancfuzz.strategies.arguments import checked
from ancfuzz.strategies.messages import control_messages
from ancfuzz.strategies.payloads import payload_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis.strategies import SearchStrategy

__all__ = ["control_buffers", "hostile_control_buffers", "hostile_lengths"]

Messages: TypeAlias = tuple[ControlMessage, ...]

_MOST_MESSAGES = 4
_MOST_SPOILT = 40  # bytes of a payload
_MOST_ARBITRARY = 6  # headers' worth of bytes


def _message_lists(abi: Abi, least: int, most: int) -> SearchStrategy[Messages]:
    message = control_messages(abi=abi)
    return st.integers(least, most).flatmap(lambda size: st.tuples(*[message] * size))


def _small_buffers(abi: Abi) -> SearchStrategy[bytes]:
    """What to spoil: what is wrong with a buffer is not how long its payloads are."""
    message = control_messages(abi=abi, max_size=_MOST_SPOILT)
    messages = st.lists(message, min_size=1, max_size=_MOST_MESSAGES)
    return messages.map(lambda drawn: encode(drawn, abi))


@checked
@st.composite
def control_buffers(  # noqa: D417  (Hypothesis passes draw, and not the caller)
    draw: st.DrawFn,
    *,
    abi: Abi = NATIVE,
    min_messages: int = 0,
    max_messages: int = _MOST_MESSAGES,
) -> bytes:
    """Well-formed buffers: :func:`ancfuzz.decode` never raises.

    Padding may hold any byte, as a kernel leaves what was there; the last message may
    lack its padding, or part of it; behind it may be fewer bytes than a header.
    Shrinks towards few and short messages, zero padding and no tail.

    Args:
        abi: the layout.
        min_messages: fewest messages.
        max_messages: most messages.
    """
    messages = draw(_message_lists(abi, min_messages, max_messages))
    control = _filled(encode(messages, abi), draw(st.integers(0, 255)), abi)
    match draw(st.sampled_from(["padded", "unpadded", "tail"])):
        case "unpadded":
            padding = _padding(messages, abi)
            less = draw(st.sampled_from([padding, *range(padding)]))
            return control[: len(control) - less]
        case "tail":
            return control + draw(st.binary(max_size=abi.header_size - 1))
        case _:
            return control


def _filled(control: bytes, fill: int, abi: Abi) -> bytes:
    """The same buffer with another byte wherever no field and no payload is."""
    return b"".join(
        bytes([fill]) * (span.stop - span.start)
        if span.kind == "padding"
        else control[span.start : span.stop]
        for span in walk(control, abi)
    )


def _padding(messages: Messages, abi: Abi) -> int:
    """Bytes of padding behind the last message."""
    if not messages:
        return 0
    size = len(messages[-1].data)
    return abi.cmsg_space(size) - abi.cmsg_len(size)


def hostile_lengths(abi: Abi, left: int) -> tuple[int, ...]:
    """Values of ``cmsg_len`` that readers get wrong, as far as its field is wide.

    Around what a header needs, around what is left, and where adding or aligning wraps
    a 32-bit or 64-bit integer, signed or not.  Some of them can be true.

    Args:
        abi: the layout.
        left: bytes from the header to the end of the buffer.
    """
    sizes = (abi.header_size, abi.data_offset, left)
    near = (size + by for size in sizes for by in (-1, 0, 1))
    wraps = (
        (1 << bits) + by for bits in (31, 32, 63, 64) for by in (-abi.alignment, -1, 0)
    )
    limit = 1 << 8 * abi.length_size
    return tuple(sorted({n for n in (0, 1, *near, *wraps) if 0 <= n < limit}))


@checked
@st.composite
def hostile_control_buffers(  # noqa: D417  (as control_buffers)
    draw: st.DrawFn, *, abi: Abi = NATIVE
) -> bytes:
    """Buffers that no writer means to write.

    One header lies about its length; the end is missing; messages are packed without
    padding; single bytes differ; or all bytes are any bytes.  Many do not decode, some
    do.

    Args:
        abi: the layout.
    """
    make: Callable[[st.DrawFn, Abi], bytes] = draw(
        st.sampled_from([_arbitrary, _cut, _packed, _scribbled, _lying, _lying, _lying])
    )
    return make(draw, abi)


def _cut(draw: st.DrawFn, abi: Abi) -> bytes:
    control = draw(_small_buffers(abi))
    return control[: draw(st.integers(0, len(control) - 1))]


def _lying(draw: st.DrawFn, abi: Abi) -> bytes:
    control = bytearray(draw(_small_buffers(abi)))
    headers = [span.start for span in walk(control, abi) if span.kind == "header"]
    header = draw(st.sampled_from(headers))
    length = draw(st.sampled_from(hostile_lengths(abi, len(control) - header)))
    at = header + abi.length_offset
    field = length.to_bytes(abi.length_size, abi.byte_order)
    control[at : at + abi.length_size] = field
    return bytes(control)


def _packed(draw: st.DrawFn, abi: Abi) -> bytes:
    control = draw(_small_buffers(abi))
    return b"".join(
        encode([message], abi)[: abi.cmsg_len(len(message.data))]
        for message in decode(control, abi)
    )


def _scribbled(draw: st.DrawFn, abi: Abi) -> bytes:
    control = bytearray(draw(_small_buffers(abi)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(control) - 1))
        control[at] = draw(st.sampled_from([0xFF, 0x80, 0x7F, 0x01, 0x00]))
    return bytes(control)


def _arbitrary(draw: st.DrawFn, abi: Abi) -> bytes:
    most = _MOST_ARBITRARY * abi.header_size
    return draw(st.integers(0, most).flatmap(payload_bytes))
