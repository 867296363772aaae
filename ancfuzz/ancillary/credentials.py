"""A process as its peer may know it: a pid, a uid and a gid.

Each system that passes credentials has a structure of its own for them, some with more
fields than these three.  :data:`_CHOICES` says which of them these are; what the
structures look like is the business of ``messages``.

Where a structure has real and effective ids, both are written, since a zero left in one
would claim to be root's.  One of them is read: the effective ids on FreeBSD, the real
ones on NetBSD, as Rust's standard library has it.

Values are not validated here.  Who may claim to be whom the kernel decides when the
message is sent (S10, ``scm_check_creds`` in ``net/core/scm.c``; unix(7)).
"""

from __future__ import annotations

import os
import struct
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, Self, cast

import msgspec

from ancfuzz.abi import NATIVE, Abi
from ancfuzz.codec import ControlMessage
from ancfuzz.errors import EnvironmentUnsupported
from ancfuzz.messages.kinds import KINDS, form_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Buffer

__all__ = [
    "SocketCred",
    "credentials_message",
    "credentials_type",
    "read_credentials",
]

_GROUP = 4  # sizeof(gid_t), everywhere
_NOBODY_IN_PARTICULAR = 2**32 - 1  # (uid_t)-1, which no user has


class _Choice(NamedTuple):
    """How one system sends credentials; the first that an Abi has is its own."""

    type: str
    structure: str
    read: tuple[str, str, str]


_CHOICES = (
    _Choice("SCM_CREDENTIALS", "ucred", ("pid", "uid", "gid")),
    _Choice("SCM_CREDS2", "sockcred2", ("pid", "euid", "egid")),
    _Choice("SCM_CREDS", "sockcred", ("pid", "uid", "gid")),
)


class _Layout(NamedTuple):
    """A choice as one Abi has it."""

    type: int
    fixed: struct.Struct
    size: int
    fields: tuple[str, ...]
    choice: _Choice

    def ids(self, values: tuple[int, ...]) -> tuple[int, ...]:
        """Of the fields, the three that a :class:`SocketCred` has."""
        return tuple(values[self.fields.index(name)] for name in self.choice.read)

    def groups(self, values: tuple[int, ...]) -> int:
        """Bytes of group ids behind the fixed part; there is room for one at least."""
        return _GROUP * max(values[-1], 1) if "ngroups" in self.fields else 0


@lru_cache(maxsize=128)
def _layout(abi: Abi) -> _Layout | None:
    for choice in _CHOICES:
        kind = next(k for k in KINDS if (k.name, k.layout) == choice[:2])
        form = form_of(kind, abi)
        if form is not None:
            size = form.fixed.size + _GROUP * ("ngroups" in form.names)
            return _Layout(form.type, form.fixed, size, form.names, choice)
    return None


def _known_layout(abi: Abi) -> _Layout:
    layout = _layout(abi)
    if layout is None:
        raise EnvironmentUnsupported(
            f"credentials cannot be passed in the layout {abi.name}: expected one with "
            + ", ".join(f"{one.type} and {one.structure}" for one in _CHOICES)
        )
    return layout


def credentials_type(abi: Abi) -> int | None:
    """``cmsg_type`` of credentials, or None if the Abi has none."""
    layout = _layout(abi)
    return None if layout is None else layout.type


class SocketCred(msgspec.Struct, frozen=True):
    """Credentials, to be sent or as they came.

    Attributes:
        pid: of a process, as its receiver sees it; 0 if it sees none.
        uid: -1 stands for ``(uid_t)-1``.
        gid: as uid.
    """

    pid: int = 0
    uid: int = 0
    gid: int = 0

    @classmethod
    def current(cls) -> Self:
        """This process, with its real ids: what the kernel itself would attach."""
        return cls(os.getpid(), os.getuid(), os.getgid())

    def encode(self, abi: Abi = NATIVE) -> bytes:
        """Lay the structure out that this Abi passes credentials in.

        Returns:
            As many bytes as the structure has; a list of groups is empty, with room
            for one.

        Raises:
            EnvironmentUnsupported: the Abi has no such structure.
            ValueError: a value does not fit into its field.
        """
        layout = _known_layout(abi)
        uid = _NOBODY_IN_PARTICULAR if self.uid == -1 else self.uid
        gid = _NOBODY_IN_PARTICULAR if self.gid == -1 else self.gid
        known = {"pid": self.pid, "uid": uid, "euid": uid, "gid": gid, "egid": gid}
        values = [known.get(name, 0) for name in layout.fields]
        try:
            packed = layout.fixed.pack(*values)
        except struct.error:
            raise ValueError(
                f"cannot encode {self}: expected a C int for pid, and 32 bits without "
                "sign for uid and gid"
            ) from None
        return packed.ljust(layout.size, b"\0")

    @classmethod
    def decode(cls, data: Buffer, abi: Abi = NATIVE) -> Self:
        """Read the first structure of a payload.

        Raises:
            EnvironmentUnsupported: the Abi has no such structure.
            ValueError: there are fewer bytes than the structure has fields for.
        """
        layout = _known_layout(abi)
        view = memoryview(data)
        if view.nbytes < layout.fixed.size:
            raise ValueError(
                f"{view.nbytes} bytes are no {layout.choice.structure}: "
                f"expected {layout.fixed.size} at least"
            )
        return cls(*layout.ids(layout.fixed.unpack_from(view)))


def credentials_message(creds: Iterable[SocketCred], abi: Abi) -> ControlMessage:
    """A message of any number of credentials.

    Raises:
        EnvironmentUnsupported: the Abi has no structure for them.
        TypeError: something is no SocketCred.
        ValueError: a value does not fit into its field.
    """
    layout = _known_layout(abi)
    creds = tuple(creds)
    for one in creds:
        if not isinstance(cast("object", one), SocketCred):
            raise TypeError(f"cannot add {one!r}: expected credentials, a SocketCred")
    payload = b"".join([one.encode(abi) for one in creds])
    return ControlMessage(abi.constants["SOL_SOCKET"], layout.type, payload)


def read_credentials(data: bytes, abi: Abi) -> tuple[SocketCred, ...]:
    """All the credentials of a payload; a short rest at its end is left out.

    Raises:
        EnvironmentUnsupported: the Abi has no structure for them.
    """
    layout = _known_layout(abi)
    found: list[SocketCred] = []
    at = 0
    while len(data) - at >= layout.fixed.size:
        values = layout.fixed.unpack_from(data, at)
        found.append(SocketCred(*layout.ids(values)))
        at += layout.fixed.size + layout.groups(values)
    return tuple(found)
