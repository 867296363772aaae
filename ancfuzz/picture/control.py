"""A control buffer as rows of bytes that say what they are for.

       0 14 00 00 00 00 00 00 00│01 00 00 00│01 00 00 00  #0 cmsg_len 20, SCM_RIGHTS
      16 05 00 00 00                                      1 descriptor: 5
      20 00 00 00 00                                      padding
    > 24 80 00 00 00 00 00 00 00│01 00 00 00│01 00 00 00  broken: cmsg_len 128, but
                                                          16 bytes left

A row never mixes what belongs to different spans of :func:`ancfuzz.codec.walk`, so
that every byte stands beside what is said of it.  Offsets are decimal, as in
:class:`ancfuzz.MalformedControl`.  Where notes find no room beside the bytes, they
stand above them.

This room draws; where a header, its data and its padding lie it asks ``codec``, and
what they mean ``messages``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from ancfuzz import codec, messages
from ancfuzz.abi import NATIVE, Abi
from ancfuzz.codec import ControlMessage
from ancfuzz.picture.lines import (
    MIN_WIDTH,
    UNICODE,
    Glyphs,
    Line,
    Segment,
    beside,
    printable,
    quantity,
    wrap,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from ancfuzz.codec import Span

__all__ = ["control_lines"]

_ROW_SIZES: Final = (16, 8, 4, 2, 1)
_LEAST_BESIDE_NOTES: Final = 8
_NOTE_WIDTH: Final = 24  # the narrowest column in which a note still reads well
_LIVE_SIZE: Final = 4  # a descriptor number, a pid, a uid: each is a C int


def control_lines(
    control: bytes,
    abi: Abi = NATIVE,
    *,
    width: int = 80,
    glyphs: Glyphs = UNICODE,
    marks: Collection[int] = (),
    live: Mapping[int, str] | None = None,
    most_rows: int | None = None,
) -> Iterator[Line]:
    """Draw a control buffer.

    Args:
        control: the bytes, well-formed or not.
        abi: the layout to read them by.
        width: cells in a line; fewer than :data:`MIN_WIDTH` are taken for that.
        glyphs: the characters to draw with.
        marks: offsets of bytes whose rows are marked; the header at which a walk breaks
            is always marked.
        live: names of four-byte values that are known only when the bytes are sent, by
            offset; the bytes there are drawn as dots.
        most_rows: rows that one span may take; of a longer one the end is left out,
            unless there is a mark in it.

    Yields:
        Lines of at most ``width`` cells.
    """
    grid = _grid(len(control), max(width, MIN_WIDTH))
    sheet = _Sheet(control, abi, grid, glyphs, frozenset(marks), live or {}, most_rows)
    for span in codec.walk(control, abi):
        yield from sheet.draw(span)


class _Grid(NamedTuple):
    """Where things stand in a line, in cells."""

    offset_width: int
    row_size: int  # bytes
    note_at: int
    note_width: int
    notes_beside: bool


def _grid(length: int, width: int) -> _Grid:
    offset_width = max(3, len(str(length)))
    for size in _ROW_SIZES:
        # The mark, the offset, a blank; "00 " for each byte but the last, "00".
        bytes_end = 1 + offset_width + 1 + 3 * size - 1
        room = width - bytes_end - 2
        if size >= _LEAST_BESIDE_NOTES and room >= _NOTE_WIDTH:
            return _Grid(offset_width, size, bytes_end + 2, room, notes_beside=True)
    size = next((n for n in _ROW_SIZES if offset_width + 1 + 3 * n <= width), 1)
    note_at = offset_width + 2 if width >= 2 * _NOTE_WIDTH else 2
    return _Grid(offset_width, size, note_at, width - note_at, notes_beside=False)


@dataclass(frozen=True)
class _Sheet:
    """A buffer, and how it is drawn."""

    control: bytes
    abi: Abi
    grid: _Grid
    glyphs: Glyphs
    marks: frozenset[int]
    live: Mapping[int, str]
    most_rows: int | None

    def draw(self, span: Span) -> Iterator[Line]:
        grid, stop = self.grid, span.stop
        fields = self._field_edges(span)
        rows = [
            self._row(span, at, min(at + grid.row_size, stop), fields)
            for at in range(span.start, stop, grid.row_size)
        ]
        if self.most_rows and len(rows) > self.most_rows:
            kept = max(1, self.most_rows - 1)
            rest = range(span.start + kept * grid.row_size, stop)
            if not any(mark in rest for mark in self.marks):
                more = f"{self.glyphs.ellipsis} {quantity(len(rest), 'byte')}"
                margin = " " * (1 + grid.offset_width + 1)
                cut = (margin + more)[: self.grid.note_at + self.grid.note_width]
                rows[kept:] = [(Segment(cut, "rule"),)]
        note = printable(self._note(span), self.glyphs)
        most = max(6, len(rows)) if grid.notes_beside else 6
        notes = wrap(note, grid.note_width, most, self.glyphs)
        if grid.notes_beside:
            yield from beside(rows, grid.note_at, notes, "note")
        else:
            blank = Segment(" " * grid.note_at)
            yield from ((blank, Segment(line, "note")) for line in notes)
            yield from rows

    def _row(self, span: Span, start: int, stop: int, fields: frozenset[int]) -> Line:
        cells = [f"{byte:02x}" for byte in self.control[start:stop]]
        for at in self.live:
            for index in range(max(at, start), min(at + _LIVE_SIZE, stop)):
                cells[index - start] = ".."
        bar = self.glyphs.bar
        row = cells[0] + "".join(
            (bar if at in fields else " ") + cell
            for at, cell in enumerate(cells[1:], start + 1)
        )
        broken_here = span.kind == "broken" and start == span.start
        marked = broken_here or any(start <= mark < stop for mark in self.marks)
        return (
            Segment(">" if marked else " ", "mark"),
            Segment(f"{start:>{self.grid.offset_width}} ", "offset"),
            Segment(row, span.kind),
        )

    def _field_edges(self, span: Span) -> frozenset[int]:
        """Offsets before which a bar is drawn: where a field of the header begins."""
        if span.kind not in ("header", "broken"):
            return frozenset()
        abi = self.abi
        return frozenset(
            span.start + offset
            for offset in (
                abi.length_offset,
                abi.length_offset + abi.length_size,
                abi.level_offset,
                abi.type_offset,
                abi.header_size,
            )
        )

    def _note(self, span: Span) -> str:
        match span.kind:
            case "header":
                return f"#{span.message} {self._header_in_words(span.start)}"
            case "data":
                return self._data_in_words(span)
            case "padding":
                zero = not any(self.control[span.start : span.stop])
                return "padding" if zero else "padding, not zero"
            case "tail":
                size = quantity(span.stop - span.start, "byte")
                return f"tail: {size}, fewer than a header: ignored"
            case "broken":
                return f"broken: {self._why_broken(span)}"

    def _header_in_words(self, at: int) -> str:
        length, level, type_ = self._header(at)
        return f"cmsg_len {length}, {self._type_in_words(level, type_)}"

    def _data_in_words(self, span: Span) -> str:
        _, level, type_ = self._header(span.start - self.abi.data_offset)
        names = [name for at, name in self.live.items() if span.start <= at < span.stop]
        if names:
            return f"live: {' '.join(names)}"
        data = self.control[span.start : span.stop]
        words = messages.describe(ControlMessage(level, type_, data), self.abi)
        # The header's row has named the type already.
        for named in (self._type_in_words(level, type_), f"level {level} type {type_}"):
            words = words.removeprefix(named).lstrip(", ")
        return words

    def _header(self, at: int) -> tuple[int, int, int]:
        length, level, type_ = self.abi.header.unpack_from(self.control, at)
        return length, level, type_

    def _type_in_words(self, level: int, type_: int) -> str:
        named = messages.type_name(level, type_, self.abi)
        return named or f"level {level}, type {type_}"

    def _why_broken(self, span: Span) -> str:
        error = span.error
        if error is None:
            return "no message can be read from here on"
        smallest = self.abi.cmsg_len(0)
        if error.available < smallest == error.needed:
            return f"cmsg_len {error.available} is below CMSG_LEN(0), {smallest}"
        left = quantity(error.available, "byte")
        return f"cmsg_len {error.needed}, but {left} left"
