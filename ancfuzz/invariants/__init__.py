"""What has to hold, named, and each with its source.

    registry   the rows, the families, choosing among them
    codecs     of bytes: ALIGN, LEN, CAP, ROUND, WALK
    exchanges  of sockets: FD, TRUNC, CRED, ORDER, BOUND, PEEK, ERR, STATE, CLOEXEC
    endings    of a performance as a whole: LEAK, TIME, CRASH
    verdict    a performance judged by them

Invariants are pure functions of a case and two transcripts: they can be tested by hand,
and used on what was observed elsewhere.  They import nothing of the kernel floor.
"""

from __future__ import annotations

from ancfuzz.invariants import codecs, endings, exchanges
from ancfuzz.invariants.registry import (
    FAMILIES,
    INVARIANTS,
    Invariant,
    View,
    select,
)
from ancfuzz.invariants.verdict import Breach, Verdict, judge

__all__ = [
    "FAMILIES",
    "INVARIANTS",
    "Breach",
    "Invariant",
    "Verdict",
    "View",
    "codecs",
    "endings",
    "exchanges",
    "judge",
    "select",
]
