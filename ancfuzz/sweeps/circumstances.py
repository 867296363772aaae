"""The circumstances of a message: where it ends, who asks, what state things are in.

Boundaries in a stream and peeks at them, options on either end, a second receive behind
the first, empty payloads and empty reads, descriptor tables that are full or full of
holes, sends that take many writes, and control bytes as no sender should send them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ancfuzz.abi import Abi
from ancfuzz.case import (
    Case,
    Close,
    Message,
    NamedCredentials,
    NamedRights,
    Open,
    Receive,
    Send,
    SendAll,
    SendRaw,
    SetOption,
    Shutdown,
    SocketKind,
    Step,
    Table,
)
from ancfuzz.grammar import hostile_lengths, spread_out
from ancfuzz.sweeps.pairs import ONOFF, SOCKETS, opened
from ancfuzz.sweeps.product import Sweep

if TYPE_CHECKING:
    from ancfuzz.abi import Abi

__all__ = ["SWEEPS"]


def _boundaries(_: Abi) -> Sweep:
    def make(size: int, which: int, passcred: int, kind: SocketKind, peek: int) -> Case:
        one, two = (NamedRights(("memfd",)),), (NamedRights(("eventfd", "file")),)
        bring: tuple[tuple[tuple[Message, ...], ...], ...] = (
            ((), one, ()),
            (one, two, ()),
            ((), (), one),
            (one, (), two),
            ((), (), ()),
        )
        sends = (
            Send("a", data, messages)
            for data, messages in zip(
                ("6161", "62*5", "6363"), bring[which], strict=True
            )
        )
        receive = Receive("b", size, 96)
        peeked = (Receive("b", size, 96, ("MSG_PEEK",)),) if peek else ()
        return Case(
            (*opened(kind, passcred), *sends, *peeked, *(receive for _ in range(5)))
        )

    sizes = (0, 1, 2, 3, 6, 7, 9, 64)
    return Sweep("boundaries", (sizes, range(5), ONOFF, SOCKETS, ONOFF), make)


def _asking(_: Abi) -> Sweep:
    options = (
        (("b", "SO_PASSPIDFD", 1),),
        (("b", "SO_PASSPIDFD", 1), ("b", "SO_PASSCRED", 1)),
        (("a", "SO_PASSCRED", 1),),
        (("a", "SO_PASSPIDFD", 1), ("b", "SO_PASSCRED", 1)),
        (("b", "SO_TIMESTAMP", 1),),
        (("b", "SO_TIMESTAMPNS", 1), ("b", "SO_PASSCRED", 1)),
        (("b", "SO_PASSRIGHTS", 0),),
        (("a", "SO_PASSRIGHTS", 0),),
        (("b", "SO_PASSCRED", 1), ("b", "SO_PASSCRED", 0)),
    )

    def make(
        chosen: tuple[tuple[str, Any, int], ...],
        late: int,
        messages: tuple[Message, ...],
        capacity: int,
        kind: SocketKind,
    ) -> Case:
        setting = [SetOption(at, option, value) for at, option, value in chosen]
        send = Send("a", "78", messages)
        middle: list[Step] = [send, *setting] if late else [*setting, send]
        return Case(
            (
                Open(kind),
                *middle,
                Receive("b", 64, capacity),
                Close("a"),
                Receive("b", 64, capacity),
            )
        )

    brought: tuple[tuple[Message, ...], ...] = (
        (),
        (NamedRights(("memfd",)),),
        (NamedRights(("memfd", "eventfd")),),
        (NamedCredentials(),),
        (NamedCredentials(), NamedRights(("memfd",))),
    )
    capacities = (0, 15, 16, 20, 24, 28, 32, 36, 44, 48, 52, 56, 64, 72, 80, 96, 120)
    return Sweep("options", (options, ONOFF, brought, capacities, SOCKETS), make)


def _stale(_: Abi) -> Sweep:
    def make(
        count: int, capacity: int, end: str, kind: SocketKind, passcred: int
    ) -> Case:
        messages = (NamedRights(spread_out(count)),) if count else ()
        receive = Receive("b", 64, capacity)
        endings: dict[str, tuple[Step, ...]] = {
            "": (),
            "close": (Close("a"),),
            "shutdown": (Shutdown("a", "write"),),
        }
        return Case(
            (
                *opened(kind, passcred),
                Send("a", "78", messages),
                receive,
                *endings[end],
                receive,
                receive,
            )
        )

    return Sweep(
        "a second receive",
        (range(4), (0, 24, 32, 64, 128), ("", "close", "shutdown"), SOCKETS, ONOFF),
        make,
    )


def _empty(_: Abi) -> Sweep:
    def make(data: str, size: int, count: int, kind: SocketKind, passcred: int) -> Case:
        messages = (NamedRights(spread_out(count)),) if count else ()
        return Case(
            (
                *opened(kind, passcred),
                Send("a", data, messages),
                Receive("b", size, 80),
                Receive("b", 64, 80),
            )
        )

    return Sweep(
        "empty payloads and empty reads",
        (("", "78", "787979"), (0, 1, 2, 64), range(4), SOCKETS, ONOFF),
        make,
    )


def _tables(_: Abi) -> Sweep:
    def make(
        table: Table,
        count: int,
        passcred: int,
        pidfd: int,
        kind: SocketKind,
        roomy: int,
    ) -> Case:
        messages = (NamedRights(spread_out(count)),) if count else ()
        steps = opened(kind, passcred)
        if pidfd:
            steps.append(SetOption("b", "SO_PASSPIDFD"))
        capacity = 1200 if roomy else 16 + 32 * passcred + 4 * max(count - 1, 1)
        return Case(
            (
                *steps,
                Send("a", "78", messages),
                table,
                Receive("b", 64, capacity),
            )
        )

    tables = (
        *(Table(free=n) for n in (0, 1, 2, 3, 5)),
        Table(holes=True),
        Table(above=1023),
        Table(free=2, holes=True),
    )
    return Sweep(
        "descriptor tables",
        (tables, (0, 1, 2, 3, 4, 8), ONOFF, ONOFF, SOCKETS, ONOFF),
        make,
    )


def _long(_: Abi) -> Sweep:
    def make(size: int, count: int) -> Case:
        messages = (NamedRights(spread_out(count)),) if count else ()
        return Case((Open("stream"), SendAll("a", f"61*{size}", messages)))

    return Sweep(
        "long sends", ((1, 2000, 9000, 65536, 300000), (0, 1, 2, 5, 253)), make
    )


def _raw(abi: Abi) -> Sweep:
    order = abi.byte_order

    def header(length: int, level: int = 1, type_: int = 1) -> str:
        return (
            length.to_bytes(abi.length_size, order)
            + (level & 0xFFFFFFFF).to_bytes(4, order)
            + (type_ & 0xFFFFFFFF).to_bytes(4, order)
        ).hex()

    one = header(abi.cmsg_len(4))
    templates = [
        f"{header(length)}{{memfd}}" for length in hostile_lengths(abi.cmsg_len(4), abi)
    ]
    templates += [
        f"{one}{{memfd}}00000000{header(length)}{{eventfd}}"
        for length in hostile_lengths(abi.cmsg_len(4), abi)
    ]
    templates += [f"{one}{{memfd}}" + "00" * n for n in range(1, 25)]
    templates += [
        f"{one}{{memfd}}{one}{{eventfd}}",
        f"{one}{{closed}}00000000" + "00" * 16,
    ]
    templates += [one[: 2 * n] for n in range(17)]
    templates += [
        ids := f"{header(abi.cmsg_len(12), type_=2)}{{pid}}{{uid}}{{gid}}",
        f"{ids}00000000{one}{{memfd}}",
        f"{header(abi.cmsg_len(4), level=41)}{{memfd}}00000000{one}{{memfd#1}}",
    ]

    def make(template: str, kind: SocketKind, passcred: int, data: str) -> Case:
        return Case(
            (
                *opened(kind, passcred),
                SendRaw("a", template, data),
                Receive("b", 64, 128),
            )
        )

    return Sweep("raw control", (templates, SOCKETS, ONOFF, ("78", "")), make)


SWEEPS = (_tables, _boundaries, _asking, _stale, _empty, _long, _raw)
"""Each makes a sweep for a layout."""
