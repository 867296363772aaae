"""Descriptors by name: what a case may call them, and nothing of how they are made.

A descriptor in a case is named by what it is, never by number:

    memfd            a memfd               memfd#3     another one of the kind
    dup:memfd#3      another number for the same open file description; dup2: is one
    more socket:a         the case's own endpoint a, passed over itself or its peer
    closed           a number that is not open            negative     the number -1

In a list of descriptors an item may stand for several: ``memfd#1..253`` counts up,
``memfd*3`` is the same descriptor three times.

Further names come up in transcripts only: ``phantom``, a number that was reported and
is not open; ``other``, one that was open before or is nothing that the case sent; and
``number:0`` to ``number:2``, the performer's own standard streams, sent by mistake.

This room must not know what a number is: ``descriptors`` opens these names.
"""

from __future__ import annotations

import re
from functools import lru_cache

from ancfuzz.errors import UsageError

__all__ = [
    "CLOSED",
    "KINDS",
    "NEGATIVE",
    "OTHER",
    "PHANTOM",
    "description_of",
    "expand",
    "is_sendable",
    "kind_of",
]

KINDS = (
    "pipe-read",
    "pipe-write",
    "memfd",
    "eventfd",
    "socket",
    "file",
    "directory",
    "path",
    "epoll",
    "timerfd",
    "pidfd",
)
CLOSED = "closed"
NEGATIVE = "negative"
PHANTOM = "phantom"
OTHER = "other"

_IN_TRANSCRIPTS = frozenset({PHANTOM, OTHER, "number:0", "number:1", "number:2"})
_ENDPOINT = "socket:"
_MOST = 4096  # a case is bounded: sixteen times what one message can carry
_ITEM = re.compile(
    r"(?P<stem>(?:dup\d?:)?(?:[a-z]+(?:-[a-z]+)?|socket:[a-z]))"
    r"(?:\#(?P<first>[1-9]\d{0,4})(?:\.\.(?P<last>[1-9]\d{0,4}))?)?"
    r"(?:\*(?P<times>[1-9]\d{0,4}))?"
)


def is_sendable(name: str) -> bool:
    """Whether a case may send it: all names but those of transcripts only."""
    return name not in _IN_TRANSCRIPTS


@lru_cache(maxsize=4096)
def expand(item: str) -> tuple[str, ...]:
    """The descriptors that one item of a list stands for.

    Raises:
        UsageError: the item is not a name, with what a name looks like.
    """
    if item in _IN_TRANSCRIPTS:
        return (item,)
    match = _ITEM.fullmatch(item)
    if match is None or kind_of(match["stem"]) is None:
        raise UsageError(
            f"{item!r} does not name a descriptor: expected KIND, KIND#N, KIND#A..B or "
            f"KIND*TIMES, a dup:NAME or socket:ENDPOINT, {CLOSED} or {NEGATIVE}; "
            f"kinds are {', '.join(KINDS)}"
        )
    stem, first, last = match["stem"], match["first"], match["last"]
    if last is not None:
        names = tuple(f"{stem}#{n}" for n in range(int(first), int(last) + 1))
    else:
        names = (stem if first is None else f"{stem}#{first}",)
    times = int(match["times"] or 1)
    if not names or len(names) * times > _MOST:
        raise UsageError(
            f"{item!r} names {len(names) * times} descriptors: 1 to {_MOST}"
        )
    return names * times


def kind_of(name: str) -> str | None:
    """The kind of a name, duplicates included, or None if it is not a name."""
    stem = description_of(name).partition("#")[0]
    if stem in KINDS or stem in (CLOSED, NEGATIVE):
        return stem
    return "socket" if stem.startswith(_ENDPOINT) else None


def endpoint_name(endpoint: str) -> str:
    """How an end of a case's own pair is called when it is passed."""
    return f"{_ENDPOINT}{endpoint}"


def names_endpoint(name: str) -> bool:
    """Whether a name, perhaps a duplicate's, is of an end of the case's own pair."""
    return _ENDPOINT in name


def description_of(name: str) -> str:
    """The name of the open file description: that of the original, for a duplicate."""
    return name if name[:3] != "dup" else name.partition(":")[2]
