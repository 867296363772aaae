"""Progress: one line on a terminal that says how far a run has come.

It is drawn when ``check`` reports and at no other time: a thread of its own would run
beside the forks and descriptor tables of the harness.  In a pipe there is none.
"""

from __future__ import annotations

import math
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ancfuzz.cli.streams import says_unicode
from ancfuzz.picture.lines import ASCII, UNICODE, Glyphs, printable, quantity

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from ancfuzz.checking import Progress

__all__ = ["live_progress", "progress_words"]


def progress_words(progress: Progress) -> str:
    """How far a run has come, in a line."""
    parts = [progress.implementation, progress.phase]
    cases = f"{progress.cases:,}"
    if progress.budget_cases:
        cases += f" of {progress.budget_cases:,}"
    parts.append(f"{cases} cases")
    seconds = f"{progress.seconds:.0f}"
    if progress.budget_seconds and math.isfinite(progress.budget_seconds):
        seconds += f" of {progress.budget_seconds:.0f}"
    parts.append(f"{seconds} s")
    parts.append(quantity(progress.violations, "finding"))
    return "  ".join(filter(None, parts))


@contextmanager
def live_progress() -> Generator[Callable[[Progress], None] | None]:
    """What ``check`` is to call with its progress; None where nobody watches."""
    console = Console(file=sys.stderr)
    if not console.is_terminal or console.is_dumb_terminal:
        yield None
        return
    glyphs: Glyphs = UNICODE if says_unicode(sys.stderr) else ASCII
    with Live(
        console=console,
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as live:

        def show(progress: Progress) -> None:
            words = printable(progress_words(progress), glyphs)
            live.update(Text(words, no_wrap=True, overflow="crop"), refresh=True)

        yield show
