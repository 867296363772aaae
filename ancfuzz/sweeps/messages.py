"""The boundaries of a message: what is sent, and how much of it there is room for.

The axes are those of the kernel's own arithmetic: descriptors 0 to 5, 27 to 29, 59 to
64 and 251 to 255; control capacities around every edge of what is sent; socket types;
SO_PASSCRED; several messages in one; what must be refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ancfuzz.abi import Abi
from ancfuzz.case import (
    Case,
    Close,
    Message,
    NamedCredentials,
    NamedRights,
    Open,
    PlainMessage,
    Receive,
    Send,
    Shutdown,
    SocketKind,
    Step,
)
from ancfuzz.grammar import spread_out
from ancfuzz.names import KINDS
from ancfuzz.sweeps.pairs import ONOFF, SOCKETS, opened
from ancfuzz.sweeps.product import Sweep

if TYPE_CHECKING:
    from ancfuzz.abi import Abi

__all__ = ["SWEEPS"]

_COUNTS = (
    *range(6),
    *range(27, 30),
    *range(59, 65),
    *range(251, 256),
)


# Where a capacity stands to the bytes that the last descriptor needs: in the cmsg
# header, in the number, in the padding, just right, one too many.


_EDGES = (-17, -16, -9, -8, -5, -4, -3, -1, 0, 1, 3, 4, 5, 7, 8, 16)


_LOW = (0, 1, 8, 11, 12, 15, 16, 17, 19, 20, 23, 24, 27, 28, 31, 32, 33, 35, 36, 39, 40)


def _rights(abi: Abi) -> Sweep:
    def make(count: int, edge: int, kind: SocketKind, passcred: int) -> Case:
        needed = abi.cmsg_len(4 * count) + (abi.cmsg_space(12) if passcred else 0)
        messages = (NamedRights(spread_out(count)),) if count else ()
        return Case(
            (
                *opened(kind, passcred),
                Send("a", "78", messages),
                Receive("b", 64, max(0, needed + edge)),
            )
        )

    return Sweep("rights by capacity", (_COUNTS, _EDGES, SOCKETS, ONOFF), make)


def _small(_: Abi) -> Sweep:
    def make(capacity: int, count: int, kind: SocketKind, passcred: int) -> Case:
        messages = (NamedRights(spread_out(count)),) if count else ()
        return Case(
            (
                *opened(kind, passcred),
                Send("a", "78", messages),
                Receive("b", 64, capacity),
            )
        )

    return Sweep(
        "small capacities",
        ((*_LOW, *range(41, 72)), range(4), SOCKETS, ONOFF),
        make,
    )


_COMPANY: tuple[tuple[Message, ...], ...] = (
    (NamedRights(("memfd",)), NamedRights(("pipe-read", "eventfd"))),
    (NamedRights(()), NamedRights(("memfd",))),
    (NamedRights(("memfd",)), NamedRights(())),
    (NamedRights(()),),
    (NamedCredentials(), NamedRights(("memfd",))),
    (NamedRights(("memfd", "memfd#1")), NamedCredentials()),
    (NamedCredentials(), NamedCredentials()),
    (NamedCredentials(),),
    (PlainMessage(41, 67, "01020304"), NamedRights(("memfd",))),
    (NamedRights(("memfd",)), PlainMessage(0, 8, "0102030405"), NamedRights(("file",))),
    (NamedRights(("memfd", "memfd", "dup:memfd")),),
    (NamedRights(("socket:a", "socket:b")),),
    (NamedRights(("memfd#1..100",)), NamedRights(("memfd#101..253",))),
    (NamedRights(("memfd",), "ab"),),
    (NamedRights(("memfd", "pipe-write"), "abcdef"), NamedCredentials()),
)


def _company(_: Abi) -> Sweep:
    def make(
        messages: tuple[Message, ...], capacity: int, kind: SocketKind, passcred: int
    ) -> Case:
        return Case(
            (
                *opened(kind, passcred),
                Send("a", "78", messages),
                Receive("b", 64, capacity),
            )
        )

    capacities = (0, 16, 24, 28, 32, 48, 52, 55, 56, 60, 64, 72, 1100, 4096)
    return Sweep("several messages", (_COMPANY, capacities, SOCKETS, ONOFF), make)


def _kinds(_: Abi) -> Sweep:
    def make(descriptor: str, form: str, kind: SocketKind) -> Case:
        name = form.format(descriptor)
        return Case(
            (
                Open(kind),
                Send("a", "78", (NamedRights((descriptor, name)),)),
                Receive("b", 64, 64),
                Receive("b", 64, 64),
            )
        )

    forms = ("{}", "dup:{}", "{}#1", "{}*3")
    return Sweep("kinds of descriptors", (KINDS, forms, SOCKETS), make)


_REFUSED: tuple[tuple[Message, ...], ...] = (
    (NamedRights(("closed",)),),
    (NamedRights(("negative",)),),
    (NamedRights(("memfd", "closed", "memfd#1")),),
    (NamedRights(("memfd#1..254",)),),
    (NamedRights(("memfd*254",)),),
    (NamedRights(("memfd*100",)), NamedRights(("memfd*154",))),
    (NamedRights(("closed*254",)),),
    (NamedCredentials("none"),),
    (NamedCredentials("self", 12345, "self"),),
    (NamedCredentials("self", "self", 12345),),
    (NamedCredentials(1, "self", "self"),),
    (NamedCredentials("self", 0xFFFFFFFF, "self"),),
    (PlainMessage(1, 2, "00" * 11),),
    (PlainMessage(1, 2, "00" * 13),),
    (PlainMessage(1, 2, ""),),
    (PlainMessage(1, 3, "00000000"),),
    (PlainMessage(1, 4, "00000000"),),
    (PlainMessage(1, 29, "00" * 16),),
    (PlainMessage(1, -1, ""),),
)


def _errors(_: Abi) -> Sweep:
    def make(
        messages: tuple[Message, ...], data: str, end: str, kind: SocketKind
    ) -> Case:
        steps: list[Step] = [Open(kind)]
        if end == "closed":
            steps.append(Close("b"))
        elif end == "shut":
            steps.append(Shutdown("b", "read"))
        steps.append(Send("a", data, messages))
        if end == "open":
            steps.append(Receive("b", 64, 1100))
        return Case(tuple(steps))

    chosen = (*_REFUSED, (), (NamedRights(("memfd",)),))
    return Sweep(
        "refused sends",
        (chosen, ("78", ""), ("open", "closed", "shut"), SOCKETS),
        make,
    )


SWEEPS = (_rights, _small, _company, _errors, _kinds)
"""Each makes a sweep for a layout."""
