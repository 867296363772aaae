"""Pictures: control bytes and cases, drawn so that a failure explains itself.

One renderer draws for every output.  What it makes are lines of segments, and a segment
is text and the role that it plays ("header", "padding", "broken"...).  The command line
gives roles colours, a report gives them classes, a log gets the text alone
(:func:`text`); what is drawn is decided here and only once.

    lines     lines, roles, widths; text of strangers made fit to print
    control   a control buffer as rows of bytes that say what they are for
    words     steps, messages and answers in words
    script    a case as a list of steps, a transcript as two columns

Three invariants hold for whatever is drawn: no line is wider than asked for, no bytes
make it raise, and nothing reaches a terminal that the terminal would obey.

This room must not know how anything is run, nor where the picture goes.
"""

from __future__ import annotations

from ancfuzz.picture.control import control_lines
from ancfuzz.picture.lines import (
    ASCII,
    MIN_WIDTH,
    UNICODE,
    Glyphs,
    Line,
    Role,
    Segment,
    printable,
    text,
    window,
)
from ancfuzz.picture.script import case_lines, transcript_lines

__all__ = [
    "ASCII",
    "MIN_WIDTH",
    "UNICODE",
    "Glyphs",
    "Line",
    "Role",
    "Segment",
    "case_lines",
    "control_lines",
    "printable",
    "text",
    "transcript_lines",
    "window",
]
