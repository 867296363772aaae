"""The payloads of control messages as values.

One class for each structure that a kernel puts behind a ``cmsghdr`` on a Unix socket,
with the fields under the names that the headers give them, less their prefix.  A value
holds what the structure says and nothing of how it is laid out: the same
:class:`SockCred` is other bytes on FreeBSD and on NetBSD, and ``kinds`` knows which.

Nothing here is checked: a value that no message can carry (a uid of -1, a pid where the
structure has none) is refused by :func:`ancfuzz.messages.build`, which knows the Abi.

This room imports nothing of ancfuzz.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

__all__ = [
    "CmsgCred",
    "Payload",
    "Pidfd",
    "Rights",
    "SecurityLabel",
    "SockCred",
    "SockCred2",
    "Timestamp",
    "Ucred",
    "Unknown",
]


class Rights(Struct, frozen=True):
    """``SCM_RIGHTS``: open file descriptors; unix(7).

    Attributes:
        descriptors: C ints, in order; of a received message, numbers of this process.
        stray: the up to three bytes behind the last whole number, which the kernel
            ignores (S04, ``scm_fp_copy`` in ``net/core/scm.c``).
    """

    descriptors: tuple[int, ...] = ()
    stray: bytes = b""


class Ucred(Struct, frozen=True):
    """``SCM_CREDENTIALS`` of Linux, ``struct ucred``; unix(7)."""

    pid: int
    uid: int
    gid: int


class CmsgCred(Struct, frozen=True):
    """``SCM_CREDS`` of FreeBSD that a sender asked for, ``struct cmsgcred``; unix(4).

    Attributes:
        pid: of the sending process.
        uid: real.
        euid: effective.
        gid: real.
        groups: at most sixteen (``CMGROUP_MAX``).
    """

    pid: int
    uid: int
    euid: int
    gid: int
    groups: tuple[int, ...] = ()


class SockCred(Struct, frozen=True):
    """``SCM_CREDS`` that a receiver asked for, ``struct sockcred``; unix(4).

    With sixteen groups FreeBSD's is as long as a :class:`CmsgCred`, and on a
    little-endian CPU it may be one: no reader can tell the two apart.
    :func:`ancfuzz.messages.parse` says ``CmsgCred``.

    Attributes:
        uid: real.
        euid: effective.
        gid: real.
        egid: effective.
        groups: supplementary groups.
        pid: a number on NetBSD; None on FreeBSD, whose structure has none.
    """

    uid: int
    euid: int
    gid: int
    egid: int
    groups: tuple[int, ...] = ()
    pid: int | None = None


class SockCred2(Struct, frozen=True):
    """``SCM_CREDS2`` of FreeBSD, ``struct sockcred2``; unix(4).

    Attributes:
        pid: of the sending process.
        uid: real.
        euid: effective.
        gid: real.
        egid: effective.
        groups: supplementary groups.
        version: of the structure; 0 is the only one there is.
    """

    pid: int
    uid: int
    euid: int
    gid: int
    egid: int
    groups: tuple[int, ...] = ()
    version: int = 0


class Pidfd(Struct, frozen=True):
    """``SCM_PIDFD`` of Linux: a descriptor that stands for the sending process.

    Attributes:
        descriptor: a number of this process.  A negative one is an errno in its place,
            -24 (``EMFILE``) where the descriptor table was full, and nothing to close
            (R4, ``scm_pidfd_recv``).
    """

    descriptor: int


class SecurityLabel(Struct, frozen=True):
    """``SCM_SECURITY`` of Linux: the sender's label as the security module wrote it."""

    label: bytes


class Timestamp(Struct, frozen=True):
    """``SCM_TIMESTAMP`` and ``SCM_TIMESTAMPNS`` of Linux; socket(7).

    Attributes:
        seconds: since 1970.
        nanoseconds: of a timeval, which counts microseconds, a multiple of 1000.
        structure: ``timeval`` for ``SCM_TIMESTAMP``, ``timespec`` for
            ``SCM_TIMESTAMPNS``.
    """

    seconds: int
    nanoseconds: int
    structure: Literal["timeval", "timespec"] = "timeval"


class Unknown(Struct, frozen=True):
    """A message of any other type, or one whose payload is not what its type says.

    Attributes:
        level: ``cmsg_level``, a C int.
        type: ``cmsg_type``, a C int.
        data: the payload as it is.
    """

    level: int
    type: int
    data: bytes


Payload: TypeAlias = (
    Rights
    | Ucred
    | CmsgCred
    | SockCred
    | SockCred2
    | Pidfd
    | SecurityLabel
    | Timestamp
    | Unknown
)
"""What a control message can say."""
