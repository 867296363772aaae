"""Contenders measured side by side, and what can be said of them afterwards.

On a machine that other work is done on, the same loop takes half as long again an hour
later.  So contenders take turns: in each round each of them runs for a few
milliseconds, a different one first every time, and what is compared is two turns of
one round.  A ratio here is the median of those; its spread is half the distance
between the quartiles.  Times are CPU time (user and system) of this process: what
others do on the same CPU is not in it, and what the kernel does for us is.

Why not ``pyperf``: it runs one benchmark after the other, each in some twenty processes
of its own, by wall-clock time, and leaves the comparing to afterwards.  What it is good
at, a figure for one thing on a quiet, tuned machine, is not what is asked here; what is
asked, two things in one process in turn, it does not do.

This file must not know what is measured.
"""

from __future__ import annotations

import gc
import statistics
import time
import timeit
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_MOST_CALLS = 1_000_000


class CannotMeasure(Exception):
    """Something should have been measured and was not; one line that says why."""


class Effort(NamedTuple):
    """How long to measure.

    Attributes:
        rounds: in which each contender has one turn.
        turn: about how long that is, in seconds of CPU; of what takes longer, one call.
        long_rounds: the same, where a turn takes as long as it has to: a program is
            started, all cases are performed.
        cases: exchanges in one turn.
    """

    rounds: int
    turn: float
    long_rounds: int
    cases: int


THOROUGH = Effort(rounds=31, turn=0.01, long_rounds=15, cases=1000)
QUICK = Effort(rounds=3, turn=0.0005, long_rounds=2, cases=40)


class Contender(NamedTuple):
    """Something that can be called, and that knows how long that took.

    Attributes:
        name: the row of the table.
        turn: calls it so many times; nanoseconds, for all of them.
    """

    name: str
    turn: Callable[[int], float]


class Cell(NamedTuple):
    """What one contender took in one column of a table, and what another did.

    Attributes:
        samples: nanoseconds for one call, of each round.
        base: the same of the row that this table compares with; () without one.
    """

    samples: tuple[float, ...]
    base: tuple[float, ...]


class Table(NamedTuple):
    """The rows and columns of what was measured.

    Attributes:
        name: for ``targets`` and for programs.
        title: what is measured, for people.
        shown: as a ratio to the row ``against``; as milliseconds more than it; or as
            calls per second, compared with nothing.
        against: the name of that row; "" for none.
        columns: their names.
        rows: cells by row and column.
        profile: lines that say where the time goes.
    """

    name: str
    title: str
    shown: Literal["ratio", "difference", "rate"]
    against: str
    columns: tuple[str, ...]
    rows: dict[str, dict[str, Cell]]
    profile: tuple[str, ...] = ()


class Estimate(NamedTuple):
    """A median, and half the distance between the quartiles."""

    median: float
    spread: float


def python(name: str, statement: str, **names: Any) -> Contender:
    """A contender that is a Python statement; ``names`` are its globals.

    With the collector on, as it is for whoever calls it.
    """
    timer = timeit.Timer(
        statement,
        setup="enable_collector()",
        timer=time.process_time_ns,
        globals={**names, "enable_collector": gc.enable},
    )
    return Contender(name, timer.timeit)


def interleave(
    contenders: Sequence[Contender], rounds: int, turn: float
) -> dict[str, tuple[float, ...]]:
    """Let contenders take turns; nanoseconds for one call, of each round, by name.

    Args:
        contenders: with names of their own.
        rounds: how many turns each of them has.
        turn: seconds that one should take; 0 for a single call.
    """
    calls = [_calls(one, turn * 1e9) for one in contenders]
    samples: list[list[float]] = [[] for _ in contenders]
    for start in range(rounds):
        for step in range(len(contenders)):
            at = (start + step) % len(contenders)
            samples[at].append(contenders[at].turn(calls[at]) / calls[at])
    return {
        one.name: tuple(taken) for one, taken in zip(contenders, samples, strict=True)
    }


def _calls(one: Contender, nanoseconds: float) -> int:
    """How many calls fill a turn; they are made, which warms everything up."""
    calls = 1
    taken = one.turn(calls)
    while taken < nanoseconds / 4 and calls < _MOST_CALLS:
        calls *= 4
        taken = one.turn(calls)
    return max(1, round(calls * nanoseconds / max(taken, 1.0)))


def column(
    contenders: Sequence[Contender], against: str, effort: Effort
) -> dict[str, Cell]:
    """One column of a table: contenders measured against one of them."""
    samples = interleave(contenders, effort.rounds, effort.turn)
    base = samples.get(against, ())
    return {name: Cell(taken, base) for name, taken in samples.items()}


def by_row(columns: dict[str, dict[str, Cell]]) -> dict[str, dict[str, Cell]]:
    """Cells by row and column, of cells by column and row."""
    rows: dict[str, dict[str, Cell]] = {}
    for name, cells in columns.items():
        for row, cell in cells.items():
            rows.setdefault(row, {})[name] = cell
    return rows


def estimate(values: Sequence[float]) -> Estimate:
    """The median of some values, and their spread."""
    if len(values) == 1:
        return Estimate(values[0], 0.0)
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return Estimate(middle, (high - low) / 2)


def ratio(cell: Cell) -> Estimate:
    """How many times as long as the base, round by round."""
    return estimate([a / b for a, b in zip(cell.samples, cell.base, strict=True)])


def difference(cell: Cell) -> Estimate:
    """How many milliseconds longer than the base, round by round."""
    pairs = zip(cell.samples, cell.base, strict=True)
    return estimate([(a - b) / 1e6 for a, b in pairs])


def rate(cell: Cell) -> Estimate:
    """Calls per second."""
    return estimate([1e9 / one for one in cell.samples])
