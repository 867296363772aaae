"""``ancfuzz show``: the picture of a case, or of control bytes.

Nothing is performed: what is shown is read by the layout that ``--abi`` names, so that
the buffer of a big-endian machine can be looked at anywhere.
"""

from __future__ import annotations

import sys

import click

__all__ = ["show"]


@click.command()
@click.argument("what", metavar="CASE|HEX|FILE")
@click.option(
    "--abi",
    "abi_name",
    metavar="NAME",
    default="native",
    show_default=True,
    help="The layout to read control bytes by; see `ancfuzz abi`.",
)
def show(what: str, abi_name: str) -> None:
    """Draw a case, or control bytes.

    A case comes as a file, as JSON, or from standard input (-); control bytes as hex,
    in which blanks do not count, or as a file of raw bytes.  What is the name of a file
    is that file.
    """
    from ancfuzz import codec
    from ancfuzz.cli.inputs import case_or_bytes
    from ancfuzz.cli.listing import find_abi
    from ancfuzz.cli.screen import Screen
    from ancfuzz.picture import case_lines, control_lines
    from ancfuzz.picture.lines import quantity

    abi = find_abi(abi_name)
    shown = case_or_bytes(what)
    screen = Screen(sys.stdout)
    if isinstance(shown, bytes):
        messages = sum(span.kind == "header" for span in codec.walk(shown, abi))
        size, number = quantity(len(shown), "byte"), quantity(messages, "message")
        screen.say(f"{size}, {number}, as {abi.name} lays them out", "bold")
        screen.draw(control_lines(shown, abi, width=screen.width, glyphs=screen.glyphs))
        return
    screen.say(shown.name or "case", "bold")
    for text in (shown.note, shown.source):
        if text:
            screen.paragraph(text)
    screen.draw(case_lines(shown, abi, width=screen.width, glyphs=screen.glyphs))
