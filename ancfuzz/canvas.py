"""Memory for a caller's buffer: dirty, at any alignment, with a canary on either side.

An encoder that is given a buffer must write in it and nowhere else, wherever it begins.
The canvas is one private mapping, page-aligned, so that the first byte of a buffer can
be put at any distance from an aligned address.

This room must not know what is written.
"""

from __future__ import annotations

import mmap
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Canvas"]

_PAGE = 4096
_MOST = 1 << 20  # what a case may ask for
_CANARY = b"\xa5" * 64


class Canvas:
    """A buffer at a time, between two canaries."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _MOST + 3 * _PAGE)
        self._start = self._stop = 0

    def close(self) -> None:
        """Give the memory back, unless somebody still holds on to a part of it."""
        with suppress(BufferError):
            self._memory.close()

    @contextmanager
    def buffer(self, size: int, misaligned: int, fill: int) -> Generator[memoryview]:
        """A writable buffer.

        Args:
            size: in bytes.
            misaligned: bytes behind an address that is a multiple of sixteen.
            fill: what every byte of it holds.
        """
        self._start = _PAGE + misaligned
        self._stop = self._start + size
        memory = self._memory
        memory[self._start - len(_CANARY) : self._start] = _CANARY
        memory[self._start : self._stop] = bytes([fill]) * size
        memory[self._stop : self._stop + len(_CANARY)] = _CANARY
        with memoryview(memory) as whole:
            view = whole[self._start : self._stop]
            try:
                yield view
            finally:
                # An implementation may have kept a view of its own: that is its affair.
                with suppress(BufferError):
                    view.release()

    def content(self) -> bytes:
        """What the last buffer holds."""
        return self._memory[self._start : self._stop]

    def changed_outside(self) -> bool:
        """Whether a byte next to the last buffer was written."""
        memory = self._memory
        before = memory[self._start - len(_CANARY) : self._start]
        behind = memory[self._stop : self._stop + len(_CANARY)]
        return before != _CANARY or behind != _CANARY
