"""A case, as it stands in a file, and what is said of a file that holds none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from ancfuzz import corpus
from ancfuzz.case import Case, NamedRights, Open, Receive, Send
from ancfuzz.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES = 4 << 20
CASE = Case(
    (Open(), Send("a", "78", (NamedRights(("memfd",)),)), Receive("b", 64, 20)),
    name="one",
)
PLAIN_TEXT = corpus.pretty(CASE)
NAMELESS = replace(CASE, name="")


def refused(path: Path | str) -> str:
    """What is said of a file that holds no case, behind the name of the file."""
    with pytest.raises(UsageError) as caught:
        corpus.read(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    assert len(said.splitlines()) == 1
    return said.removeprefix(f"{path}: ")
