"""Layouts: the Abi that a buffer is written for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from ancfuzz.abi import ABIS, NATIVE, Abi
from ancfuzz.strategies.arguments import checked

if TYPE_CHECKING:
    from collections.abc import Collection

    from hypothesis.strategies import SearchStrategy

__all__ = ["abis"]


@checked
def abis(*, names: Collection[str] | None = None) -> SearchStrategy[Abi]:
    """Layouts of control messages that were verified.

    Shrinks towards the host's own, then towards the first of ``names``.

    Args:
        names: keys of :data:`ancfuzz.abi.ABIS`; all of them by default.
    """
    among = [ABIS[name] for name in (ABIS if names is None else names)]
    return st.sampled_from(sorted(among, key=lambda abi: abi != NATIVE))
