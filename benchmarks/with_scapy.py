"""Control messages with ``scapy``, as packets inside of a packet."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from rivals import HEADER, Codec, Payload, Plain, ints, label, packed

if TYPE_CHECKING:
    from collections.abc import Sequence

fields: Any = importlib.import_module("scapy.fields")
packet: Any = importlib.import_module("scapy.packet")

_MOST = 1000  # items of a list; scapy's own limit is 100


def _no_padding(_message: object, rest: bytes) -> tuple[bytes, bytes]:
    # What is behind a message is the next one, and not the payload of this one.
    return b"", rest


def _count(message: Any) -> int:
    return _size(message) // 4


def _size(message: Any) -> int:
    return int(message.length) - HEADER


def _padding(message: Any) -> int:
    return -int(message.length) % 8


def codec(payload: Payload) -> Codec:
    """``scapy``, with the payload as it is asked for."""
    kinds = {
        "ints": fields.FieldListField(
            "data",
            [],
            fields.LESignedIntField("", 0),
            count_from=_count,
            max_count=_MOST,
        ),
        "bytes": fields.StrLenField("data", b"", length_from=_size),
    }
    described = [
        fields.LELongField("length", HEADER),
        fields.LESignedIntField("level", 0),
        fields.LESignedIntField("type", 0),
        kinds[payload],
        fields.StrLenField("padding", b"", length_from=_padding),
    ]
    # Made by calling type(), because a class statement wants to know its base.
    bases = (packet.Packet,)
    message: Any = type(
        "Message", bases, {"fields_desc": described, "extract_padding": _no_padding}
    )
    listed = fields.PacketListField("messages", [], message, max_count=_MOST)
    control: Any = type("Control", bases, {"fields_desc": [listed]})

    def plain(found: Any) -> list[Plain]:
        return [(one.level, one.type, packed(one.data)) for one in found.messages]

    def made(messages: Sequence[Plain]) -> Any:
        return control(
            messages=[
                message(
                    length=HEADER + len(data),
                    level=level,
                    type=type_,
                    data=list(ints(data)) if payload == "ints" else data,
                    padding=bytes(-len(data) % 8),
                )
                for level, type_, data in messages
            ]
        )

    return Codec(label("scapy", payload), control, plain, bytes, made)
