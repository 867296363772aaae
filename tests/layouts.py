"""Every layout of control messages that there is, to hold the codec against."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import pytest
from hypothesis import strategies as st

from ancfuzz.abi import ABIS, Abi
from ancfuzz.strategies import abis

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis.strategies import SearchStrategy

T = TypeVar("T")

X86_64 = ABIS["x86_64-linux-gnu"]
# One target for each layout and byte order that there is.
LAYOUTS = list(
    {
        (abi.byte_order, abi.length_offset, abi.length_size, abi.header_format[1:]): abi
        for abi in reversed([*ABIS.values()])
    }.values()
)
for_each_layout = pytest.mark.parametrize("abi", LAYOUTS, ids=lambda abi: abi.name)


def of_each_abi(
    make: Callable[..., SearchStrategy[T]],
) -> SearchStrategy[tuple[Abi, T]]:
    return abis().flatmap(lambda abi: st.tuples(st.just(abi), make(abi=abi)))
