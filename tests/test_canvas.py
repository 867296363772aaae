"""A caller's buffer: dirty, anywhere, and watched on both sides."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancfuzz.canvas import Canvas

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def canvas() -> Iterator[Canvas]:
    canvas = Canvas()
    yield canvas
    canvas.close()


@given(
    size=st.integers(0, 5000), misaligned=st.integers(0, 15), fill=st.integers(0, 255)
)
def test_a_buffer_is_as_it_was_asked_for(
    canvas: Canvas, size: int, misaligned: int, fill: int
) -> None:
    with canvas.buffer(size, misaligned, fill) as buffer:
        assert bytes(buffer) == bytes([fill]) * size
        assert not buffer.readonly
        if size:
            address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
            assert address % 16 == misaligned
            buffer[0] = buffer[-1] = fill ^ 1
    assert not canvas.changed_outside()
    assert len(canvas.content()) == size
    assert size == 0 or canvas.content()[-1] == fill ^ 1


@pytest.mark.parametrize("distance", [-64, -1, 0, 1, 63])
def test_a_byte_outside_is_seen(canvas: Canvas, distance: int) -> None:
    with canvas.buffer(100, 3, 0) as buffer:
        first = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
        behind = distance if distance < 0 else 100 + distance
        ctypes.memset(first + behind, 0, 1)
    assert canvas.changed_outside()
    with canvas.buffer(100, 3, 0):
        pass
    assert not canvas.changed_outside()


def test_a_view_that_somebody_keeps_is_no_obstacle() -> None:
    canvas = Canvas()
    with canvas.buffer(8, 0, 0) as buffer:
        kept = ctypes.c_char.from_buffer(buffer)
    with canvas.buffer(8, 0, 1) as buffer:
        assert bytes(buffer) == b"\1" * 8
    canvas.close()
    del kept
    canvas.close()


def test_the_largest_buffer_of_a_case_fits(canvas: Canvas) -> None:
    with canvas.buffer(1 << 20, 15, 7) as buffer:
        assert buffer[-1] == 7
    assert not canvas.changed_outside()
