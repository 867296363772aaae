"""The command that shows a finding again.

A finding is worth what it takes to see it again: one line that can be copied from a
terminal, a log or a report.  It names the case's file where there is one, and carries
the case itself where there is none.

This room must not know what a finding is, nor where its case was saved.
"""

from __future__ import annotations

import shlex
from typing import Final

from ancfuzz import corpus
from ancfuzz.case import Case

__all__ = ["run_command"]

_LONGEST_ARGUMENT: Final = 100_000  # the kernel's MAX_ARG_STRLEN is 128 KiB


def run_command(case: str | Case, implementation: str) -> str:
    """The command line that performs a case on an implementation.

    Args:
        case: the name of its file, or the case itself.
        implementation: the name by which it is asked for.
    """
    if isinstance(case, Case):
        # The steps alone are ASCII: they pass through any terminal and any log.
        argument = corpus.dumps(Case(case.steps))
    else:
        # A name that begins with a dash would be an option.
        argument = f"./{case}" if case.startswith("-") else case
    words = ["ancfuzz", "run", argument, "--implementation", implementation]
    if len(argument) > _LONGEST_ARGUMENT:
        # A shell's own printf has no such bound.
        words[2] = "-"
        return f"printf %s {shlex.quote(argument)} | {shlex.join(words)}"
    return shlex.join(words)
