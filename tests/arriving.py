"""What the tests of SocketAncillary share: what is drawn, added, and received."""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import strategies as st

from ancfuzz import Abi, ControlMessage
from ancfuzz.abi import ABIS
from ancfuzz.ancillary import SocketAncillary, SocketCred

abis = st.sampled_from(list(ABIS.values()))
c_ints = st.integers(-(2**31), 2**31 - 1)
ids = st.integers(0, 2**32 - 1)
creds = st.builds(SocketCred, c_ints, ids, ids)


def arrive(pair: tuple[int, int], ancillary: SocketAncillary, count: int = 2) -> None:
    """Have so many descriptors received into it."""
    sent = SocketAncillary(SocketAncillary.capacity_for(fds=count))
    sent.add_fds([pair[0]] * count)
    sent.sendmsg(pair[0], [b"x"])
    assert ancillary.recvmsg(pair[1], [bytearray(1)]) == 1


def message_of(item: list[Any], abi: Abi) -> ControlMessage:
    """What adding these is to add: descriptors, or credentials."""
    if item and isinstance(item[0], SocketCred):
        data = b"".join(one.encode(abi) for one in item)
        name = next(
            n
            for n in ("SCM_CREDENTIALS", "SCM_CREDS2", "SCM_CREDS")
            if n in abi.constants
        )
        return ControlMessage(abi.constants["SOL_SOCKET"], abi.constants[name], data)
    data = struct.pack(f"{abi.struct_order}{len(item)}i", *item)
    return ControlMessage(
        abi.constants["SOL_SOCKET"], abi.constants["SCM_RIGHTS"], data
    )
