"""A case made smaller while it still shows the same.

One pass after another, from the coarse to the fine: fewer steps, fewer messages, fewer
and simpler descriptors, smaller numbers, shorter bytes; again from the start as long as
anything got smaller.  The order is fixed and so is the result; the time is bounded.

This room must not know what a case shows: it asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import asdict, replace

from ancfuzz.case import (
    Case,
    Decode,
    Message,
    NamedRights,
    Open,
    PlainMessage,
    Receive,
    Step,
)
from ancfuzz.codec import decode, encode, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["shrink"]

_ONE_BYTE = "78"
_PLAIN = {"data_capacity": 64}  # what a case says where it does not matter


def shrink(
    case: Case,
    still: Callable[[Case], bool],
    *,
    out_of_time: Callable[[], bool] = lambda: False,
) -> Case:
    """The smallest case found that ``still`` holds for.

    Args:
        case: it holds for this one.
        still: performs a candidate and says whether it shows the same.
        out_of_time: asked between candidates; the best so far is returned.
    """
    improved = True
    while improved and not out_of_time():
        improved = False
        for candidate in _candidates(case):
            if out_of_time():
                break
            if still(candidate):
                case = candidate
                improved = True
                break
    return case


def _candidates(case: Case) -> Iterator[Case]:
    steps = case.steps
    for index, step in enumerate(steps):
        if not isinstance(step, Open):
            yield replace(case, steps=steps[:index] + steps[index + 1 :])
    for index, step in enumerate(steps):
        for simpler in _simpler_steps(step):
            yield replace(case, steps=(*steps[:index], simpler, *steps[index + 1 :]))


def _simpler_steps(step: Step) -> Iterator[Step]:
    fields: dict[str, Any] = asdict(step)
    messages: tuple[Message, ...] = fields.get("messages", ())
    for index, message in enumerate(messages):
        rest = messages[:index], messages[index + 1 :]
        yield replace(step, messages=(*rest[0], *rest[1]))
        for simpler in _simpler_messages(message):
            yield replace(step, messages=(*rest[0], simpler, *rest[1]))
    if isinstance(step, Decode):
        yield from (Decode(control) for control in _rebuilt(step.control))
        yield from (Decode(control) for control in _shorter(step.control))
    if fields.get("flags"):
        yield replace(step, flags=())
    if len(fields.get("data", "")) > len(_ONE_BYTE):
        yield replace(step, data=_ONE_BYTE)
        unit, star, times = fields["data"].partition("*")
        for fewer in _smaller(int(times), 1) if star else ():
            yield replace(step, data=f"{unit}*{fewer}")
    for name in ("capacity", "control_capacity", "data_capacity", "misaligned", "fill"):
        if name in fields:
            for smaller in _smaller(fields[name], _PLAIN.get(name, 0)):
                yield replace(step, **{name: smaller})
    if isinstance(step, Open) and step.kind != "stream":
        yield Open("stream")
    if isinstance(step, Receive) and step.data_capacity < _PLAIN["data_capacity"]:
        yield replace(step, data_capacity=_PLAIN["data_capacity"])


def _rebuilt(control: str) -> Iterator[str]:
    """The buffer without one of its whole messages, or with one that is shorter.

    What lies behind the last whole message, a fault perhaps, stays as it is.
    """
    whole = bytes.fromhex(control)
    bounds: dict[int, tuple[int, int]] = {}
    for span in walk(whole):
        if span.kind in ("header", "data", "padding"):
            start = bounds.get(span.message, (span.start, 0))[0]
            bounds[span.message] = start, span.stop
    for start, stop in bounds.values():
        before, behind = whole[:start], whole[stop:]
        yield (before + behind).hex()
        (message,) = decode(whole[start:stop])
        for size in _smaller(len(message.data), 0):
            shorter = replace(message, data=bytes(size))
            yield (before + encode([shorter]) + behind).hex()


def _simpler_messages(message: Message) -> Iterator[Message]:
    match message:
        case NamedRights():
            names = message.names()
            for count in _smaller(len(names), 0):
                yield replace(message, descriptors=names[:count])
            if message.stray:
                yield replace(message, stray="")
            plain = tuple(
                "memfd" if n == 0 else f"memfd#{n}" for n in range(len(names))
            )
            if plain not in (names, message.descriptors):
                yield replace(message, descriptors=plain)
        case PlainMessage():
            for data in _shorter(message.data):
                yield replace(message, data=data)
            if message.data.strip("0"):
                yield replace(message, data="0" * len(message.data))
        case _:
            pass


def _smaller(value: int, floor: int) -> Iterator[int]:
    """Smaller values, the smallest first."""
    if value > floor:
        yield floor
        half = (value + floor) // 2
        if half not in (floor, value):
            yield half
        if value - 1 not in (floor, half):
            yield value - 1


def _shorter(data: str) -> Iterator[str]:
    """Fewer bytes, from either end."""
    size = len(data) // 2
    for count in _smaller(size, 0):
        yield data[: 2 * count]
    if size > 1:
        yield data[2 * (size // 2) :]
