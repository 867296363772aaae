"""Lines of segments, none wider than it may be.

Everything that is drawn ends here, and two things are settled here for all of it.
*Width*: every character that passes :func:`printable` takes one cell, so that the
length of a string is its width.  *Safety*: what a stranger wrote (an exception's
message, a file's name, a worker's last words) is escaped until it is one line that a
terminal prints and does not obey.

This room must not know what is drawn.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = [
    "ASCII",
    "MIN_WIDTH",
    "UNICODE",
    "Glyphs",
    "Line",
    "Role",
    "Segment",
    "beside",
    "printable",
    "quantity",
    "text",
    "window",
    "wrap",
]

MIN_WIDTH = 20
"""The narrowest picture; a smaller width is drawn as this one."""

Role: TypeAlias = Literal[
    "plain",
    "heading",
    "rule",
    "offset",
    "header",
    "data",
    "padding",
    "tail",
    "broken",
    "note",
    "mark",
    "step",
    "same",
    "accepted",
    "observed",
]
"""What a segment is, for whoever gives it a colour."""


class Segment(NamedTuple):
    """A piece of a line: text without line breaks, and its role."""

    text: str
    role: Role = "plain"


Line: TypeAlias = tuple[Segment, ...]


class Glyphs(NamedTuple):
    """The few characters that a picture is made of besides text."""

    bar: str
    differs: str
    answer: str
    ellipsis: str


UNICODE = Glyphs(bar="│", differs="≠", answer="→", ellipsis="…")
ASCII = Glyphs(bar="|", differs="!", answer="->", ellipsis="..")

# East Asian widths of which a terminal makes two cells.
_LAST_LATIN = "\u024f"


def printable(string: str, glyphs: Glyphs = UNICODE) -> str:
    """Text of unknown origin as one line in which every character takes one cell.

    Control characters, line breaks, combining and double-width characters and lone
    surrogates become escapes as Python writes them; with :data:`ASCII` glyphs so does
    everything that is not ASCII.
    """
    if string.isascii() and string.isprintable():
        return string
    ascii_only = glyphs is not UNICODE
    return "".join(
        character if _is_one_cell(character, ascii_only) else _escape(character)
        for character in string
    )


def _is_one_cell(character: str, ascii_only: bool) -> bool:
    # Beyond the Latin letters terminals do not agree on how wide a character is.
    last = "\x7f" if ascii_only else _LAST_LATIN
    return character <= last and character.isprintable()


def _escape(character: str) -> str:
    return ascii(character)[1:-1]


def quantity(count: int, noun: str) -> str:
    """``1 byte``, ``2 bytes``, ``1,032 bytes``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def wrap(string: str, width: int, most: int = 6, glyphs: Glyphs = UNICODE) -> list[str]:
    """One-cell text in at most so many lines of at most ``width``.

    What does not fit is left out, and an ellipsis says so.  There is always a line.
    """
    if len(string) <= width:
        return [string]
    # textwrap is quadratic in very long words, and no more than this is ever shown.
    bounded = string[: width * (most + 1)]
    lines = textwrap.wrap(bounded, width, break_on_hyphens=False) or [""]
    if len(lines) > most or len(bounded) < len(string):
        last = lines[min(most, len(lines)) - 1]
        kept = last[: width - len(glyphs.ellipsis)]
        lines = [*lines[: most - 1], kept + glyphs.ellipsis]
    return lines


def beside(
    left: Sequence[Line], left_width: int, right: Sequence[str], role: Role
) -> Iterator[Line]:
    """Two columns: lines, and text beside them; the shorter one is filled up."""
    for number in range(max(len(left), len(right))):
        line = left[number] if number < len(left) else ()
        if number >= len(right) or not right[number]:
            yield line
            continue
        used = sum(len(segment.text) for segment in line)
        yield (*line, Segment(" " * (left_width - used)), Segment(right[number], role))


def text(lines: Iterable[Line]) -> str:
    """The picture as plain text, each line ended; no trailing blanks."""
    return "".join(
        "".join(segment.text for segment in line).rstrip() + "\n" for line in lines
    )


def window(
    lines: Sequence[Line], most: int, glyphs: Glyphs = UNICODE
) -> Sequence[Line]:
    """At most so many lines: those around the first that is marked, else the first.

    Where lines are left out, a line says how many.
    """
    if len(lines) <= most:
        return lines
    room = max(1, most - 2)  # a line each for what is left out above and below
    marked = next(
        (
            number
            for number, line in enumerate(lines)
            if any(segment.role == "mark" and segment.text.strip() for segment in line)
        ),
        0,
    )
    # A third before the mark: what came of a step stands below it.
    start = max(0, min(marked - room // 3, len(lines) - room))
    stop = start + room
    kept = list(lines[start:stop])
    if start:
        kept.insert(0, _left_out(start, glyphs))
    if stop < len(lines):
        kept.append(_left_out(len(lines) - stop, glyphs))
    return kept


def _left_out(count: int, glyphs: Glyphs) -> Line:
    return (Segment(f" {glyphs.ellipsis} {quantity(count, 'line')}", "rule"),)
