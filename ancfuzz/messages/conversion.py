"""Payloads out of control messages and back.

Both directions look in the one table (``kinds``) for what the Abi has; what it has is
worked out once for each Abi.

The invariant: ``build(parse(m, abi), abi) == m`` for every message.

This room must not know what any payload looks like.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from ancfuzz.abi import NATIVE, Abi
from ancfuzz.codec import ControlMessage
from ancfuzz.messages.kinds import KINDS, Form, form_of, misfit
from ancfuzz.messages.payloads import Payload, Unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["build", "parse", "type_name"]

_LEVEL = "SOL_SOCKET"  # of everything that a Unix socket carries


@lru_cache(maxsize=256)
def _forms(abi: Abi) -> tuple[Form, ...]:
    if _LEVEL not in abi.constants:
        return ()
    forms = (form_of(kind, abi) for kind in KINDS)
    return tuple(form for form in forms if form is not None)


@lru_cache(maxsize=256)
def _forms_by_name(abi: Abi) -> Mapping[tuple[int, int], tuple[Form, ...]]:
    forms = _forms(abi)
    return {
        (abi.constants[_LEVEL], type_): tuple(
            form for form in forms if form.type == type_
        )
        for type_ in {form.type for form in forms}
    }


@lru_cache(maxsize=256)
def _type_names(abi: Abi) -> Mapping[tuple[int, int], str]:
    return {
        (abi.constants[_LEVEL], value): name
        for name, value in abi.constants.items()
        if name.startswith("SCM_") and _LEVEL in abi.constants
    }


def type_name(level: int, type: int, abi: Abi = NATIVE) -> str | None:
    """What the Abi's headers call this type: ``SCM_RIGHTS``; None if they do not."""
    return _type_names(abi).get((level, type))


def parse(message: ControlMessage, abi: Abi = NATIVE) -> Payload:
    """Read what a control message says.

    Never raises: what is not exactly a payload of the message's type, because it is
    truncated, is :class:`Unknown`.

    Args:
        message: as :func:`ancfuzz.decode` returns it.
        abi: the layout that it was decoded with.
    """
    level, type_, data = message.level, message.type, message.data
    for form in _forms_by_name(abi).get((level, type_), ()):
        payload = form.kind.read(form, data)
        if payload is not None:
            return payload
    return Unknown(level, type_, data)


def build(payload: Payload, abi: Abi = NATIVE) -> ControlMessage:
    """Write a payload as a control message.

    The reverse of :func:`parse`, with two exceptions: :class:`Unknown` is written as it
    is, so that any bytes can be sent under any type, and a :class:`SockCred` of sixteen
    groups may read back as a :class:`CmsgCred`.

    Args:
        payload: any value of ``ancfuzz.messages``.
        abi: the layout.

    Raises:
        ValueError: a field does not fit into its structure, or the Abi has no such
            structure.
    """
    if isinstance(payload, Unknown):
        if fault := misfit("ii", ("level", "type"), (payload.level, payload.type)):
            raise ValueError(f"cannot build Unknown: {fault}")
        return ControlMessage(payload.level, payload.type, payload.data)
    for form in _forms(abi):
        # A class of several structures says which one it is.
        structure = getattr(payload, "structure", form.kind.layout)
        if form.kind.payload is type(payload) and form.kind.layout == structure:
            data = form.kind.write(form, payload)
            return ControlMessage(abi.constants[_LEVEL], form.type, data)
    known = sorted({form.kind.payload.__name__ for form in _forms(abi)})
    raise ValueError(
        f"cannot build {type(payload).__name__} for {abi.name}: it has "
        f"{', '.join(known) or 'nothing'}, and Unknown"
    )
