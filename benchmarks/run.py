"""Measure ancfuzz beside what else there is, and say what was found.

    python benchmarks/run.py [--only NAME[,NAME]...] [--quick] [--json F]

What is compared with what is in ``benchmarks/README.md``, how in ``pairing.py``, what
is wanted in ``targets.py``.  This file is the order of things: measure, show each table
as soon as it is there, keep all of it as JSON.

Exit status: 0 what was asked for was measured, whatever came of it; 1 something could
not be, although all that it needs is here; 2 usage.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import coding
import exchanges
import native
import startup
import trips
from pairing import QUICK, THOROUGH, CannotMeasure, Effort, Table
from rivals import LIBRARIES
from targets import outcomes
from telling import (
    Note,
    as_json,
    as_text,
    environment,
    notes_as_text,
    targets_as_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Benchmark: TypeAlias = Callable[
        [Effort, Callable[[str, str], None]], Iterator[Table]
    ]

BENCHMARKS: dict[str, Benchmark] = {
    # First, while the heap is ours alone: the collector goes through what other
    # libraries keep there, too.
    "exchanges": exchanges.tables,
    "roundtrip": trips.tables,
    "codec": coding.tables,
    "startup": startup.tables,
}
_KEPT = Path(__file__).resolve().parents[1] / ".benchmarks"


def _names(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in BENCHMARKS:
            expected = ", ".join(BENCHMARKS)
            raise argparse.ArgumentTypeError(f"{name!r}: expected some of {expected}")
    return names


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; its exit status."""
    parser = argparse.ArgumentParser(description="ancfuzz beside what else there is")
    parser.add_argument(
        "--only",
        type=_names,
        default=list(BENCHMARKS),
        metavar="NAME[,NAME]...",
        help=", ".join(BENCHMARKS),
    )
    parser.add_argument(
        "--quick", action="store_true", help="few rounds: whether it runs, not how fast"
    )
    parser.add_argument(
        "--json",
        type=Path,
        default=_KEPT / time.strftime("%Y%m%dT%H%M%S.json"),
        metavar="F",
        help="keep all of it there (a new file in .benchmarks/)",
    )
    asked = parser.parse_args(arguments)
    effort = QUICK if asked.quick else THOROUGH
    left_out: list[Note] = []
    failed: list[Note] = []
    tables: list[Table] = []
    for name in asked.only:
        try:
            for table in BENCHMARKS[name](effort, _noting(left_out)):
                tables.append(table)
                _say(as_text(table))
        except CannotMeasure as error:
            failed.append(Note(name, str(error)))
    found = outcomes(tables)
    where = environment(["ancfuzz", *LIBRARIES], _compiler())
    _say(targets_as_text(found))
    _say(notes_as_text("Left out", left_out))
    _say(notes_as_text("Could not be measured", failed))
    _say(notes_as_text("Measured on", [Note(*one) for one in where.items()]))
    notes = {"left_out": left_out, "failed": failed}
    told = json.dumps(as_json(where, effort, tables, found, notes), indent=1)
    try:
        if asked.json.parent == _KEPT:
            _KEPT.mkdir(exist_ok=True)
        asked.json.write_text(f"{told}\n", encoding="utf-8")
    except OSError as error:
        parser.error(f"--json: {error}")
    _say(f"\n{asked.json}\n")
    return 1 if failed else 0


def _noting(notes: list[Note]) -> Callable[[str, str], None]:
    return lambda what, why: notes.append(Note(what, why))


def _compiler() -> str | None:
    try:
        return native.compiler_version()
    except CannotMeasure:
        return None


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
