"""The exit status: what a whole run comes to, in one number.

    0  nothing found
    1  a violation
    2  usage: an option, a name, a corpus file that cannot be
    3  nothing that was asked for could be judged
    70 a defect of ancfuzz itself, which is not a verdict (EX_SOFTWARE, sysexits.h)
    128 + N  ended by signal N before anything was found

They are ranked: 1 goes before 2, and 2 before 3, for a finding must not be hidden by a
spelling mistake in another file.  A :class:`Verdict` gathers while a command runs, so
that the status is right however the run ends: by itself, interrupted, or because nobody
reads its output any more.

This room must not know what a command does.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ancfuzz.errors import UsageError

__all__ = ["Status", "Verdict", "complain"]

_LONGEST_COMPLAINT = 1000


class Status(IntEnum):
    """Exit statuses; :attr:`Verdict.status` says which one it is."""

    NOTHING_FOUND = 0
    VIOLATION = 1
    USAGE = 2
    NOT_JUDGED = 3
    DEFECT = 70


@dataclass
class Verdict:
    """What has come of a run so far.

    Attributes:
        found: whether there was a violation.
        misused: whether something that was asked for cannot be.
        asked: whether the command was asked to judge anything.
        judged: whether anything was judged.
        crashed: whether ancfuzz itself failed.
        signal: the number of the signal that ended the run; 0 for none.
    """

    found: bool = False
    misused: bool = False
    asked: bool = False
    judged: bool = False
    crashed: bool = False
    signal: int = 0

    @property
    def status(self) -> int:
        """The exit status."""
        if self.found:
            return Status.VIOLATION
        if self.crashed:
            return Status.DEFECT
        if self.signal:
            return 128 + self.signal
        if self.misused:
            return Status.USAGE
        if self.asked and not self.judged:
            return Status.NOT_JUDGED
        return Status.NOTHING_FOUND

    def misuse(self, error: UsageError | str) -> None:
        """Say in one line what cannot be, and go on."""
        self.misused = True
        complain(str(error))


def complain(message: str) -> None:
    """One line to standard error."""
    from ancfuzz.picture.lines import printable

    line = printable(message)
    if len(line) > _LONGEST_COMPLAINT:
        half = _LONGEST_COMPLAINT // 2
        line = f"{line[:half]} ... {line[-half:]}"
    click.echo(f"ancfuzz: {line}", err=True)
