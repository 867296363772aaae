"""What was measured, as text for people and as JSON for programs.

The text is 80 columns wide.  A ratio has its spread behind it, in per cent: two that
differ by less are the same.  The JSON has every sample, so that whoever doubts a median
can look at what is behind it.

This file must not know how anything was measured.
"""

from __future__ import annotations

import platform
import textwrap
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pairing import Cell, Effort, Estimate, difference, estimate, rate, ratio

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pairing import Table
    from targets import Outcome

WIDTH = 80
FORMAT = 1
_NAME = 25
_SMALL, _LARGE = 10, 1000
_UNITS = (("s", 1e9), ("ms", 1e6), ("us", 1e3), ("ns", 1.0))


class Note(NamedTuple):
    """Something that was not measured, and why."""

    what: str
    why: str


def environment(distributions: Iterable[str], compiler: str | None) -> dict[str, str]:
    """Where this was measured, and with what."""
    found = {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "kernel": f"{platform.system()} {platform.release()}",
        "cpu": _cpu(),
        "compiler": compiler or "none",
    }
    for one in distributions:
        try:
            found[one] = version(one)
        except PackageNotFoundError:
            found[one] = "not installed"
    return found


def _cpu() -> str:
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.machine()
    lines = (line.partition(":") for line in told.splitlines())
    models = [value.strip() for key, _, value in lines if key.strip() == "model name"]
    if not models:
        return platform.machine()
    return f"{models[0]} ({platform.machine()}, {len(models)} seen)"


def as_text(table: Table) -> str:
    """A table, with an empty line before it."""
    return "\n".join(("", *_table(table), "")) + "".join(
        f"{line[:WIDTH]}\n" for line in table.profile
    )


def _table(table: Table) -> Iterator[str]:
    yield table.title
    if table.shown == "ratio":
        yield f"CPU time, in multiples of what {table.against!r} takes"
        yield _line("", table.columns)
    for row, cells in table.rows.items():
        if table.shown == "ratio":
            told = [
                _time(cell) if row == table.against else _number(ratio(cell))
                for cell in cells.values()
            ]
        elif table.shown == "difference":
            (cell,) = cells.values()
            told = [_time(cell)]
            if row != table.against:
                more = difference(cell)
                told += [f"+{more.median:.1f} ms", f"+-{more.spread:.1f} ms"]
        else:
            (found,) = map(rate, cells.values())
            told = [f"{found.median:,.0f}", _percent(found)]
        yield _line(row, told)


def _line(name: str, cells: Sequence[str]) -> str:
    width = (WIDTH - _NAME) // max(len(cells), 5)
    return (f"{name:<{_NAME}}" + "".join(f"{one:>{width}}" for one in cells)).rstrip()


def _time(cell: Cell) -> str:
    median = estimate(cell.samples).median
    unit, size = next(one for one in _UNITS if median >= one[1] or one[1] == 1)
    return f"{_short(median / size)} {unit}"


def _number(found: Estimate) -> str:
    return f"{_short(found.median)} {_percent(found)}"


def _percent(found: Estimate) -> str:
    # Of more than that nobody wants to know how much more.
    return f"+-{min(99, 100 * found.spread / (found.median or 1)):.0f}%"


def _short(value: float) -> str:
    """Three digits, or as many as are before the point."""
    return f"{value:.{max(0, 3 - len(str(int(value))))}f}"


def targets_as_text(outcomes: Sequence[Outcome]) -> str:
    """What became of the targets, two lines for each."""
    if not outcomes:
        return ""
    lines = ["", "Targets"]
    words = {True: "reached", False: "missed", None: "not run"}
    for one in outcomes:
        target = one.target
        against = f" / {target.against}" if target.against else ""
        lines.append(
            f"{words[one.reached]:<8} {target.table}: {target.row}{against}: "
            f"{target.sense} {target.bound:g}"
        )
        told = ", ".join(
            f"{column} {_amount(found.median)}"
            + ("" if one.reached_in(column) else " (missed)")
            for column, found in one.found.items()
        )
        indent = " " * 11
        lines += textwrap.wrap(
            told, WIDTH, initial_indent=indent, subsequent_indent=indent
        )
    return "\n".join(lines) + "\n"


def _amount(value: float) -> str:
    """A figure, and near 1 the side that it is on."""
    if value >= _LARGE:
        return f"{value:,.0f}"
    return f"{value:.3f}" if value < _SMALL else _short(value)


def notes_as_text(title: str, notes: Sequence[Note]) -> str:
    """What was not measured."""
    lines = [
        line
        for note in notes
        for line in textwrap.wrap(
            f"{note.what}: {note.why}", WIDTH - 2, subsequent_indent="    "
        )
    ]
    if not lines:
        return ""
    return f"\n{title}\n" + "".join(f"  {line}\n" for line in lines)


def as_json(
    where: dict[str, str],
    effort: Effort,
    tables: Sequence[Table],
    outcomes: Sequence[Outcome],
    notes: dict[str, list[Note]],
) -> dict[str, Any]:
    """All of it; times in nanoseconds for each call."""
    return {
        "format": FORMAT,
        "environment": where,
        "effort": effort._asdict(),
        "tables": [
            {
                "name": table.name,
                "title": table.title,
                "shown": table.shown,
                "against": table.against,
                "columns": table.columns,
                "rows": [
                    {"name": row, "cells": {c: _cell(it) for c, it in cells.items()}}
                    for row, cells in table.rows.items()
                ],
                "profile": table.profile,
            }
            for table in tables
        ],
        "targets": [
            {
                **one.target._asdict(),
                "reached": one.reached,
                "found": {c: it._asdict() for c, it in one.found.items()},
            }
            for one in outcomes
        ],
        **{key: [note._asdict() for note in kept] for key, kept in notes.items()},
    }


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "median": estimate(cell.samples).median,
        "ratio": ratio(cell)._asdict() if cell.base else None,
        "difference": difference(cell)._asdict() if cell.base else None,
        "samples": cell.samples,
    }
