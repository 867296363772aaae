"""The screen: a console that fits what it writes to, and the colours of a picture.

Colours on a terminal, none in a pipe.  NO_COLOR, TERM=dumb, COLUMNS and terminals of 40
columns are honoured, and a stream that cannot say a box character gets ASCII.
Everything is printed as rich's ``Text``, never as a string: there is no markup in it
that a message could switch on.

This room knows rich.  It must not know what a report or a case is.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ancfuzz.cli.streams import says_unicode
from ancfuzz.picture.lines import ASCII, MIN_WIDTH, UNICODE, Role, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO

    from ancfuzz.picture.lines import Line

__all__ = ["Screen"]

_WIDEST_PICTURE: Final = 100
_ENDLESS: Final = 10_000
_NARROW: Final = 60
_PLAIN_HEAD: Final = box.Box(
    "    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True
)

_STYLES: Final[dict[Role, str]] = {
    "plain": "",
    "heading": "bold",
    "rule": "dim",
    "offset": "dim",
    "header": "cyan",
    "data": "green",
    "padding": "dim",
    "tail": "yellow",
    "broken": "red",
    "note": "",
    "mark": "bold red",
    "step": "",
    "same": "dim",
    "accepted": "green",
    "observed": "red",
}


class Screen:
    """A text stream as people see it.

    Attributes:
        console: rich's.
        glyphs: what pictures are drawn with here.
        width: of pictures and paragraphs, in cells.
        columns: of a table, in cells.  On a terminal it has to fit; elsewhere
            nothing is wrapped, for a program may read it, unless COLUMNS is set.
    """

    def __init__(self, stream: TextIO) -> None:
        self.console = Console(file=stream)
        self.glyphs = UNICODE if says_unicode(stream) else ASCII
        self.width = max(MIN_WIDTH, min(self.console.width, _WIDEST_PICTURE))
        fits = self.console.is_terminal or "COLUMNS" in os.environ
        self.columns = self.console.width if fits else _ENDLESS
        self.console.width = self.columns

    def say(self, text: str = "", style: str = "") -> None:
        """Print a line that must stay one line."""
        self.console.print(
            Text(printable(text, self.glyphs), style=style), soft_wrap=True
        )

    def command(self, line: str, indent: int = 0) -> None:
        """Print a command line that can be copied: nothing wrapped or escaped."""
        self.console.print(Text(" " * indent + line), soft_wrap=True)

    def paragraph(self, text: str, indent: int = 0) -> None:
        """Print text, wrapped at the width of the screen."""
        words = Text(printable(text, self.glyphs))
        for line in words.wrap(self.console, max(self.width - indent, 10)):
            line.rstrip()
            self.console.print(Text(" " * indent) + line, soft_wrap=True)

    def draw(self, lines: Iterable[Line]) -> None:
        """Print a picture."""
        for line in lines:
            drawn = Text()
            for segment in line:
                drawn.append(segment.text, _STYLES[segment.role])
            drawn.rstrip()
            self.console.print(drawn, soft_wrap=True)

    def table(
        self, heading: Sequence[str], rows: Iterable[Sequence[str]], right: int = -1
    ) -> None:
        """Print a table; its columns from ``right`` on stand right.

        Where it is far too wide for the screen, each row becomes a paragraph.
        """
        cells = [[printable(cell, self.glyphs) for cell in row] for row in rows]
        widths = (max(map(len, column)) for column in zip(heading, *cells, strict=True))
        if self.columns < _NARROW and sum(width + 2 for width in widths) > self.columns:
            self._records(heading, cells)
            return
        table = Table(
            box=box.SIMPLE_HEAD if self.glyphs is UNICODE else _PLAIN_HEAD,
            show_edge=False,
            padding=(0, 1, 0, 0),
            pad_edge=False,
        )
        for number, name in enumerate(heading):
            justify: Literal["left", "right"] = (
                "right" if 0 <= right <= number else "left"
            )
            table.add_column(
                Text(printable(name, self.glyphs)), justify=justify, overflow="fold"
            )
        for row in cells:
            table.add_row(*map(Text, row))
        self.console.print(table)

    def _records(self, heading: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        for first, *rest in rows:
            self.paragraph(first)
            told = zip(heading[1:], rest, strict=True)
            self.paragraph(
                ", ".join(f"{name} {cell}".strip() for name, cell in told), 2
            )
