"""What the sweeps over sockets have in common: the kinds, and how a case begins."""

from __future__ import annotations

from ancfuzz.case import Open, SetOption, SocketKind, Step

__all__ = ["ONOFF", "SOCKETS", "opened"]

SOCKETS: tuple[SocketKind, ...] = ("stream", "dgram", "seqpacket")
ONOFF = (0, 1)


def opened(kind: SocketKind, passcred: int) -> list[Step]:
    """A pair, whose receiver asks for credentials or not."""
    steps: list[Step] = [Open(kind)]
    if passcred:
        steps.append(SetOption("b", "SO_PASSCRED"))
    return steps
