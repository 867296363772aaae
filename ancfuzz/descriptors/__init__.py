"""Real descriptors: opened by name, recognised again, counted, described, closed.

Six modules, and this one is their common face:

* ``kinds`` opens each of the kinds that ``ancfuzz.names`` knows.
* ``stock`` keeps what was opened, by name, for use in case after case.
* ``identity`` tells whether two numbers are one open file description.
* ``pidfds`` tells which process a pidfd is of.
* ``census`` counts, lists and describes what this process has open, and closes it.
* ``calls`` makes the two system calls that Python has no function for.

A descriptor is one thing and its number another.  Passing a descriptor over a socket
gives the receiver a new number for the same open file description (R9; ``struct file``
in the kernel), so the number says nothing about what arrived, and identity says all.

This room knows what is open.  It must not know what was sent, what was promised or what
ought to have arrived: whoever asks has a case and its answers for that.
"""

from __future__ import annotations

import os

from ancfuzz.errors import EnvironmentUnsupported

if os.name != "posix":
    raise EnvironmentUnsupported(
        f"descriptors cannot be passed on {os.name!r}: this needs a POSIX system with "
        "AF_UNIX sockets; encoding, decoding and showing cases work without"
    )

from ancfuzz.descriptors.census import (
    COUNT_METHOD,
    IS_LISTED,
    close_all,
    describe,
    is_close_on_exec,
    is_open,
    open_count,
    open_numbers,
)
from ancfuzz.descriptors.identity import (
    CONFUSED_BY_FSTAT,
    IDENTITY_METHOD,
    Fingerprint,
    IdentityMethod,
    fingerprint,
    identify,
    identity_methods,
    same_description,
)
from ancfuzz.descriptors.kinds import OPENERS, Opener, open_kind, unavailable
from ancfuzz.descriptors.pidfds import process_behind
from ancfuzz.descriptors.stock import NEVER_OPEN, Stock

__all__ = [
    "CONFUSED_BY_FSTAT",
    "COUNT_METHOD",
    "IDENTITY_METHOD",
    "IS_LISTED",
    "NEVER_OPEN",
    "OPENERS",
    "Fingerprint",
    "IdentityMethod",
    "Opener",
    "Stock",
    "close_all",
    "describe",
    "fingerprint",
    "identify",
    "identity_methods",
    "is_close_on_exec",
    "is_open",
    "open_count",
    "open_kind",
    "open_numbers",
    "process_behind",
    "same_description",
    "unavailable",
]
