"""Findings kept: a case file for each, and the one command that shows it again.

A finding is worth what it takes to see it again.  So its case is written down at once,
when it is found and not when the run ends, as a file that a reviewer can read, attach
and add to a corpus.  A smaller case takes the place of the first one: the new file is
there, whole, before the old one goes.  Whatever becomes of the run, what it had found
by then is on disk.

Where no file can be written the command carries the case itself.  This room must not
know how findings are made or printed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec.structs import replace

from ancfuzz import corpus
from ancfuzz.reproduction import judge_command, run_command

if TYPE_CHECKING:
    from ancfuzz.case import Case
    from ancfuzz.report import Report, Violation
    from ancfuzz.transcript import Transcript

__all__ = ["Keeper", "make_folder"]

_OWN_FOLDER: Final = ".ancfuzz"


class _Saved(NamedTuple):
    """A case, the file that it is in, and that of what was recorded, if it was."""

    case: Case
    path: Path
    recorded: Path | None


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
    """Writes findings into a folder."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self._saved: dict[tuple[str, str], _Saved] = {}
        self._made: set[Path] = set()  # none that an earlier run left
        self._failed: dict[tuple[str, str], OSError] = {}

    @property
    def error(self) -> OSError | None:
        """Why a finding is not on disk; None if all of them are."""
        return next(iter(self._failed.values()), None)

    def save(self, violation: Violation) -> None:
        """Write down a finding, in the place of what was saved for it before."""
        case = violation.case
        key = violation.implementation, violation.invariant
        before = self._saved.get(key)
        if before is not None and before.case == case:
            return
        name = f"{violation.invariant}-{corpus.case_id(case)}"
        noted = replace(case, name=name, note=case.note or violation.message)
        try:
            make_folder(self.folder)
            if not (self.folder / f"{name}{corpus.SUFFIX}").exists():
                self._made.add(self.folder / f"{name}{corpus.SUFFIX}")
            path = corpus.write(noted, self.folder, name)
            recorded = None
            if violation.phase == "recorded":
                transcript = violation.transcript
                recorded = corpus.write_transcript(transcript, self.folder, name)
            self._saved[key] = _Saved(case, path, recorded)
            self._failed.pop(key, None)
            if before is not None and self._is_superseded(before):
                before.path.unlink(missing_ok=True)
        except OSError as error:
            self._failed[key] = error

    def _is_superseded(self, before: _Saved) -> bool:
        # Implementations that share a bug share the file of its case.
        shared = any(one.path == before.path for one in self._saved.values())
        return before.path in self._made and not shared

    def keep(self, report: Report) -> Report:
        """Save what is not saved yet; each finding gets the command that shows it.

        Those that could be reproduced come first.
        """
        kept = tuple(self._keep(violation) for violation in report.violations)
        ordered = sorted(kept, key=lambda violation: not violation.reproducible)
        return replace(report, violations=tuple(ordered))

    def _keep(self, violation: Violation) -> Violation:
        self.save(violation)
        saved = self._saved.get((violation.implementation, violation.invariant))
        case: str | Case = violation.case
        transcript: str | Transcript = violation.transcript
        if (
            saved is not None
            and saved.case == violation.case
            and str(saved.path).isprintable()
        ):
            case, transcript = str(saved.path), str(saved.recorded)
        if violation.phase == "recorded":
            # It is judged as it was: performing it is another matter.
            command = judge_command(case, transcript)
        else:
            command = run_command(case, violation.implementation)
        return replace(violation, reproduce=command)
