"""What a run found, for people: a table, what was not judged, and the findings.

The table says as much of what was judged as of what was found: a column for each
implementation, and as many tables as a narrow screen needs.  A finding is told whole:
the invariant, its reach, one sentence, the picture of the case, the source of the rule,
and the command that shows it again.  The first of these commands is the last line.

This room must not know how a report was made.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from ancfuzz.abi import NATIVE
from ancfuzz.picture import transcript_lines, window
from ancfuzz.picture.lines import quantity

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from ancfuzz.abi import Abi
    from ancfuzz.cli.screen import Screen
    from ancfuzz.report import Report, Violation

__all__ = ["print_findings", "print_head", "print_summary", "was_judged"]

_LABEL_WIDTH: Final = 16
_COLUMN_WIDTH: Final = 12
_MOST_LINES: Final = 24  # of the picture of one finding
_MOST_REASONS: Final = 20


def was_judged(report: Report) -> bool:
    """Whether any case could be judged."""
    return any(report.judged.phase.values())


def print_head(screen: Screen, seed: int | None) -> None:
    """Print what a reader needs to repeat the run, before it begins."""
    host = os.uname()
    drawn = "" if seed is None else f", seed {seed}"
    screen.say(f"{host.sysname} {host.release} {host.machine}{drawn}")
    screen.console.file.flush()


def print_summary(
    screen: Screen, reports: Sequence[Report], families: Collection[str]
) -> None:
    """Print the table, what was not judged, and how the run ended.

    Args:
        screen: where to.
        reports: one for each implementation that was judged.
        families: of the invariants that were asked for.
    """
    fitting = max(1, (screen.columns - _LABEL_WIDTH) // _COLUMN_WIDTH)
    for first in range(0, len(reports), fitting):
        some = reports[first : first + fitting]
        heading = ("", *(report.implementation for report in some))
        screen.say()
        screen.table(heading, _rows(some, families), right=1)
    screen.say()
    for report in reports:
        _print_gaps(screen, report, families)


def _rows(
    reports: Sequence[Report], families: Collection[str]
) -> Iterator[Sequence[str]]:
    def row(label: str, values: Sequence[int]) -> Sequence[str]:
        return (label, *(f"{value:,}" for value in values))

    yield row("cases", [report.cases for report in reports])
    for phase in _keys([report.judged.phase for report in reports]):
        yield row(
            f"  {phase}", [report.judged.phase.get(phase, 0) for report in reports]
        )
        if phase != "replay":
            continue
        for folder in _keys([report.judged.folder for report in reports]):
            counts = [report.judged.folder.get(folder, 0) for report in reports]
            yield row(f"    {folder}", counts)
    yield row("verdicts", [sum(r.judged.invariant.values()) for r in reports])
    yield (
        "families",
        *(f"{_judged(report, families)} of {len(families)}" for report in reports),
    )
    yield row("findings", [len(report.violations) for report in reports])
    yield row("not judged", [sum(n.cases for n in r.not_judged) for r in reports])
    yield ("seconds", *(f"{report.seconds:.1f}" for report in reports))
    yield ("stopped by", *(report.stopped or "end" for report in reports))


def _keys(counts: Sequence[dict[str, int]]) -> list[str]:
    return list(dict.fromkeys(key for some in counts for key in some))


def _judged(report: Report, families: Collection[str]) -> int:
    return sum(1 for family in families if report.judged.family.get(family, 0))


def _print_gaps(screen: Screen, report: Report, families: Collection[str]) -> None:
    """What was asked for and not judged, and why."""
    name = report.implementation
    idle = [family for family in families if not report.judged.family.get(family, 0)]
    if idle:
        screen.paragraph(f"{name}: no verdict from {', '.join(idle)}")
    for one in report.not_judged[:_MOST_REASONS]:
        cases = quantity(one.cases, "case")
        screen.paragraph(f"{name}: {cases} not judged: {one.reason}")
    left_out = len(report.not_judged) - _MOST_REASONS
    if left_out > 0:
        screen.paragraph(f"{name}: {quantity(left_out, 'more reason')}, in the JSON")


def print_findings(
    screen: Screen, reports: Sequence[Report], abis: Mapping[str, Abi]
) -> None:
    """Print every finding, and last of all the command that shows the first again.

    Args:
        screen: where to.
        reports: one for each implementation that was judged.
        abis: the layout that each implementation uses, by its name.
    """
    violations = [found for report in reports for found in report.violations]
    for number, violation in enumerate(violations, 1):
        screen.say()
        abi = abis.get(violation.implementation, NATIVE)
        _print_violation(screen, violation, number, abi)
    if violations:
        screen.say()
        found = quantity(len(violations), "finding")
        screen.paragraph(f"{found}; the first one again:")
        screen.command(violations[0].reproduce)
        return
    judged = any(map(was_judged, reports))
    interrupted = any(report.stopped == "interrupted" for report in reports)
    outcome = "nothing found" if judged else "nothing could be judged"
    screen.say(f"{outcome}, interrupted" if interrupted else outcome)


def _print_violation(
    screen: Screen, violation: Violation, number: int, abi: Abi
) -> None:
    """Print one finding."""
    screen.say(
        f"{number}. {violation.implementation}: {violation.invariant} "
        f"({violation.reach})",
        "bold red",
    )
    screen.paragraph(violation.message, indent=3)
    seen = quantity(violation.seen, "case")
    subject = violation.transcript.subject
    who = "program" if violation.phase == "recorded" else "implementation"
    held = f", the {who} holds {subject}" if subject else ""
    screen.paragraph(f"seen in {seen} ({violation.phase}){held}", indent=3)
    lines = transcript_lines(
        violation.case,
        violation.transcript,
        violation.accepted,
        abi,
        step=violation.step,
        width=screen.width,
        glyphs=screen.glyphs,
    )
    screen.draw(window([*lines], _MOST_LINES, screen.glyphs))
    if violation.source:
        screen.paragraph(f"source: {violation.source}", indent=3)
    if violation.reproduce:
        screen.command(violation.reproduce, indent=3)
