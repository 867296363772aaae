"""How many random exchanges are performed and judged, and where the time goes.

    python benchmarks/exchanges.py [CASES]

Exchanges of up to five descriptors, drawn before the clock starts.  On the reference
and on CPython's sockets in this process, per second of its CPU; and through a worker,
which is what somebody else's implementation gets, per second on the wall: two
processes take turns there, and the clock of one does not see the other.

The profile is of the first of these, by the rooms of ``ARCHITECTURE.md``: time in a
built-in function, a system call among them, counts for the room that called it.  A
profiler makes what calls a lot look slower than it is; what it says are shares.
"""

from __future__ import annotations

import argparse
import cProfile
import sys
import time
from collections import defaultdict
from contextlib import ExitStack
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pairing import THOROUGH, Cell, Contender, Effort, Table, interleave, rate

import ancfuzz
from ancfuzz.case import Case, NamedRights, Send
from ancfuzz.choices import SeededChoices
from ancfuzz.grammar import draw_exchange
from ancfuzz.implementations import resolve
from ancfuzz.judging import Judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

REFERENCE = "reference, CPU"
COLUMN = "exchanges"
_MOST = 5
_TOP = 16  # functions that the profile shows
_LEAST = 0.1  # per cent of a room that it shows
_PACKAGE = Path(ancfuzz.__file__).parent


def few_descriptors(case: Case) -> bool:
    """Whether a case sends at most five descriptors in all."""
    sent = sum(
        len(message.names())
        for step in case.steps
        if isinstance(step, Send)
        for message in step.messages
        if isinstance(message, NamedRights)
    )
    return sent <= _MOST


def draw(count: int) -> list[Case]:
    """So many exchanges, the same every time."""
    choices = SeededChoices(3)
    cases: list[Case] = []
    while len(cases) < count:
        case = draw_exchange(choices)
        if few_descriptors(case):
            cases.append(case)
    return cases


def perform(judge: Judge, cases: Sequence[Case]) -> int:
    """Perform and judge cases at each of their ends; how often that was."""
    count = 0
    for case in cases:
        for end in judge.ends(case):
            judge.perform(case, end)
            count += 1
    return count


def contender(
    name: str, judge: Judge, cases: Sequence[Case], clock: Callable[[], int]
) -> Contender:
    """Judging all of these cases; nanoseconds for each time that one is performed."""

    def turn(times: int) -> float:
        start = clock()
        count = sum(perform(judge, cases) for _ in range(times))
        return (clock() - start) * times / count

    return Contender(name, turn)


def tables(effort: Effort, left_out: Callable[[str, str], None]) -> Iterator[Table]:
    """The rates, and the profile."""
    del left_out
    cases = draw(effort.cases)
    cpython = resolve("cpython")
    with ExitStack() as stack:
        ours, theirs, strangers = (
            stack.enter_context(Judge(one))
            for one in (resolve("reference"), cpython, cpython._replace(trusted=False))
        )
        samples = interleave(
            [
                contender(REFERENCE, ours, cases, time.process_time_ns),
                contender("cpython, CPU", theirs, cases, time.process_time_ns),
                contender("cpython in a worker, wall", strangers, cases, wall),
            ],
            effort.long_rounds,
            turn=0,
        )
        told = profile(ours, cases)
    rows = {name: {COLUMN: Cell(taken, ())} for name, taken in samples.items()}
    title = "exchanges judged per second"
    yield Table("exchanges", title, "rate", "", (COLUMN,), rows, tuple(told))


wall = time.perf_counter_ns


class Spent(NamedTuple):
    """A function's own time, and that of the built-in functions that it calls."""

    seconds: float
    calls: int
    file: str
    name: str


def profile(judge: Judge, cases: Sequence[Case]) -> Iterator[str]:
    """Where the time goes, as lines."""
    profiler = cProfile.Profile()
    profiler.enable()
    perform(judge, cases)
    profiler.disable()
    found = spent(profiler)
    whole = sum(one.seconds for one in found)
    rooms: defaultdict[str, float] = defaultdict(float)
    for one in found:
        rooms[room(one.file) or "(not ours)"] += 100 * one.seconds / whole
    yield "profile: share of own time by room"
    for name, share in sorted(rooms.items(), key=itemgetter(1), reverse=True):
        if share >= _LEAST:
            yield f"  {share:5.1f} %  {name}"
    yield f"profile: the first {_TOP} functions, and calls of each per exchange"
    for one in sorted(found, reverse=True)[:_TOP]:
        share, calls = 100 * one.seconds / whole, one.calls / len(cases)
        where = room(one.file) or "/".join(Path(one.file).parts[-2:])
        yield f"  {share:5.1f} %  {calls:5.1f}  {where}: {one.name}"


def spent(profiler: cProfile.Profile) -> list[Spent]:
    """Own times by function, built-in functions counted with who calls them."""
    profiler.create_stats()
    seconds: defaultdict[tuple[str, int, str], float] = defaultdict(float)
    calls: defaultdict[tuple[str, int, str], int] = defaultdict(int)
    for function, (_, count, own, _, callers) in profiler.stats.items():
        if function[0] != "~":
            seconds[function] += own
            calls[function] += count
            continue
        for caller, (*_, from_there, _) in callers.items():
            seconds[caller] += from_there
    return [Spent(own, calls[one], one[0], one[2]) for one, own in seconds.items()]


def room(file: str) -> str:
    """The room of a file of ours; "" for others."""
    path = Path(file)
    if path.is_relative_to(_PACKAGE):
        return path.relative_to(_PACKAGE).parts[0].removesuffix(".py")
    return ""


def _ignored(_what: str, _why: str) -> None:
    """Nothing is left out here."""


def main() -> None:
    """Print the rates and the profile."""
    parser = argparse.ArgumentParser(description="exchanges judged, and a profile")
    parser.add_argument(
        "cases", nargs="?", type=int, default=THOROUGH.cases, help="how many to draw"
    )
    asked = parser.parse_args()
    if asked.cases < 1:
        parser.error(f"{asked.cases} cases: expected 1 or more")
    effort = THOROUGH._replace(long_rounds=5, cases=asked.cases)
    for table in tables(effort, _ignored):
        for row, cells in table.rows.items():
            found = rate(cells[COLUMN])
            sys.stdout.write(f"{row}: {found.median:,.0f} per second\n")
        sys.stdout.writelines(f"{line}\n" for line in table.profile)


if __name__ == "__main__":
    main()
