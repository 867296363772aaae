"""Control messages with ``construct``, compiled to Python by it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from rivals import HEADER, Codec, Payload, Plain, ints, label, packed

if TYPE_CHECKING:
    from collections.abc import Sequence

construct: Any = importlib.import_module("construct")


def codec(payload: Payload) -> Codec:
    """``construct``, with the payload as it is asked for."""
    size = construct.this.length - HEADER
    kinds = {
        "ints": construct.Array(size // 4, construct.Int32sl),
        "bytes": construct.Bytes(size),
    }
    message = construct.Struct(
        "length" / construct.Int64ul,
        "level" / construct.Int32sl,
        "type" / construct.Int32sl,
        "data" / kinds[payload],
        construct.Padding(-construct.this.length % 8),
    )
    compiled = construct.GreedyRange(message).compile()

    def plain(found: Any) -> list[Plain]:
        return [(one.level, one.type, packed(one.data)) for one in found]

    def made(messages: Sequence[Plain]) -> list[dict[str, object]]:
        return [
            {
                "length": HEADER + len(data),
                "level": level,
                "type": type_,
                "data": ints(data) if payload == "ints" else data,
            }
            for level, type_, data in messages
        ]

    return Codec(
        label("construct", payload), compiled.parse, plain, compiled.build, made
    )
