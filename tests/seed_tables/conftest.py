"""What rows of the tables share: descriptors and pairs, of which none stays open."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from ancfuzz.descriptors import open_numbers
from ancfuzz.sockets import UnixDatagram, UnixSeqpacket, UnixStream

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def leaks_nothing() -> Iterator[None]:
    before = open_numbers()
    yield
    assert open_numbers() == before


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


@pytest.fixture
def fd(pipe: tuple[int, int]) -> int:
    return pipe[0]


@pytest.fixture
def stream() -> Iterator[tuple[UnixStream, UnixStream]]:
    one, other = UnixStream.pair()
    with one, other:
        yield one, other


@pytest.fixture(params=[UnixStream, UnixDatagram, UnixSeqpacket])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Any, Any]]:
    one, other = request.param.pair()
    with one, other:
        yield one, other


@pytest.fixture
def datagram() -> Iterator[tuple[UnixDatagram, UnixDatagram]]:
    one, other = UnixDatagram.pair()
    with one, other:
        yield one, other
