"""Control messages with ``dissect.cstruct``, compiled to Python by it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from rivals import HEADER, Codec, Payload, Plain, ints, label, packed

if TYPE_CHECKING:
    from collections.abc import Sequence

cstruct: Any = importlib.import_module("dissect.cstruct")

_DEFINITION = """
struct message {{
    uint64 length;
    int32 level;
    int32 type;
    {data};
    char padding[(8 - (length & 7)) & 7];
}};
struct control {{
    message messages[EOF];
}};
"""
_DATA: dict[Payload, str] = {
    "ints": f"int32 data[(length - {HEADER}) / 4]",
    "bytes": f"char data[length - {HEADER}]",
}


def codec(payload: Payload) -> Codec:
    """``dissect.cstruct``, with the payload as it is asked for."""
    types = cstruct.cstruct().load(_DEFINITION.format(data=_DATA[payload]))

    def plain(found: Any) -> list[Plain]:
        return [
            (int(one.level), int(one.type), packed(one.data)) for one in found.messages
        ]

    def made(messages: Sequence[Plain]) -> Any:
        return types.control(
            messages=[
                types.message(
                    length=HEADER + len(data),
                    level=level,
                    type=type_,
                    data=list(ints(data)) if payload == "ints" else data,
                    padding=bytes(-len(data) % 8),
                )
                for level, type_, data in messages
            ]
        )

    def encode(control: Any) -> bytes:
        return bytes(control.dumps())

    return Codec(label("dissect.cstruct", payload), types.control, plain, encode, made)
