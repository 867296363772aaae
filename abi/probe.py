"""What the headers of a target say, and what our tables say of the same.

Three steps that know nothing of each other's insides: :func:`questions` writes the C
that asks (what ``probe.c`` includes), :func:`answers` reads what an object file says,
:func:`compare` looks for the differences.  Nothing is run, so that a target's word is
as good from any machine.

What is asked follows from our own values: every constant that any target has is asked
of every target, so that a name which a header defines and our row lacks is a difference
too; a constant that the header does not define is counted and named, for it was not
verified.  Everything else has to be there.

The invariant: a value that was compared was read from the object; none is derived.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, NamedTuple

from ancfuzz.abi import ABIS, Abi
from ancfuzz.codec import ControlMessage, encode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PAYLOADS = (*range(65), 253 * 4)
"""Payload sizes for CMSG_LEN and CMSG_SPACE: each edge of each alignment, and 253."""

# What probe.c writes as a header too, so that it is seen in the CPU's own byte order.
_SAMPLE = ControlMessage(0x11121314, 0x21222324, b"")
_HEADER = re.compile(rb"ANCHEADERBEGINS\0(.{1,64}?)ANCHEADER__ENDS\0", re.DOTALL)
_VALUE = re.compile(rb"ANCVALUE([^\0]{1,79})\0+([+-])(\d{19});")
_END = "sizeof(char)"  # probe.c's last question: who reads it has read them all
WORD = "sizeof(void *)"
"""What is asked but not compared: the word size, for who wants to run something."""


class Difference(NamedTuple):
    """One fact that the headers and we disagree about; None: no such thing."""

    target: str
    what: str
    headers: int | str | None
    ours: int | str | None


class Comparison(NamedTuple):
    """What was compared for one target.

    Attributes:
        constants: how many, by value.
        layout: how many sizes, offsets and results of macros.
        undefined: our constants that the header does not define: not verified.
        differences: what both sides say, where it is not the same.
    """

    constants: int
    layout: int
    undefined: tuple[str, ...]
    differences: tuple[Difference, ...]


class _Structure(NamedTuple):
    """A structure of ``Abi.structs`` as C declares it."""

    type: str
    members: tuple[str, ...]  # who has fewer lacks the first of them, or the groups
    size: str = ""  # the macro for its size, where group ids follow


_IDS = ("sc_uid", "sc_euid", "sc_gid", "sc_egid", "sc_ngroups")
_CMCRED = ("pid", "uid", "euid", "gid", "ngroups", "groups")
_STRUCTURES: Mapping[str, _Structure] = {
    "ucred": _Structure("struct ucred", ("pid", "uid", "gid")),
    "cmsgcred": _Structure(
        "struct cmsgcred", tuple(f"cmcred_{name}" for name in _CMCRED)
    ),
    "sockcred": _Structure("struct sockcred", ("sc_pid", *_IDS), "SOCKCREDSIZE"),
    "sockcred2": _Structure(
        "struct sockcred2", ("sc_version", "sc_pid", *_IDS), "SOCKCRED2SIZE"
    ),
    "timeval": _Structure("struct timeval", ("tv_sec", "tv_usec")),
    "timespec": _Structure("struct timespec", ("tv_sec", "tv_nsec")),
}
_FRACTIONS = {"tv_usec", "tv_nsec"}


def _names() -> list[str]:
    return sorted({name for abi in ABIS.values() for name in abi.constants})


def questions(abi: Abi) -> dict[str, str]:
    """What ``probe.c`` is to ask the headers of one target, by the name of the file."""
    constants = (
        f"#if defined {name} && !defined SAID_{name}\n"
        f"#define SAID_{name}\nVALUE({name})\n#endif\n"
        for name in _names()
    )
    layout = (f"VALUE({expression})\n" for expression in (*_layout(abi), WORD))
    level, type_ = _SAMPLE.level, _SAMPLE.type
    sample = (
        f"{{.cmsg_len = CMSG_LEN(0), .cmsg_level = {level}, .cmsg_type = {type_}}}\n"
    )
    return {
        "constants.h": "".join(constants),
        "layout.h": "".join(layout),
        "header.h": sample,
    }


def expected(abi: Abi) -> dict[str, int]:
    """Our values for everything but constants, by what they are of."""
    return _layout(abi) | _bytes_of(encode([_SAMPLE], abi)[: abi.header_size])


def _layout(abi: Abi) -> dict[str, int]:
    """Those that are the value of a C expression, by that."""
    ours = {
        "IS_BIG_ENDIAN": int(abi.byte_order == "big"),
        "sizeof(struct cmsghdr)": abi.header_size,
        "offsetof(struct cmsghdr, cmsg_len)": abi.length_offset,
        "WIDTH(struct cmsghdr, cmsg_len)": abi.length_size,
        "IS_SIGNED(struct cmsghdr, cmsg_len)": 0,
        "offsetof(struct cmsghdr, cmsg_level)": abi.level_offset,
        "WIDTH(struct cmsghdr, cmsg_level)": 4,
        "IS_SIGNED(struct cmsghdr, cmsg_level)": 1,
        "offsetof(struct cmsghdr, cmsg_type)": abi.type_offset,
        "WIDTH(struct cmsghdr, cmsg_type)": 4,
        "IS_SIGNED(struct cmsghdr, cmsg_type)": 1,
        "DATA_OFFSET": abi.data_offset,
    }
    for size in PAYLOADS:
        ours[f"CMSG_LEN({size})"] = abi.cmsg_len(size)
        ours[f"CMSG_SPACE({size})"] = abi.cmsg_space(size)
    for name, layout in abi.structs.items():
        ours |= _expected_of(_STRUCTURES[name], layout, abi)
    return ours


def _bytes_of(header: bytes) -> dict[str, int]:
    return {f"header byte {at}": byte for at, byte in enumerate(header)}


def _expected_of(structure: _Structure, layout: str, abi: Abi) -> dict[str, int]:
    """Our values for one structure of payloads."""
    size = struct.calcsize(f"={layout}")
    fields = list(_fields(layout))
    declared = structure.members[-len(fields) :]
    ours: dict[str, int] = {}
    for member, one in zip(declared, fields, strict=True):
        where = f"{structure.type}, {member}"
        if member in _FRACTIONS:
            # A long may stand in a field of 64 bits.
            end = one.at + one.width if abi.byte_order == "big" else one.at
            ours[f"LOW_END({where})"] = end
        else:
            ours[f"offsetof({where})"] = one.at
            ours[f"WIDTH({where})"] = one.width
        element = f"{where}[0]" if one.elements > 1 else where
        ours[f"IS_SIGNED({element})"] = int(one.is_signed)
    if structure.size:
        ours[f"offsetof({structure.type}, sc_groups)"] = size
        for groups in (1, 2, 16):
            ours[f"{structure.size}({groups})"] = size + 4 * groups
    else:
        ours[f"sizeof({structure.type})"] = size
    return ours


class _Field(NamedTuple):
    """A field of a struct format; an array is one field, of several elements."""

    at: int
    width: int
    elements: int
    is_signed: bool


def _fields(layout: str) -> Iterator[_Field]:
    at = 0
    for part in re.finditer(r"(\d*)([a-zA-Z])", layout):
        count, letter = part.groups()
        width = struct.calcsize(f"={part[0]}")
        if letter != "x":
            yield _Field(at, width, int(count or 1), letter.islower())
        at += width


def answers(image: bytes) -> dict[str, int]:
    """Every value that an object file of ``probe.c`` holds, by what it is of.

    Raises:
        ValueError: not all of them are there.
    """
    found = {
        expression.decode(): int(sign + digits)
        for expression, sign, digits in _VALUE.findall(image)
    }
    if header := _HEADER.search(image):
        found |= _bytes_of(header[1])
    if found.pop(_END, None) != 1:
        raise ValueError(f"{len(image)} bytes of object file without all values")
    return found


def compare(abi: Abi, found: Mapping[str, int]) -> Comparison:
    """Where the headers of a target say something else than our tables."""
    layout = expected(abi)
    undefined = tuple(name for name in sorted(abi.constants) if name not in found)
    asked = [name for name in _names() if name in found]
    ours: dict[str, int | None] = {name: abi.constants.get(name) for name in asked}
    ours |= layout
    return Comparison(
        constants=len(asked),
        layout=len(layout),
        undefined=undefined,
        differences=tuple(
            Difference(abi.name, what, found.get(what), value)
            for what, value in ours.items()
            if found.get(what) != value
        ),
    )
