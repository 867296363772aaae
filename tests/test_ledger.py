"""The audit of what happens to numbers, and snapshots of what is open."""

from __future__ import annotations

import os
import socket
import threading
from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancfuzz.descriptors import Stock, close_all, fingerprint, open_numbers
from ancfuzz.ledger import Audit, Event, Ledger, audit, difference, snapshot

OPENED = Event("opened", 5, "memfd")
SENT = Event("sent", 5, "memfd")
INSTALLED = Event("installed", 7, "memfd")
REPORTED = Event("reported", 7)
CLOSED = Event("closed", 7)


def test_an_exchange_without_fault_adds_up() -> None:
    ledger = Ledger()
    ledger.write("opened", 5, "memfd")
    ledger.write("sent", 5, "memfd")
    ledger.write("installed", 7, "memfd")
    ledger.write("reported", 7)
    ledger.write("closed", 7)
    ledger.write("closed", 5)
    assert ledger.audit() == Audit()
    last = Event("closed", 5)
    assert ledger.events == [OPENED, SENT, INSTALLED, REPORTED, CLOSED, last]


FAULTS = {
    "lost on the way": ([OPENED, SENT, Event("closed", 5)], {"undelivered": (SENT,)}),
    "installed and hidden": ([INSTALLED, CLOSED], {"unreported": (INSTALLED,)}),
    "reported out of thin air": ([REPORTED], {"uninstalled": (REPORTED,)}),
    "reported, and it is ours": (
        [OPENED, Event("reported", 5), Event("closed", 5)],
        {"uninstalled": (Event("reported", 5),)},
    ),
    "reported when it was gone": (
        [INSTALLED, REPORTED, CLOSED, REPORTED],
        {"uninstalled": (REPORTED,)},
    ),
    "reported twice": (
        [INSTALLED, REPORTED, REPORTED, CLOSED],
        {"reported_again": (REPORTED,)},
    ),
    "closed twice": (
        [INSTALLED, REPORTED, CLOSED, CLOSED],
        {"closed_again": (CLOSED,)},
    ),
    "closed, and never open": ([CLOSED], {"closed_again": (CLOSED,)}),
    "leaked": ([INSTALLED, REPORTED], {"still_open": (INSTALLED,)}),
    "leaked by its opener": ([OPENED], {"still_open": (OPENED,)}),
    "closed by a stranger": (
        [INSTALLED, REPORTED, INSTALLED, REPORTED, CLOSED],
        {"closed_unseen": (INSTALLED,)},
    ),
    "the number is used again, and only the first is reported": (
        [INSTALLED, REPORTED, CLOSED, INSTALLED, CLOSED],
        {"unreported": (INSTALLED,)},
    ),
    "a duplicate is sent, once too often": (
        [SENT, Event("sent", 6, "dup:memfd"), INSTALLED, REPORTED, CLOSED],
        {"undelivered": (Event("sent", 6, "dup:memfd"),)},
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_and_nothing_else(fault: str) -> None:
    events, found = FAULTS[fault]
    assert audit(events) == Audit(**found)


def test_a_number_that_is_used_again_lives_again() -> None:
    assert audit([INSTALLED, REPORTED, CLOSED] * 3) == Audit()


def test_what_has_no_name_is_not_missed() -> None:
    assert audit([Event("sent", 5)]) == Audit()


events = st.builds(
    Event,
    st.sampled_from(["opened", "sent", "installed", "reported", "closed"]),
    st.integers(3, 5),
    st.sampled_from([None, "memfd", "socket"]),
)


@given(st.lists(events))
def test_every_event_is_accounted_for(happened: list[Event]) -> None:
    result = audit(happened)
    acts = Counter(event.act for event in happened)
    given_out = acts["opened"] + acts["installed"]
    closed = acts["closed"] - len(result.closed_again)
    assert given_out == closed + len(result.closed_unseen) + len(result.still_open)
    good = acts["reported"] - len(result.uninstalled) - len(result.reported_again)
    assert acts["installed"] == good + len(result.unreported)
    assert len({event.number for event in result.still_open}) == len(result.still_open)
    assert msgspec.convert(msgspec.to_builtins(result), Audit) == result


@given(st.lists(events), st.lists(events))
def test_what_is_known_only_grows(first: list[Event], later: list[Event]) -> None:
    ledger = Ledger(first)
    before = ledger.audit()
    for event in later:
        ledger.write(event.act, event.number, event.name)
    after = ledger.audit()
    for finished in ("uninstalled", "reported_again", "closed_unseen", "closed_again"):
        known = getattr(before, finished)
        assert getattr(after, finished)[: len(known)] == known


def test_a_difference_says_what_came_went_and_was_replaced() -> None:
    with Stock() as stock:
        names = ("memfd", "socket", "pipe-read", "file")
        numbers = {name: os.dup(stock.number(name)) for name in names}
        before = snapshot()
        os.close(numbers["memfd"])
        os.dup2(stock.number("pipe-write"), numbers["pipe-read"])
        os.dup2(stock.number("file"), numbers["file"])
        extra = os.dup(stock.number("socket"))  # at the memfd's number, the lowest
        more = os.dup(stock.number("socket"))
        os.close(numbers["socket"])
        change = difference(before, snapshot())
        assert extra == numbers["memfd"]
        assert change.appeared == (more,)
        assert change.disappeared == (numbers["socket"],)
        assert change.replaced == tuple(sorted((extra, numbers["pipe-read"])))
        appeared, disappeared, replaced = difference(snapshot(), before)
        assert (appeared, disappeared) == (change.disappeared, change.appeared)
        assert replaced == change.replaced
        close_all([numbers["pipe-read"], numbers["file"], extra, more])


def test_a_snapshot_holds_nothing() -> None:
    before = open_numbers()
    taken = snapshot()
    assert open_numbers() == before == frozenset(taken)
    assert all(taken[number] == fingerprint(number) for number in before)
    assert difference(taken, snapshot()) == ((), (), ())


def test_use_is_no_change() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        before = snapshot()
        ours.setblocking(False)
        ours.sendall(b"x")
        theirs.shutdown(socket.SHUT_WR)
        os.set_inheritable(ours.fileno(), True)
        assert difference(before, snapshot()) == ((), (), ())


def test_what_closes_meanwhile_is_in_a_snapshot_or_not() -> None:
    before = snapshot()
    source = min(before)
    stop = threading.Event()

    def open_and_close() -> None:
        while not stop.is_set():
            os.close(os.dup(source))

    thread = threading.Thread(target=open_and_close)
    thread.start()
    try:
        for _ in range(100):
            change = difference(before, snapshot())
            assert change.disappeared == change.replaced == ()
            assert len(change.appeared) <= 1
    finally:
        stop.set()
        thread.join(60)
    assert difference(before, snapshot()) == ((), (), ())
