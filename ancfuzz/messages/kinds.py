"""The one table of payloads: what each is called, and how it is laid out.

A row of :data:`KINDS` names a type and a structure, and says how to read and write it.
An Abi has the kind if its constants name the type and its structs hold the structure:
no code here knows one system from another, and a new target is a new row of
``abi_table``.

Of rows with one type the first that can read a payload does.  Reading is strict: it
takes exactly the bytes that writing would make, and else gives None.

This room must not know what a value is good for, nor say it in words.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from ancfuzz.messages.payloads import (
    CmsgCred,
    Payload,
    Pidfd,
    Rights,
    SecurityLabel,
    SockCred,
    SockCred2,
    Timestamp,
    Ucred,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ancfuzz.abi import Abi

__all__ = ["KINDS", "Form", "Kind", "form_of", "misfit"]

# What no target lays out in a way of its own.
_EVERYWHERE = {"int": "i", "bytes": ""}


class Form(NamedTuple):
    """A kind as one Abi lays it out."""

    kind: Kind
    abi: Abi
    type: int
    layout: str
    fixed: struct.Struct
    width: int  # values in the fixed part
    names: tuple[str, ...]

    def pack(self, layout: str, names: Sequence[str], values: Sequence[Any]) -> bytes:
        """Pack values, or say which of them does not fit into its field."""
        try:
            return struct.pack(self.abi.struct_order + layout, *values)
        except struct.error:
            raise self.error(str(misfit(layout, names, values))) from None

    def error(self, why: str) -> ValueError:
        """The error of a payload that cannot be built."""
        told = f"cannot build {self.kind.payload.__name__} for {self.abi.name}"
        return ValueError(f"{told}: {why}")


class Kind(NamedTuple):
    """A row: what a type is called, how its payload lies, how to read and write it."""

    name: str
    layout: str
    payload: type[Any]  # one of Payload
    names: tuple[str, ...]  # a structure that has fewer fields lacks the first of them
    read: Callable[[Form, bytes], Payload | None]
    write: Callable[[Form, Any], bytes]


def misfit(layout: str, names: Sequence[str], values: Sequence[Any]) -> str | None:
    """What is wrong with the first value that its field in a structure cannot hold."""
    codes = "".join(
        code * int(times or 1)
        for times, code in re.findall(r"(\d*)([a-wyzA-Z])", layout)
    )
    for name, code, value in zip(names, codes, values, strict=True):
        bits = 8 * struct.calcsize(f"={code}")
        low = -(1 << bits - 1) if code.islower() else 0
        high = low + (1 << bits) - 1
        if not (isinstance(value, int) and low <= value <= high):
            return f"{name} is {value!r}, expected {low} to {high}"
    return None


def _read_rights(form: Form, data: bytes) -> Rights:
    whole, stray = divmod(len(data), form.fixed.size)
    layout = f"{form.abi.struct_order}{whole}{form.layout}"
    return Rights(struct.unpack_from(layout, data), data[len(data) - stray :])


def _write_rights(form: Form, rights: Rights) -> bytes:
    most = form.fixed.size - 1
    if len(rights.stray) > most:
        raise form.error(f"{len(rights.stray)} stray bytes, expected at most {most}")
    count = len(rights.descriptors)
    names = _indexed("descriptors", count)
    return form.pack(f"{count}i", names, rights.descriptors) + rights.stray


def _read_label(_: Form, data: bytes) -> SecurityLabel:
    return SecurityLabel(data)


def _write_label(_: Form, label: SecurityLabel) -> bytes:
    return label.label


def _read_fields(form: Form, data: bytes) -> Payload | None:
    if len(data) != form.fixed.size:
        return None
    payload: Payload = form.kind.payload(*form.fixed.unpack(data))
    return payload


def _write_fields(form: Form, payload: Ucred | Pidfd) -> bytes:
    return form.pack(form.layout, form.names, _values(form, payload))


def _values(form: Form, payload: Payload, count: int = 0) -> list[Any]:
    """The fixed fields of a payload, in the order of its structure."""
    return [
        count if name == "ngroups" else getattr(payload, name) for name in form.names
    ]


def _indexed(name: str, count: int) -> tuple[str, ...]:
    return tuple(f"{name}[{index}]" for index in range(count))


def _read_sockcred(form: Form, data: bytes) -> Payload | None:
    if len(data) < form.fixed.size:
        return None
    values = form.fixed.unpack_from(data)
    fields: dict[str, Any] = dict(zip(form.names, values, strict=True))
    count = fields.pop("ngroups")
    groups = data[form.fixed.size :]
    if len(groups) != count * 4:
        return None
    layout = f"{form.abi.struct_order}{count}I"
    payload: Payload = form.kind.payload(**fields, groups=struct.unpack(layout, groups))
    return payload


def _write_sockcred(form: Form, payload: SockCred | SockCred2) -> bytes:
    if payload.pid is not None and "pid" not in form.names:
        raise form.error(f"pid is {payload.pid}, expected None: no such field")
    count = len(payload.groups)
    names = form.names + _indexed("groups", count)
    values = [*_values(form, payload, count), *payload.groups]
    return form.pack(f"{form.layout}{count}I", names, values)


def _read_cmsgcred(form: Form, data: bytes) -> CmsgCred | None:
    if len(data) != form.fixed.size:
        return None
    pid, uid, euid, gid, count, *slots = form.fixed.unpack(data)
    credentials = CmsgCred(pid, uid, euid, gid, tuple(slots[: max(count, 0)]))
    # The kernel clears what it does not fill: other bytes are no cmsgcred.
    return credentials if _write_cmsgcred(form, credentials) == data else None


def _write_cmsgcred(form: Form, credentials: CmsgCred) -> bytes:
    count = len(credentials.groups)
    slots = form.width - len(form.names)
    if count > slots:
        raise form.error(f"{count} groups, expected at most {slots}")
    names = form.names + _indexed("groups", slots)
    unused = [0] * (slots - count)
    values = [*_values(form, credentials, count), *credentials.groups, *unused]
    return form.pack(form.layout, names, values)


# Nanoseconds in a unit of the second field.
_UNITS: Mapping[str, int] = {"timeval": 1000, "timespec": 1}


def _read_time(form: Form, data: bytes) -> Timestamp | None:
    if len(data) != form.fixed.size:
        return None
    seconds, fraction = form.fixed.unpack(data)
    structure: Any = form.kind.layout
    return Timestamp(seconds, fraction * _UNITS[structure], structure)


def _write_time(form: Form, time: Timestamp) -> bytes:
    fraction, rest = divmod(time.nanoseconds, _UNITS[time.structure])
    if rest:
        raise form.error(
            f"nanoseconds is {time.nanoseconds}, expected whole microseconds"
        )
    return form.pack(form.layout, form.names, (time.seconds, fraction))


_IDS = ("uid", "euid", "gid", "egid", "ngroups")

KINDS: tuple[Kind, ...] = (
    Kind("SCM_RIGHTS", "int", Rights, (), _read_rights, _write_rights),
    Kind(
        "SCM_CREDENTIALS",
        "ucred",
        Ucred,
        ("pid", "uid", "gid"),
        _read_fields,
        _write_fields,
    ),
    Kind(
        "SCM_CREDS",
        "cmsgcred",
        CmsgCred,
        ("pid", "uid", "euid", "gid", "ngroups"),
        _read_cmsgcred,
        _write_cmsgcred,
    ),
    Kind(
        "SCM_CREDS",
        "sockcred",
        SockCred,
        ("pid", *_IDS),
        _read_sockcred,
        _write_sockcred,
    ),
    Kind(
        "SCM_CREDS2",
        "sockcred2",
        SockCred2,
        ("version", "pid", *_IDS),
        _read_sockcred,
        _write_sockcred,
    ),
    Kind("SCM_PIDFD", "int", Pidfd, ("descriptor",), _read_fields, _write_fields),
    Kind("SCM_SECURITY", "bytes", SecurityLabel, (), _read_label, _write_label),
    Kind(
        "SCM_TIMESTAMP",
        "timeval",
        Timestamp,
        ("seconds", "microseconds"),
        _read_time,
        _write_time,
    ),
    Kind(
        "SCM_TIMESTAMPNS",
        "timespec",
        Timestamp,
        ("seconds", "nanoseconds"),
        _read_time,
        _write_time,
    ),
)
"""Every payload that has a type of its own; :class:`Unknown` is all the others."""


def form_of(kind: Kind, abi: Abi) -> Form | None:
    """How an Abi lays out a kind, or None if it has no such thing."""
    type_ = abi.constants.get(kind.name)
    layout = _EVERYWHERE.get(kind.layout, abi.structs.get(kind.layout))
    if type_ is None or layout is None:
        return None
    fixed = struct.Struct(abi.struct_order + layout)
    width = len(fixed.unpack(bytes(fixed.size)))
    return Form(kind, abi, type_, layout, fixed, width, kind.names[-width:])
