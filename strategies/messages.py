"""Control messages, before anybody has laid them out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from ancfuzz.abi import NATIVE, Abi
from ancfuzz.codec import ControlMessage
from ancfuzz.messages import build
from ancfuzz.strategies.arguments import checked
from ancfuzz.strategies.payloads import c_ints, payload_bytes, payloads

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

__all__ = ["control_messages"]

_MOST_BYTES = 1024  # 253 descriptors, and a few bytes more


@checked
@st.composite
def control_messages(  # noqa: D417  (Hypothesis passes draw, and not the caller)
    draw: st.DrawFn, *, abi: Abi = NATIVE, max_size: int = _MOST_BYTES
) -> ControlMessage:
    """Control messages: typed ones, the same cut short, and any bytes of any type.

    Descriptor numbers are numbers: none of them is open, except by chance.  Shrinks
    towards an ``SCM_RIGHTS`` without descriptors.

    Args:
        abi: whose types and structures to use.
        max_size: most payload bytes.
    """
    sort = draw(st.sampled_from(["typed", "cut", "of any type", "any"]))
    if sort in ("typed", "cut"):
        message = build(draw(payloads(abi=abi)), abi)
        room = min(len(message.data), max_size)
        size = room if sort == "typed" else draw(st.integers(0, room))
        return ControlMessage(message.level, message.type, message.data[:size])
    data = draw(st.integers(0, max_size).flatmap(payload_bytes))
    if sort == "of any type":
        return ControlMessage(draw(_levels(abi)), draw(_types(abi)), data)
    return ControlMessage(draw(c_ints()), draw(c_ints()), data)


def _levels(abi: Abi) -> SearchStrategy[int]:
    # IPPROTO_IP, _TCP and _IPV6 are what else a reader of control messages meets.
    return st.sampled_from([abi.constants.get("SOL_SOCKET", 1), 0, 6, 41])


def _types(abi: Abi) -> SearchStrategy[int]:
    named = {value for name, value in abi.constants.items() if name[:4] == "SCM_"}
    return st.sampled_from(sorted({*named, 0, -1}, key=abs))
