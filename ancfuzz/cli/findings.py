"""Findings kept: a case file for each, and the one command that shows it again.

A finding is worth what it takes to see it again.  So its case is written down at once,
as a file that a reviewer can read, attach and add to a corpus, and the command names
that file.  Where no file can be written the command carries the case itself.

This room must not know how findings are made or printed.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from ancfuzz import corpus

if TYPE_CHECKING:
    from ancfuzz.case import Case
    from ancfuzz.report import Report, Violation
    from ancfuzz.transcript import Transcript

__all__ = ["Keeper", "judge_command", "make_folder", "run_command"]

_LONGEST_ARGUMENT: Final = 100_000  # the kernel's MAX_ARG_STRLEN is 128 KiB
_OWN_FOLDER: Final = ".ancfuzz"


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
    if isinstance(case, str):
        # A name that begins with a dash would be an option.
        argument = f"./{case}" if case.startswith("-") else case
    else:
        # The steps alone are ASCII: they pass through any terminal and any log.
        argument = corpus.dumps(replace(case, name="", note="", source=""))
    words = ["ancfuzz", "run", argument, option, value]
    if len(argument) > _LONGEST_ARGUMENT:
        # A shell's own printf has no such bound.
        words[2] = "-"
        return f"printf %s {shlex.quote(argument)} | {shlex.join(words)}"
    return shlex.join(words)


def make_folder(wanted: Path) -> None:
    """Make a folder, if it is not there.

    Raises:
        OSError: it cannot be made.
    """
    wanted.mkdir(parents=True, exist_ok=True)
    for folder in (wanted, *wanted.parents):
        # What we made for ourselves is nobody's to commit by accident.
        if folder.name == _OWN_FOLDER:
            ignore = folder / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n", encoding="utf-8")


class Keeper:
    """Writes findings into a folder.

    Attributes:
        error: why the last one could not be written; None if it was.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.error: OSError | None = None

    def keep(self, report: Report) -> Report:
        """Save every finding; each gets the command that shows it again.

        Those that could be reproduced come first.
        """
        kept = tuple(self._keep(violation) for violation in report.violations)
        ordered = sorted(kept, key=lambda violation: not violation.reproducible)
        return replace(report, violations=tuple(ordered))

    def _keep(self, violation: Violation) -> Violation:
        case, transcript = violation.case, violation.transcript
        name = f"{violation.invariant}-{corpus.case_id(case)}"
        noted = replace(case, name=name, note=case.note or violation.message)
        recorded = violation.phase == "recorded"
        given: tuple[str | Case, str | Transcript] = case, transcript
        try:
            make_folder(self.folder)
            path = str(corpus.write(noted, self.folder, name))
            # What was recorded is judged as it is: performing is another matter.
            beside = (
                str(corpus.write_transcript(transcript, self.folder, name))
                if recorded
                else ""
            )
            self.error = None
            if path.isprintable():
                given = path, beside
        except OSError as error:
            self.error = error
        command = (
            judge_command(*given)
            if recorded
            else run_command(given[0], violation.implementation)
        )
        return replace(violation, reproduce=command)
