"""Sizes of the buffers that control messages are received into."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from ancfuzz.abi import NATIVE, Abi
from ancfuzz.strategies.arguments import checked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hypothesis.strategies import SearchStrategy

    from ancfuzz.codec import ControlMessage

__all__ = ["capacities"]

_DESCRIPTOR = 4  # bytes: the unit in which rights are cut


@checked
def capacities(
    messages: Sequence[ControlMessage], *, abi: Abi = NATIVE
) -> SearchStrategy[int]:
    """Capacities of a control buffer, in bytes, for a receiver of these messages.

    Mostly at the edges: around ``CMSG_LEN`` and ``CMSG_SPACE`` of each message where it
    would lie, and of a message of one descriptor less or more; else anything from none
    to more than enough.  Shrinks towards none.

    Args:
        messages: what is sent, in order.
        abi: the layout.
    """
    edges = sorted({0, *_edges(messages, abi)})
    return st.sampled_from(edges) | st.integers(0, edges[-1] + abi.cmsg_space(0))


def _edges(messages: Sequence[ControlMessage], abi: Abi) -> Iterator[int]:
    at = 0
    for message in messages:
        size = len(message.data)
        fewer, more = max(size - _DESCRIPTOR, 0), size + _DESCRIPTOR
        for end in (
            abi.header_size,
            *(abi.cmsg_len(n) for n in (0, fewer, size, more)),
            *(abi.cmsg_space(n) for n in (0, fewer, size, more)),
        ):
            yield from (at + end - 1, at + end, at + end + 1)
        at += abi.cmsg_space(size)
