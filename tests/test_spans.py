"""The walk of people: every byte has one purpose, and decode says nothing else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from hypothesis import given
from hypothesis import strategies as st

from ancfuzz.abi import ABIS, Abi
from ancfuzz.codec import ControlMessage, Span, decode, encode, walk
from ancfuzz.errors import MalformedControl
from ancfuzz.strategies import abis, control_buffers, hostile_control_buffers

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis.strategies import SearchStrategy

T = TypeVar("T")


def of_each_abi(
    make: Callable[..., SearchStrategy[T]],
) -> SearchStrategy[tuple[Abi, T]]:
    return abis().flatmap(lambda abi: st.tuples(st.just(abi), make(abi=abi)))


BUFFERS = of_each_abi(control_buffers) | of_each_abi(hostile_control_buffers)


@given(BUFFERS)
def test_spans_cover_every_byte_once(drawn: tuple[Abi, bytes]) -> None:
    abi, control = drawn
    at = 0
    for span in walk(control, abi):
        assert span.start == at < span.stop
        at = span.stop
    assert at == len(control)


@given(BUFFERS)
def test_spans_agree_with_decode(drawn: tuple[Abi, bytes]) -> None:
    abi, control = drawn
    spans = list(walk(control, abi))
    headers = [span for span in spans if span.kind == "header"]
    expected = found = None
    try:
        answer = decode(control, abi)
    except MalformedControl as error:
        last = spans.pop()
        answer = decode(control[: last.start], abi)
        expected = "broken", error.offset, len(control), len(headers), error.args
        args = last.error and last.error.args
        found = last.kind, last.start, last.stop, last.message, args
    assert found == expected
    assert [span.message for span in headers] == list(range(len(answer)))
    data = {
        span.message: control[span.start : span.stop]
        for span in spans
        if span.kind == "data"
    }
    assert [data.get(n, b"") for n in range(len(answer))] == [m.data for m in answer]
    assert all(span.error is None for span in spans)


@given(BUFFERS)
def test_spans_are_in_the_order_of_a_buffer(drawn: tuple[Abi, bytes]) -> None:
    abi, control = drawn
    letters = {"header": "h", "padding": "p", "data": "d", "tail": "t", "broken": "b"}
    spans = list(walk(control, abi))
    order = "".join(letters[span.kind] for span in spans)
    gap = "p" if abi.data_offset > abi.header_size else ""
    assert re.fullmatch(f"(h{gap}(dp?)?)*[tb]?", order)
    for span in spans:
        size = span.stop - span.start
        if span.kind == "header":
            assert size == abi.header_size
        if span.kind == "tail":
            assert size < abi.header_size
        if span.kind == "padding":
            assert size < abi.alignment


def test_the_spans_of_a_buffer_by_hand() -> None:
    abi = ABIS["x86_64-freebsd-none"]
    first, second = ControlMessage(0xFFFF, 1, b"12345"), ControlMessage(0, 0, b"")
    control = encode([first, second], abi)
    spans = [
        Span("header", 0, 12, 0),
        Span("padding", 12, 16, 0),
        Span("data", 16, 21, 0),
        Span("padding", 21, 24, 0),
        Span("header", 24, 36, 1),
        Span("padding", 36, 40, 1),
    ]
    assert list(walk(control, abi)) == spans
    assert list(walk(control + b"123", abi)) == [*spans, Span("tail", 40, 43, 2)]
    assert list(walk(control[:22], abi)) == [*spans[:3], Span("padding", 21, 22, 0)]
    *whole, broken = walk(control[:24] + b"\x03" + control[25:], abi)
    assert whole == spans[:4]
    assert (broken.kind, broken.start, broken.stop, broken.message) == (
        "broken",
        24,
        40,
        1,
    )
    assert str(broken.error) == (
        "malformed control message at offset 24: 16 bytes needed, 3 available"
    )
