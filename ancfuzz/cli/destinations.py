"""Where --json and --junit go: proven writable before a run, written at its end.

A fuzzer that finds out after an hour that it cannot write its report has wasted the
hour.  So a destination is opened first, and not emptied: an earlier report stays until
there is a new one.

This room must not know what a report is.
"""

from __future__ import annotations

import os
import stat
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ancfuzz.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import TextIO

__all__ = ["Destination", "destinations"]

STANDARD_OUTPUT = "-"


class Destination:
    """An open file, or standard output, that gets one report."""

    def __init__(self, name: str) -> None:
        """Open it.

        Args:
            name: of a file, or ``-``.

        Raises:
            UsageError: it cannot be written.
        """
        self.name = name
        self._number = -1
        self._made = False
        if self.is_standard_output:
            return
        try:
            self._made = not os.path.lexists(name)
            # O_NONBLOCK: a FIFO that nobody reads is an error and not a wait.
            mode = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
            self._number = os.open(name, mode, 0o666)
            os.set_blocking(self._number, True)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise UsageError(f"{name}: cannot be written: {reason}") from None

    @property
    def is_standard_output(self) -> bool:
        """Whether it is ``-``."""
        return self.name == STANDARD_OUTPUT

    def write(self, content: bytes) -> None:
        """Replace what the file held.

        Raises:
            UsageError: it cannot be written after all: a full disk.
        """
        if self.is_standard_output:
            sys.stdout.write(content.decode())
            sys.stdout.flush()
            return
        try:
            if stat.S_ISREG(os.fstat(self._number).st_mode):
                os.ftruncate(self._number, 0)
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(self._number, rest) :]
        except OSError as error:
            raise UsageError(f"{self.name}: {error.strerror}: report lost") from None
        self._made = False

    def close(self) -> None:
        """Close the file; take it away if it was made here and nothing was written."""
        if self._number >= 0:
            os.close(self._number)
            self._number = -1
            if self._made:
                Path(self.name).unlink()


@contextmanager
def destinations(*names: str | None) -> Generator[tuple[Destination | None, ...]]:
    """Open several; None stays None.

    Raises:
        UsageError: one cannot be written, or two are standard output.
    """
    if names.count(STANDARD_OUTPUT) > 1:
        raise UsageError("standard output (-) can take one report only")
    with ExitStack() as stack:
        opened: list[Destination | None] = []
        for name in names:
            if name is None:
                opened.append(None)
                continue
            destination = Destination(name)
            stack.callback(destination.close)
            opened.append(destination)
        yield tuple(opened)


def human_stream(*reports: Destination | None) -> TextIO:
    """Where the table goes: standard output, unless a report takes it."""
    taken = any(report is not None and report.is_standard_output for report in reports)
    return sys.stderr if taken else sys.stdout
