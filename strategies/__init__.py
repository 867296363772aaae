"""Hypothesis strategies for control messages, and for all that holds them.

Each is named by the plural of what it draws, and draws every sort of it unless told
otherwise.  Options are keywords; a wrong one is refused at once, by an error that says
what to write instead.  Every strategy draws for one layout, the host's own by default;
to draw the layout too::

    abis().flatmap(lambda abi: control_buffers(abi=abi))

Sizes are drawn before what they are the size of: a list that Hypothesis is told to keep
below 253 items has seven on average, and the edges are at 253.
"""

from __future__ import annotations

from ancfuzz.strategies.buffers import control_buffers, hostile_control_buffers
from ancfuzz.strategies.layouts import abis
from ancfuzz.strategies.messages import control_messages
from ancfuzz.strategies.payloads import payloads
from ancfuzz.strategies.sizes import capacities

__all__ = [
    "abis",
    "capacities",
    "control_buffers",
    "control_messages",
    "hostile_control_buffers",
    "payloads",
]
