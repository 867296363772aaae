"""The folder that recorded cases go to.

It is proven writable before the program runs, for what was recorded in an hour must not
be lost in the end.  Nothing that is there is written over: a case that is there already
in all but its bytes stays as it is, and one that is different gets another name.

This room must not know where cases come from.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Self

from ancfuzz import corpus
from ancfuzz.cli.findings import make_folder
from ancfuzz.errors import UsageError
from ancfuzz.recorder import shape

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ancfuzz.case import Case, Step

__all__ = ["Shelf"]


class Shelf:
    """A folder for cases; a context manager, which leaves no empty folder behind.

    Attributes:
        folder: where it is.
        added: the files that were written.
        known: how many cases were there before.
        lost: why the others could not be written, each with its name.
    """

    def __init__(self, folder: str) -> None:
        """Make the folder.

        Raises:
            UsageError: it cannot be made, or cannot be written.
        """
        self.folder = Path(folder)
        self.added: list[Path] = []
        self.known = 0
        self.lost: list[tuple[str, str]] = []
        try:
            above = (self.folder, *self.folder.parents)
            self._made = [one for one in above if not os.path.lexists(one)]
            self.folder.mkdir(parents=True, exist_ok=True)
            # On a full disk there is room for a name, and none for a byte.
            with TemporaryFile(dir=self.folder, buffering=0) as probe:
                probe.write(b"\n")
        except (OSError, ValueError) as error:
            self._remove_what_is_empty()
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise UsageError(f"{folder}: cannot be written: {reason}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.added:
            self._remove_what_is_empty()

    def _remove_what_is_empty(self) -> None:
        with suppress(OSError):  # it is not empty, or not there
            for folder in self._made:
                folder.rmdir()

    def put(self, cases: Iterable[Case]) -> None:
        """Write what is not there yet."""
        there = self._shapes()
        for case in cases:
            if shape(case) in there:
                self.known += 1
                continue
            try:
                make_folder(self.folder)
                self.added.append(corpus.add(case, self.folder))
            except OSError as error:
                self.lost.append((case.name, error.strerror or "?"))

    def _shapes(self) -> set[tuple[Step, ...]]:
        found: set[tuple[Step, ...]] = set()
        for path in self.folder.glob(f"*{corpus.SUFFIX}"):
            with suppress(UsageError):  # another's file, and none of ours
                found.add(shape(corpus.read(path)))
        return found
