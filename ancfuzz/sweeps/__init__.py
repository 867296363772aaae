"""The boundaries, swept: all combinations of a few axes, near where bugs live.

product    what a sweep is, and taking several in turn
exchanges  over sockets
buffers    over bytes
"""

from __future__ import annotations

from ancfuzz.abi import NATIVE, Abi
from ancfuzz.sweeps import buffers, circumstances, messages
from ancfuzz.sweeps.product import Sweep, interleaved

__all__ = ["Sweep", "interleaved", "sweeps"]


def sweeps(abi: Abi = NATIVE) -> tuple[Sweep, ...]:
    """Every sweep, for an implementation with this layout."""
    makers = (*messages.SWEEPS, *circumstances.SWEEPS, *buffers.SWEEPS)
    return tuple(make(abi) for make in makers)
