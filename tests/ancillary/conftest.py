"""What the tests of SocketAncillary share: a pair, and that nothing stays open."""

from __future__ import annotations

import socket
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


@pytest.fixture
def pair() -> Iterator[tuple[int, int]]:
    one, other = socket.socketpair()
    with one, other:
        other.settimeout(0)
        yield one.fileno(), other.fileno()
