"""What there is: abi, invariants and implementations.

Each list is made from the one table that the rest of ancfuzz works by, so that none of
them can lag behind; each can be had as JSON.
"""

from __future__ import annotations

import json
import sys
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import click

from ancfuzz.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ancfuzz.abi import Abi
    from ancfuzz.cli.screen import Screen
    from ancfuzz.invariants import Invariant

__all__ = ["abi", "find_abi", "implementations", "invariants"]

_json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON and nothing else."
)
_SAMPLES = (0, 1, 4, 8, 12, 24)  # payload bytes for which the macros are worked out


def find_abi(name: str) -> Abi:
    """The layout of a target.

    Args:
        name: a key of ``ancfuzz.abi.ABIS``, or ``native``.

    Raises:
        UsageError: there is none, with the names that are close.
    """
    from ancfuzz.abi import ABIS, NATIVE

    if name == "native":
        return NATIVE
    if name in ABIS:
        return ABIS[name]
    close = get_close_matches(name, ABIS, 3, 0.5)
    hint = f"did you mean {', '.join(close)}?" if close else "see `ancfuzz abi`"
    raise UsageError(f"no ABI is called {name!r}: {hint}")


@click.command()
@click.argument("name", required=False)
@_json_option
def abi(name: str | None, *, as_json: bool) -> None:
    """List layouts of control messages.

    With a NAME that one, in full; `native` is this machine's.
    """
    from ancfuzz.abi import ABIS, NATIVE

    if name is None:
        shown = list(ABIS.values())
        if as_json:
            _print_json([_abi_fields(one) for one in shown])
        else:
            _list_abis(shown, NATIVE.name)
        return
    one = find_abi(name)
    if as_json:
        _print_json(_abi_fields(one))
    else:
        _show_abi(one)


_ABI_HEADING = (
    "target",
    "order",
    "header",
    "cmsg_len",
    "align",
    "data",
    "fds",
)


def _list_abis(shown: Iterable[Abi], native: str) -> None:
    screen = _screen()
    by_provenance: dict[str, list[Abi]] = {}
    for one in shown:
        by_provenance.setdefault(one.provenance, []).append(one)
    for provenance, some in by_provenance.items():
        screen.paragraph(f"{provenance}:")
        screen.table(_ABI_HEADING, map(_abi_row, some))
        screen.say()
    screen.say(f"native: {native}")


def _abi_row(one: Abi) -> tuple[str, ...]:
    return (
        one.name,
        one.byte_order,
        str(one.header_size),
        f"{one.length_size} at {one.length_offset}",
        str(one.alignment),
        f"at {one.data_offset}",
        "?" if one.max_descriptors is None else str(one.max_descriptors),
    )


def _abi_fields(one: Abi) -> dict[str, Any]:
    from dataclasses import fields

    values = {
        field.name: getattr(one, field.name) for field in fields(one) if field.init
    }
    mappings = {name: dict(values[name]) for name in ("constants", "structs")}
    return {**values, **mappings}


def _show_abi(one: Abi) -> None:
    screen = _screen()
    values = _abi_fields(one)
    constants, structs = values.pop("constants"), values.pop("structs")
    screen.table(("layout", ""), ((key, str(value)) for key, value in values.items()))
    screen.say()
    screen.table(
        ("payload bytes", "CMSG_LEN", "CMSG_SPACE"),
        ((str(n), str(one.cmsg_len(n)), str(one.cmsg_space(n))) for n in _SAMPLES),
    )
    screen.say()
    screen.table(
        ("constant", "value", ""),
        ((key, str(value), hex(value)) for key, value in sorted(constants.items())),
    )
    if structs:
        screen.say()
        screen.table(("structure", "format"), structs.items())


@click.command()
@click.argument("patterns", metavar="[PATTERN]...", nargs=-1)
@_json_option
def invariants(patterns: tuple[str, ...], *, as_json: bool) -> None:
    """List what has to hold.

    With a PATTERN those only, in full.  PATTERN is a family, an id, or a pattern with
    * in it.
    """
    from ancfuzz.invariants import FAMILIES, INVARIANTS, select

    chosen = select(patterns or None)
    order = {family: number for number, family in enumerate(FAMILIES)}
    shown = sorted(
        (INVARIANTS[id_] for id_ in chosen), key=lambda one: (order[one.family], one.id)
    )
    if as_json:
        _print_json([_invariant_fields(one) for one in shown])
        return
    screen = _screen()
    if patterns:
        _show_invariants(screen, shown)
        return
    screen.table(
        ("invariant", "reach", "holds", "source"),
        map(_invariant_row, shown),
    )


def _invariant_row(one: Invariant) -> tuple[str, ...]:
    return one.id, one.reach, _plain(one.title), _plain(one.source)


def _invariant_fields(one: Invariant) -> dict[str, Any]:
    from ancfuzz.invariants import FAMILIES

    return {
        "id": one.id,
        "family": one.family,
        "about": FAMILIES[one.family],
        "reach": one.reach,
        "title": _plain(one.title),
        "source": _plain(one.source),
    }


def _show_invariants(screen: Screen, shown: Iterable[Invariant]) -> None:
    for one in shown:
        fields = _invariant_fields(one)
        screen.say(one.id, "bold")
        screen.paragraph(fields["title"], indent=3)
        screen.paragraph(f"family: {fields['about']}", indent=3)
        screen.paragraph(f"reach: {one.reach}", indent=3)
        screen.paragraph(f"source: {fields['source']}", indent=3)
        screen.say()


@click.command()
@_json_option
def implementations(*, as_json: bool) -> None:
    """List what can be judged by name."""
    from ancfuzz.implementations import names

    shown = [(name, _plain(about)) for name, about in names()]
    if as_json:
        _print_json([{"name": name, "about": about} for name, about in shown])
        return
    screen = _screen()
    screen.table(("name", "what it is"), shown)
    screen.say()
    screen.paragraph(
        "Besides these, MODULE:ATTR names an ancfuzz.Implementation of yours: an "
        "instance, a subclass, or a callable without arguments that makes one.  The "
        "working directory and PYTHONPATH are searched."
    )


def _plain(docstring: str) -> str:
    """A docstring's words without its markup."""
    return docstring.replace("``", "")


def _screen() -> Screen:
    from ancfuzz.cli.screen import Screen

    return Screen(sys.stdout)


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")
