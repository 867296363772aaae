"""What the tests of case files share: that no descriptor stays open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ancfuzz.descriptors import open_count

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _no_descriptor_stays_open() -> Iterator[None]:
    before = open_count()
    yield
    assert open_count() == before
