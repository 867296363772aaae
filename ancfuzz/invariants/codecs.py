"""Invariants of bytes: ALIGN, LEN, CAP, ROUND and WALK.

An encoding that is not accepted is held against the canonical one header by header, and
the first difference has one name (:func:`_fault`); a decoding against what the
reference makes of the same bytes.
"""

from __future__ import annotations

from ancfuzz.case import Decode, Encode, EncodeInto
from ancfuzz.codec import ControlMessage, encode, walk
from ancfuzz.invariants.registry import View, invariant
from ancfuzz.transcript import Decoded, Encoded, EncodedInto

_CMSG3 = "cmsg(3)"
_RFC = "RFC 3542 section 20"


def _encoding(view: View) -> tuple[bytes | None, list[ControlMessage]] | None:
    """What was encoded and of what; None for the first if it was refused."""
    step, observed = view.step, view.observed
    if isinstance(step, Encode) and isinstance(observed, Encoded):
        control = observed.control
        used = None if control is None else bytes.fromhex(control)
    elif isinstance(step, EncodeInto) and isinstance(observed, EncodedInto):
        count = observed.count
        used = None if count is None else bytes.fromhex(observed.buffer)[:count]
    else:
        return None
    messages = [
        ControlMessage(m.level, m.type, bytes.fromhex(m.data)) for m in step.messages
    ]
    return used, messages


def _fault(view: View) -> tuple[str, str] | None:
    """The first thing wrong with an encoding: the invariant's id and a sentence."""
    if view.accepted == view.observed:
        return None
    encoding = _encoding(view)
    if encoding is None or not isinstance(view.step, Encode | EncodeInto):
        return None
    used, messages = encoding
    canonical = encode(messages, view.abi)
    capacity = view.step.capacity
    if used is None:
        if len(canonical) > capacity:
            return None
        return "CAP.fits", f"refused {len(canonical)} bytes in {capacity}"
    observed = view.observed
    claimed = observed.count if isinstance(observed, EncodedInto) else len(used)
    if claimed is not None and (claimed > capacity or len(used) > capacity):
        return "CAP.exceeds", f"{claimed} bytes in a capacity of {capacity}"
    return _first_difference(used, canonical, messages, view)


def _first_difference(
    used: bytes, canonical: bytes, messages: list[ControlMessage], view: View
) -> tuple[str, str] | None:
    abi = view.abi
    header, header_size, data_offset, _, _ = abi.header_format
    at = 0
    for index, message in enumerate(messages):
        size = len(message.data)
        where = f"message {index} at offset {at}"
        if len(used) < at + header_size:
            return "LEN.total", f"{len(used)} bytes: {where} is not there"
        if used[at : at + header_size] != canonical[at : at + header_size]:
            moved = used.find(canonical[at : at + header_size])
            if index and moved >= 0:
                return "ALIGN.next", f"{where} lies at offset {moved}"
            length, level, type_ = header.unpack_from(used, at)
            if (level, type_) != (message.level, message.type):
                return "ROUND.encode", f"{where} has level {level}, type {type_}"
            if length == data_offset + size:
                return "ALIGN.padding", f"{where} has padding in its header not zero"
            return (
                "LEN.cmsg_len",
                f"{where} has cmsg_len {length}, expected {data_offset + size}",
            )
        data = at + data_offset
        if used[data : data + size] != message.data:
            return "ROUND.encode", f"{where}: its data is not what was given"
        stop = at + abi.cmsg_space(size)
        early = used.find(canonical[stop : stop + header_size], data + size)
        if index + 1 < len(messages) and 0 <= early < stop:
            return "ALIGN.next", f"message {index + 1} lies at {early}, expected {stop}"
        if any(used[data + size : stop]) or any(used[at + header_size : data]):
            return "ALIGN.padding", f"{where}: its padding is not zero"
        at = stop
    if len(used) != len(canonical):
        return "LEN.total", f"{len(used)} bytes, expected {len(canonical)}"
    return None


_ENCODE_FAULTS = {
    "CAP.fits": ("What fits in the capacity is not refused.", _CMSG3),
    "CAP.exceeds": ("What does not fit in the capacity is refused.", _CMSG3),
    "LEN.total": ("The length is the sum of CMSG_SPACE.", _RFC),
    "LEN.cmsg_len": ("cmsg_len is CMSG_LEN of the payload.", _RFC),
    "ALIGN.next": ("Each header begins where CMSG_NXTHDR looks for it.", _RFC),
    "ALIGN.padding": ("Padding bytes are zero.", "unix_stream_sendmsg copies them"),
    "ROUND.encode": ("What was encoded is what was given, in order.", _CMSG3),
}


def _register_encode_faults() -> None:
    for id_, (title, source) in _ENCODE_FAULTS.items():

        def check(view: View, id_: str = id_) -> str | None:
            fault = _fault(view)
            return fault[1] if fault is not None and fault[0] == id_ else None

        check.__doc__ = title
        invariant(id_, Encode, EncodeInto, source=source)(check)


_register_encode_faults()


@invariant("CAP.outside", EncodeInto, source="the caller's buffer ends where it ends")
def _outside(view: View) -> str | None:
    """Nothing outside the caller's buffer is written."""
    if isinstance(view.observed, EncodedInto) and view.observed.outside:
        return "a byte outside the buffer was written"
    return None


@invariant("CAP.unchanged", EncodeInto, source="SocketAncillary::add_fds")
def _unchanged(view: View) -> str | None:
    """A refused encoding leaves the buffer as it was."""
    step, observed = view.step, view.observed
    if not (isinstance(step, EncodeInto) and isinstance(observed, EncodedInto)):
        return None
    if observed.count is not None:
        return None
    before = bytes([step.fill]) * step.capacity
    if observed.buffer == before.hex():
        return None
    return "it was refused, and the buffer changed all the same"


def _decodings(view: View) -> tuple[Decoded, Decoded] | None:
    if view.accepted == view.observed:
        return None
    if isinstance(view.accepted, Decoded) and isinstance(view.observed, Decoded):
        return view.accepted, view.observed
    return None


@invariant("WALK.place", Decode, source="ancfuzz.MalformedControl", reach="hostile")
def _place(view: View) -> str | None:
    """Malformed bytes are reported where they are."""
    both = _decodings(view)
    if both is None or both[0].malformed is None or both[1].malformed is None:
        return None
    expected, said = both[0].malformed.offset, both[1].malformed.offset
    if expected == said:
        return None
    return f"the bytes are malformed at offset {expected}; it says {said}"


@invariant("WALK.stops", Decode, source="net/core/scm.c CMSG_OK", reach="hostile")
def _stops(view: View) -> str | None:
    """The walk stops at a header that cannot be true, with what came before."""
    both = _decodings(view)
    if both is None or both[0].malformed is None or both[1].malformed is not None:
        return None
    whole = sum(
        span.kind == "header" for span in walk(bytes.fromhex(_control(view)), view.abi)
    )
    return (
        f"malformed at offset {both[0].malformed.offset} behind {whole} messages; "
        f"it returned {len(both[1].messages)}, or others"
    )


def _control(view: View) -> str:
    return view.step.control if isinstance(view.step, Decode) else ""


@invariant("WALK.inside", Decode, source="CMSG_NXTHDR")
def _inside(view: View) -> str | None:
    """No payload is longer than the buffer has room for."""
    both = _decodings(view)
    if both is None:
        return None
    room = max(len(_control(view)) // 2 - view.abi.data_offset, 0)
    longest = max((len(m.data) // 2 for m in both[1].messages), default=0)
    if longest <= room:
        return None
    return f"a payload of {longest} bytes out of a buffer with room for {room}"


@invariant("WALK.complete", Decode, source=f"{_RFC}, CMSG_NXTHDR")
def _complete(view: View) -> str | None:
    """Well-formed bytes are read to their end."""
    both = _decodings(view)
    if both is None or both[0].malformed is not None:
        return None
    if both[1].malformed is not None:
        return f"well-formed, and called malformed at {both[1].malformed.offset}"
    expected, read = len(both[0].messages), len(both[1].messages)
    return None if expected == read else f"{expected} messages, {read} were read"


@invariant("ROUND.decode", Decode, source=_CMSG3)
def _decode(view: View) -> str | None:
    """Level, type and data are read as they lie in the bytes."""
    both = _decodings(view)
    if both is None or both[0].malformed or both[1].malformed:
        return None
    if len(both[0].messages) != len(both[1].messages):
        return None
    for index, (expected, read) in enumerate(
        zip(both[0].messages, both[1].messages, strict=True)
    ):
        if expected != read:
            return (
                f"message {index}: expected level {expected.level} type "
                f"{expected.type} data {expected.data or 'empty'}; read level "
                f"{read.level} type {read.type} data {read.data[:80] or 'empty'}"
            )
    return None
