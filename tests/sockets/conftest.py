"""What the tests of the sockets share: one of each kind, a pair, and a short path.

And that no descriptor stays open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ancfuzz.descriptors import open_numbers
from tests.socket_kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def leaks_nothing() -> Iterator[None]:
    before = open_numbers()
    yield
    assert open_numbers() == before


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the working one: paths in it are short wherever it is."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def pair(kind: Any) -> Iterator[tuple[Any, Any]]:
    one, other = kind.pair()
    with one, other:
        yield one, other
