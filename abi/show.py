"""What a run found, as text for people and as JSON for programs.

The order is that of a reader who wants to know whether to worry: what was compared,
what was not and why, where macros are laxer than our reader, and last, nearest to the
prompt, what differs.

This room must not know how anything was found.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from buffers import SHAPES
from compilers import Build, Failed, NotRun, libc
from walks import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from probe import Comparison, Difference
    from walks import Walks

_WIDTH = 88


class Checked(NamedTuple):
    """One target: how it was compiled, its word in bytes, and what came of it."""

    build: Build
    word: int
    probed: Comparison
    walked: Walks | None

    @property
    def differences(self) -> list[Difference]:
        """All that differs; of walks the first few."""
        walked = self.walked.differences if self.walked else []
        return [*self.probed.differences, *walked]

    @property
    def family(self) -> str:
        """Whose macros these are: a libc or a system, and its word size."""
        return f"{libc(self.build.target)} {8 * self.word}"


@dataclass
class Run:
    """All that a run did.

    Attributes:
        versions: of each compiler that was used.
        checked: the targets that were compared.
        left_out: what could not be, or should have been and was not.
        signal: the number of the signal that ended it; 0 for none.
    """

    versions: dict[str, str] = field(default_factory=dict[str, str])
    checked: list[Checked] = field(default_factory=list[Checked])
    left_out: list[NotRun] = field(default_factory=list[NotRun])
    signal: int = 0

    @property
    def failed(self) -> list[Failed]:
        """What compilers that are here did not do."""
        return [one for one in self.left_out if isinstance(one, Failed)]

    @property
    def not_run(self) -> list[NotRun]:
        """What nothing that is here can do."""
        return [one for one in self.left_out if not isinstance(one, Failed)]

    @property
    def differences(self) -> list[Difference]:
        """All that differs, of all targets."""
        return [one for checked in self.checked for one in checked.differences]


def as_json(run: Run, status: int) -> dict[str, Any]:
    """All that a run found, with its exit status."""
    return {
        "status": status,
        "compilers": run.versions,
        "targets": [
            {
                "target": one.build.target,
                "compiler": one.build.compiler,
                "word": one.word,
                "constants": one.probed.constants,
                "layout": one.probed.layout,
                "undefined": one.probed.undefined,
                "walks": one.walked and one.walked.walks,
                "walked": one.walked and one.walked.how,
                "recorded": one.walked and one.walked.recorded,
                "hostile": one.walked and one.walked.hostile,
                "differing_walks": one.walked and one.walked.differing,
                "differences": [each._asdict() for each in one.differences],
            }
            for one in run.checked
        ],
        "outcomes": OUTCOMES,
        "not_run": [one._asdict() for one in run.not_run],
        "failed": [one._asdict() for one in run.failed],
    }


def as_text(run: Run) -> str:
    """All that a run found, for people; the differences last."""
    return "\n".join(_text(run)) + "\n"


def _text(run: Run) -> Iterator[str]:
    yield from _targets(run)
    yield from _section(
        "Compiled with", (": ".join(one) for one in run.versions.items())
    )
    yield from _section("Not run", _reasons(run.not_run))
    yield from _section("Failed", _reasons(run.failed))
    yield from _section(
        "In our tables, not in these headers: not verified", _undefined(run)
    )
    yield from _section(
        "Recorded, not asserted: where macros and decode part", _recorded(run)
    )
    yield from _section(
        "Recorded, not asserted: what macros make of a bad cmsg_len", _hostile(run)
    )
    yield from _section("Differences", map(_difference, run.differences))
    yield ""
    yield (
        f"targets compared: {len(run.checked)}; differences: {len(run.differences)}; "
        f"failed: {len(run.failed)}; left out, as said above: {len(run.not_run)}"
    )


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    told = list(lines)
    if told:
        yield from ("", title, *(f"  {line}".rstrip() for line in told))


def _targets(run: Run) -> Iterator[str]:
    row = "{:<31} {:<9} {:>9} {:>9} {:>9} {:>11}".format
    yield row("target", "compiler", "constants", "layout", "walks", "differences")
    for one in run.checked:
        probed, walked = one.probed, one.walked
        differing = walked.differing if walked else 0
        yield row(
            one.build.target,
            one.build.compiler,
            probed.constants,
            probed.layout,
            walked.walks if walked else "not run",
            len(probed.differences) + differing,
        )


def _reasons(kept: Iterable[NotRun]) -> Iterator[str]:
    for compiler, what, why in kept:
        yield from _wrapped(f"{compiler}: {what}: {why}")


def _undefined(run: Run) -> Iterator[str]:
    by_names: dict[tuple[str, ...], list[str]] = {}
    for one in run.checked:
        if one.probed.undefined:
            by_names.setdefault(one.probed.undefined, []).append(one.build.target)
    for names, targets in by_names.items():
        yield from _wrapped(f"{', '.join(names)}: {', '.join(targets)}")


def _wrapped(line: str) -> list[str]:
    return textwrap.wrap(
        line, _WIDTH - 2, subsequent_indent="    ", break_on_hyphens=False
    )


def _recorded(run: Run) -> Iterator[str]:
    counts: dict[str, dict[str, set[int]]] = {}
    for one in run.checked:
        if one.walked:
            for what, count in one.walked.recorded.items():
                counts.setdefault(what, {}).setdefault(one.family, set()).add(count)
    for what, families in sorted(counts.items()):
        told = ", ".join(
            f"{name} in {' or '.join(map(str, sorted(seen)))}"
            for name, seen in families.items()
        )
        yield from _wrapped(f"{what}: {told} walks")


def _hostile(run: Run) -> Iterator[str]:
    letters: dict[str, list[str]] = {}
    for one in run.checked:
        if one.walked:
            column = letters.setdefault(one.family, [""] * len(SHAPES))
            for row, shape in enumerate(SHAPES):
                seen = column[row] + one.walked.hostile[shape.name]
                column[row] = "".join(sorted(set(seen))).lstrip("-") or "-"
    if not letters:
        return
    # Families that agree in every row share a column.
    columns: dict[tuple[str, ...], list[str]] = {}
    for family, column in letters.items():
        columns.setdefault(tuple(column), []).append(family)
    for number, families in enumerate(columns.values(), start=1):
        yield f"({number}) {', '.join(families)}"
    yield ""
    line = ("{:<28}" + "{:>6}" * len(columns)).format
    yield line("cmsg_len", *(f"({number})" for number in range(1, len(columns) + 1)))
    for row, shape in enumerate(SHAPES):
        yield line(shape.name, *(column[row] for column in columns))
    yield ""
    used = set("".join("".join(column) for column in columns))
    for letter, meaning in OUTCOMES.items():
        if letter in used:
            yield f"{letter} {meaning}"


def _difference(one: Difference) -> str:
    headers, ours = ("nothing" if it is None else it for it in one[2:])
    return f"{one.target}: {one.what}: headers say {headers}, we say {ours}"
