"""The layout of control messages as a value.

An :class:`Abi` says where a target keeps the fields of ``struct cmsghdr``, how it
aligns, which numbers its headers give to ``SCM_RIGHTS`` and the rest, and what its
credential structures look like.  It is a value and not a property of the host, so that
a big-endian 32-bit buffer can be written, read and fuzzed anywhere.

The arithmetic is the whole of RFC 3542's macros:

    CMSG_LEN(n)   = data_offset + n
    CMSG_SPACE(n) = data_offset + align(n)

``data_offset`` is a field of its own, and not ``align(header_size)`` computed here:
what the headers of each target were compiled to say is in ``abi_table``, and what it
says was checked, not derived.

This room must not know what bytes are in a buffer (``codec``), what a payload means
(``messages``) or how a socket is made.  It asks the host for one thing, its name.
"""

from __future__ import annotations

import os
import struct
import sys
from dataclasses import dataclass, field, fields
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from ancfuzz import abi_table

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ABIS", "NATIVE", "Abi"]


class _Printer(Protocol):
    def text(self, text: str, /) -> object: ...


HeaderFormat: TypeAlias = tuple[struct.Struct, int, int, int, int]


@dataclass(frozen=True)
class Abi:
    """How one target lays control messages out.

    All sizes and offsets are in bytes.

    Attributes:
        name: the target triple, or the compiler that said so.
        byte_order: of every integer in the header and in the payloads.
        header_size: ``sizeof(struct cmsghdr)``.
        length_offset: where ``cmsg_len`` begins; 4 on a big-endian 64-bit musl.
        length_size: width of ``cmsg_len`` as userspace declares it: 4 on every musl and
            BSD, although a 64-bit Linux kernel reads 8 (musl pads with zero).
        level_offset: where ``cmsg_level`` begins.
        type_offset: where ``cmsg_type`` begins.
        alignment: the unit of ``CMSG_ALIGN``.
        data_offset: ``CMSG_LEN(0)``: from the start of a header to its data.
        constants: what the target's headers call ``SOL_SOCKET``, ``SCM_*``, ``MSG_*``,
            ``SO_*``; on Linux also what the kernel defines and an older libc does not.
        structs: credentials and times as :mod:`struct` formats without byte order.
        max_descriptors: most descriptors in one ``sendmsg``; None: nobody verified it.
        provenance: where these values come from.
        header_format: worked out from the rest for a codec: ``struct cmsghdr`` as
            :mod:`struct` reads it (length, level, type), its size, ``CMSG_LEN(0)``, and
            what aligns a size: what to add, and the mask.
    """

    name: str
    byte_order: Literal["little", "big"]
    header_size: int
    length_offset: int
    length_size: int
    level_offset: int
    type_offset: int
    alignment: int
    data_offset: int
    # Left out of the hash, for mappings have none; equality still looks at them.
    constants: Mapping[str, int] = field(default_factory=dict[str, int], hash=False)
    structs: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    max_descriptors: int | None = None
    provenance: str = "made by hand"
    # A field of the instance and a plain tuple, for every decode begins with it: the
    # lookup of a cached property and the unpacking of a named tuple each take as long
    # as reading a header.
    header_format: HeaderFormat = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse a layout that no header could have.

        Raises:
            ValueError: an alignment that is no power of two, data that does not begin
                on it, or fields that overlap.
        """
        if self.alignment < 1 or self.alignment & (self.alignment - 1):
            raise ValueError(f"alignment {self.alignment} is not a power of two")
        if self.length_size not in (4, 8):
            raise ValueError(f"length_size is {self.length_size}: expected 4 or 8")
        if self.byte_order not in ("little", "big"):
            raise ValueError(f"byte_order {self.byte_order!r}: expected little or big")
        length_stop = self.length_offset + self.length_size
        if not (
            self.length_offset >= 0
            and length_stop <= self.level_offset
            and self.level_offset + 4 == self.type_offset
            and self.type_offset + 4 <= self.header_size <= self.data_offset
        ):
            raise ValueError(f"the header fields of {self.name} overlap or leave it")
        # CMSG_NXTHDR aligns cmsg_len, CMSG_SPACE aligns what is behind data_offset:
        # they name the same byte only if data_offset is aligned itself.
        if self.data_offset % self.alignment:
            raise ValueError(
                f"data_offset {self.data_offset} of {self.name} is not a multiple of "
                f"its alignment {self.alignment}"
            )
        object.__setattr__(self, "header_format", self._header_format())

    def _header_format(self) -> HeaderFormat:
        length = {4: "I", 8: "Q"}[self.length_size]
        before_level = self.level_offset - self.length_offset - self.length_size
        behind_type = self.header_size - self.type_offset - 4
        header = struct.Struct(
            f"{self.struct_order}{self.length_offset}x{length}"
            f"{before_level}xii{behind_type}x"
        )
        size, aligned = self.header_size, self.alignment
        return header, size, self.data_offset, aligned - 1, -aligned

    @property
    def header(self) -> struct.Struct:
        """``struct cmsghdr`` as :mod:`struct` reads it: length, level, type."""
        return self.header_format[0]

    def __repr__(self) -> str:
        if ABIS.get(self.name) == self:
            return f"ABIS[{self.name!r}]"
        values = self._values().items()
        return f"Abi({', '.join(f'{name}={value!r}' for name, value in values)})"

    def _values(self) -> dict[str, Any]:
        """What it was made of, by name."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.init}

    def _repr_pretty_(self, printer: _Printer, _cycle: bool) -> None:
        # IPython's protocol, and Hypothesis's: both would print a dataclass by fields.
        printer.text(repr(self))

    def __reduce__(self) -> tuple[object, ...]:
        # Mapping proxies and compiled formats do not pickle, and a worker process has
        # to be able to send home an error, a case or an argument that holds an Abi.
        if ABIS.get(self.name) == self:
            return _known, (self.name,)
        values = self._values()
        values |= {"constants": dict(self.constants), "structs": dict(self.structs)}
        return partial(Abi, **values), ()

    def align(self, n: int) -> int:
        """``CMSG_ALIGN``: the smallest multiple of :attr:`alignment` not below n."""
        return (n + self.alignment - 1) & -self.alignment

    def cmsg_len(self, n: int) -> int:
        """``CMSG_LEN``: what ``cmsg_len`` holds for n payload bytes."""
        return self.data_offset + n

    def cmsg_space(self, n: int) -> int:
        """``CMSG_SPACE``: bytes that a message of n payload bytes takes, padded."""
        return self.data_offset + self.align(n)

    @property
    def struct_order(self) -> str:
        """The byte order as :mod:`struct` spells it: ``<`` or ``>``."""
        return "<" if self.byte_order == "little" else ">"


def _from_row(row: abi_table.Row) -> Abi:
    layout = abi_table.LAYOUTS[row.layout]
    return Abi(
        name=row.target,
        byte_order=row.byte_order,
        **layout._asdict(),
        constants=abi_table.constants(row),
        structs=abi_table.structs(row),
        max_descriptors=abi_table.max_descriptors(row),
        provenance=row.provenance,
    )


ABIS: Mapping[str, Abi] = MappingProxyType(
    {row.target: _from_row(row) for row in abi_table.ROWS}
)
"""Every layout that was verified by compiling the target's own headers."""


def _known(name: str) -> Abi:
    return ABIS[name]


def _native_name() -> str:
    """The name under which this host would stand in :data:`ABIS`."""
    # Linux builds carry their multiarch name: the only thing that tells musl from glibc
    # and x32 from x86-64 without loading a library.
    multiarch: str = getattr(sys.implementation, "_multiarch", "")
    if multiarch:
        return abi_table.MULTIARCH.get(multiarch, multiarch)
    machine = os.uname().machine if hasattr(os, "uname") else ""
    return abi_table.MACHINES.get((sys.platform.rstrip("0123456789"), machine), machine)


def _native() -> Abi:
    name = _native_name()
    if name in ABIS:
        return ABIS[name]
    # A host that nobody has verified: assume the layout of its word size, and say so.
    word = struct.calcsize("P")
    layout = abi_table.LAYOUTS[{4: "ilp32", 8: "lp64"}[word]]
    return Abi(
        name=name or sys.platform,
        byte_order=sys.byteorder,
        **layout._asdict(),
        provenance=f"assumed from a word of {word} bytes: not a verified target",
    )


NATIVE: Abi = _native()
"""The layout of the host that this process runs on."""
