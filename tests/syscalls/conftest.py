"""What the tests of the raw calls share: that no descriptor stays open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ancfuzz.descriptors import open_numbers

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def leaks_nothing() -> Iterator[None]:
    before = open_numbers()
    yield
    assert open_numbers() == before
