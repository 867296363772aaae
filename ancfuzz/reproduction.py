"""The command that shows a finding again.

A finding is worth what it takes to see it again: one line that can be copied from a
terminal, a log or a report.  It names the case's file where there is one, and carries
the case itself where there is none.

This room must not know what a finding is, nor where its case was saved.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

import msgspec

from ancfuzz import corpus
from ancfuzz.case import Case

if TYPE_CHECKING:
    from ancfuzz.transcript import Transcript

__all__ = ["judge_command", "run_command"]

_LONGEST_ARGUMENT: Final = 100_000  # the kernel's MAX_ARG_STRLEN is 128 KiB


def run_command(case: str | Case, implementation: str) -> str:
    """The command line that performs a case on an implementation.

    Args:
        case: the name of its file, or the case itself.
        implementation: the name by which it is asked for.
    """
    return _command(case, "--implementation", implementation)


def judge_command(case: str | Case, transcript: str | Transcript) -> str:
    """The command line that judges what was answered to a case, and performs nothing.

    Args:
        case: the name of its file, or the case itself.
        transcript: the name of its file, or the transcript itself.
    """
    if not isinstance(transcript, str):
        transcript = msgspec.json.encode(transcript).decode()
    return _command(case, "--transcript", transcript)


def _command(case: str | Case, option: str, value: str) -> str:
    if isinstance(case, Case):
        # The steps alone are ASCII: they pass through any terminal and any log.
        argument = corpus.dumps(Case(case.steps))
    else:
        # A name that begins with a dash would be an option.
        argument = f"./{case}" if case.startswith("-") else case
    words = ["ancfuzz", "run", argument, option, value]
    if len(argument) > _LONGEST_ARGUMENT:
        # A shell's own printf has no such bound.
        words[2] = "-"
        return f"printf %s {shlex.quote(argument)} | {shlex.join(words)}"
    return shlex.join(words)
