"""What the tests of the recorder share: a cache of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.recordings import cached_recorder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """See :func:`cached_recorder`; the folder that the shim is in."""
    with cached_recorder(tmp_path_factory.mktemp("cache")) as folder:
        yield folder / "ancfuzz"
