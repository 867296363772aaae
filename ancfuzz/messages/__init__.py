"""What control messages say: payloads as typed values, for any ABI on any host.

:func:`parse` turns a :class:`ancfuzz.ControlMessage` into a payload, :func:`build`
turns a payload back, :func:`describe` says a message in one line.  Two promises:

* ``build(parse(m, abi), abi) == m`` for every message, byte for byte.  What a typed
  payload could not give back (a length that is not its structure's, padding that is not
  zero, a count that disagrees with the bytes) is :class:`Unknown`, which keeps it all.
* A truncated structure never yields values.  Linux delivers the head of a control
  message that does not fit (R2, ``put_cmsg`` in ``net/core/scm.c``), and readers that
  took what lies behind it for a pid have logged nonsense (syslog-ng 4597, Go 16475).

Not typed, because nobody has verified their layout: times of sparc64 and of systems
other than Linux, and the ``SCM_CREDS`` of macOS.

This room must not know where a message lies in a buffer (``codec``), whether a number
is an open descriptor, or who may claim which pid.  In it, ``payloads`` holds the
values, ``kinds`` the one table of how they are laid out, ``conversion`` the two
directions, ``description`` the words.
"""

from __future__ import annotations

from ancfuzz.messages.conversion import build, parse, type_name
from ancfuzz.messages.description import describe
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
    Unknown,
)

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
    "build",
    "describe",
    "parse",
    "type_name",
]
