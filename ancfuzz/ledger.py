"""An account of descriptors: what was opened, sent, installed, reported, closed.

Two ways to keep one, for two kinds of askers:

* Who performs a case knows what happens and writes it down: a :class:`Ledger` of
  :class:`Event` values, and :func:`audit`, a pure function of the events, that says
  what does not add up.  A number is used again as soon as it was closed, so the audit
  counts *lives* of a number, from its opening or installation to its closing.
* Who cannot look inside (a test around a user's program) takes a :func:`snapshot`
  before and one after, and the :func:`difference`.

``installed`` is what the kernel did, ``reported`` what the receiver said of it; that
the two are one is the invariant that descriptor passing is about.

This room must not know what was meant to happen, and closes nothing.
"""

from __future__ import annotations

import errno
from collections import Counter
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from msgspec import Struct

from ancfuzz.descriptors import Fingerprint, fingerprint, open_numbers
from ancfuzz.names import description_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "Audit",
    "Difference",
    "Event",
    "Ledger",
    "Snapshot",
    "audit",
    "difference",
    "snapshot",
]

Act: TypeAlias = Literal["opened", "sent", "installed", "reported", "closed"]


class Event(Struct, frozen=True):
    """One thing that happened to one number.

    Attributes:
        act: ``opened`` by us; ``sent`` to a peer; ``installed`` by a receive, whoever
            knows of it; ``reported`` by a receiver; ``closed``.
        number: the descriptor's number in this process.
        name: what it is, as ``ancfuzz.names`` calls it, if that is known.
    """

    act: Act
    number: int
    name: str | None = None


class Audit(Struct, frozen=True):
    """What does not add up in a sequence of events; each list is in their order.

    Attributes:
        undelivered: what was sent, by name, and not installed as often as it was sent;
            of several sendings of one name, the last ones.
        unreported: installations that were not reported while they were open.
        uninstalled: reports of a number that no receive had installed, or that had been
            closed since.
        reported_again: reports of an installation that had been reported already.
        closed_unseen: openings and installations whose number was given out again
            though nobody said that it was closed.
        closed_again: closings of a number that was not open.
        still_open: openings and installations that were not closed.
    """

    undelivered: tuple[Event, ...] = ()
    unreported: tuple[Event, ...] = ()
    uninstalled: tuple[Event, ...] = ()
    reported_again: tuple[Event, ...] = ()
    closed_unseen: tuple[Event, ...] = ()
    closed_again: tuple[Event, ...] = ()
    still_open: tuple[Event, ...] = ()


def audit(events: Iterable[Event]) -> Audit:
    """Go through events in the order in which they happened.

    An installation comes before its report, and a duplicate in a name (``dup:memfd``)
    stands for its original: a receiver cannot tell which of the two was sent.
    """
    events = tuple(events)
    lives: dict[int, int] = {}  # by open number, the index of the event that opened it
    reported: set[int] = set()  # indices of installations
    uninstalled: list[Event] = []
    reported_again: list[Event] = []
    closed_unseen: list[Event] = []
    closed_again: list[Event] = []
    for index, event in enumerate(events):
        life = lives.get(event.number)
        match event.act:
            case "opened" | "installed":
                if life is not None:
                    closed_unseen.append(events[life])
                lives[event.number] = index
            case "reported":
                if life is None or events[life].act != "installed":
                    uninstalled.append(event)
                elif life in reported:
                    reported_again.append(event)
                else:
                    reported.add(life)
            case "closed":
                if life is None:
                    closed_again.append(event)
                else:
                    del lives[event.number]
            case "sent":
                pass
    installed = [i for i, event in enumerate(events) if event.act == "installed"]
    return Audit(
        undelivered=_undelivered(events),
        unreported=tuple(events[i] for i in installed if i not in reported),
        uninstalled=tuple(uninstalled),
        reported_again=tuple(reported_again),
        closed_unseen=tuple(closed_unseen),
        closed_again=tuple(closed_again),
        still_open=tuple(events[i] for i in sorted(lives.values())),
    )


def _undelivered(events: tuple[Event, ...]) -> tuple[Event, ...]:
    arrived = Counter(
        description_of(event.name)
        for event in events
        if event.act == "installed" and event.name is not None
    )
    missing: list[Event] = []
    for event in events:
        if event.act != "sent" or event.name is None:
            continue
        description = description_of(event.name)
        if arrived[description]:
            arrived[description] -= 1
        else:
            missing.append(event)
    return tuple(missing)


class Ledger:
    """A record of events, written as they happen.

    Attributes:
        events: what was written, in order.
    """

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.events: list[Event] = list(events)

    def write(self, act: Act, number: int, name: str | None = None) -> None:
        """Write down that something happened to a number."""
        self.events.append(Event(act, number, name))

    def audit(self) -> Audit:
        """What does not add up so far."""
        return audit(self.events)


Snapshot: TypeAlias = "Mapping[int, Fingerprint]"
"""What a process has open: by number, what can be told of it."""


class Difference(NamedTuple):
    """What changed between two snapshots: numbers, in ascending order.

    Attributes:
        appeared: open only in the second.
        disappeared: open only in the first.
        replaced: open in both, and not the same thing: closed meanwhile, and the number
            given out again.
    """

    appeared: tuple[int, ...]
    disappeared: tuple[int, ...]
    replaced: tuple[int, ...]


def snapshot() -> Snapshot:
    """What this process has open now.

    It keeps nothing open.  Duplicates would make every replacement certain, but a pipe
    whose write end is kept never ends, and closing a duplicate of a file drops the
    process's ``fcntl`` locks on it.  So a number that was closed and given to something
    with the same fingerprint is not seen to be replaced: see ``CONFUSED_BY_FSTAT``.
    A :class:`~ancfuzz.descriptors.Stock` keeps duplicates of its own, and is certain.
    """
    taken: dict[int, Fingerprint] = {}
    for number in sorted(open_numbers()):
        try:
            taken[number] = fingerprint(number)
        except OSError as error:
            if error.errno != errno.EBADF:  # closed meanwhile, by another thread
                raise
    return taken


def difference(before: Snapshot, after: Snapshot) -> Difference:
    """What changed from one snapshot to the next."""
    return Difference(
        appeared=tuple(sorted(after.keys() - before.keys())),
        disappeared=tuple(sorted(before.keys() - after.keys())),
        replaced=tuple(
            sorted(n for n in before.keys() & after.keys() if before[n] != after[n])
        ),
    )
