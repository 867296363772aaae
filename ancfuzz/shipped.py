"""The corpus that ships with ancfuzz, found wherever the package is.

This room knows the folders and nothing of what is in the cases.
"""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import TYPE_CHECKING

from ancfuzz import corpus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ancfuzz.case import Case

__all__ = ["FOLDERS", "shipped_cases"]

FOLDERS = ("captures", "vectors", "regressions")
"""Recorded from real programs; made by hand; found by fuzzing, and kept."""


def shipped_cases(folders: tuple[str, ...] = FOLDERS) -> Iterator[tuple[str, Case]]:
    """Every shipped case with the name of its folder.

    Raises:
        UsageError: a shipped file is broken.
    """
    root = files("ancfuzz.corpora")
    for folder in folders:
        place = root / folder
        if not place.is_dir():
            continue
        with as_file(place) as path:
            for file in corpus.case_files([path]):
                yield folder, corpus.read(file)
