"""A stock of named descriptors, that knows its own whatever is done behind its back."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from ancfuzz import names
from ancfuzz.descriptors import (
    CONFUSED_BY_FSTAT,
    NEVER_OPEN,
    Stock,
    close_all,
    is_close_on_exec,
    is_open,
    open_count,
    open_numbers,
    same_description,
    unavailable,
)
from ancfuzz.errors import UsageError

AVAILABLE = [kind for kind in names.KINDS if unavailable(kind) is None]


def test_a_replacement_is_seen_though_the_count_is_right() -> None:
    with Stock() as stock:
        numbers = [stock.number(name) for name in ("memfd", "socket", "dup:memfd")]
        count = open_count()
        os.close(numbers[0])
        leaked = os.dup(numbers[1])
        assert (leaked, open_count()) == (numbers[0], count)
        assert stock.verify() == ("memfd",)
        assert stock.verify(["closed", "memfd", "memfd#7", "negative"]) == ("memfd",)
        assert stock.verify(["socket", "dup:memfd"]) == ()
    os.close(leaked)


def test_a_number_that_came_to_a_duplicate_is_closed_once() -> None:
    before = open_numbers()
    with Stock() as stock:
        number = stock.number("memfd")
        os.close(number)
        assert stock.verify() == ("memfd",)
        assert stock.number("dup:memfd") == number  # the lowest free number
        assert stock.verify() == ()  # whoever sends it sends what the name says
        stock.discard("dup:memfd")
        assert stock.verify() == ("memfd",)
        assert stock.number("dup:memfd") == number
    assert open_numbers() == before


def test_a_witness_that_was_replaced_is_left_alone() -> None:
    before = open_numbers()
    with Stock() as stock:
        number = stock.number("memfd")
        (witness,) = open_numbers() - before - {number}
        assert witness > number
        os.dup2(min(before), witness, inheritable=False)
        assert stock.verify() == ("memfd",)
    assert open_numbers() == before | {number, witness}  # nobody knows whose they are
    close_all([number, witness])


@pytest.mark.parametrize(
    "name",
    [
        "",
        "floppy",
        "memfd#0",
        "memfd#01",
        "memfd#1..3",
        "memfd*2",
        "dup:dup:memfd",
        "dup:closed",
        "dup:negative",
        "closed#2",
        "other",
        "phantom",
        "socket:a",
        "dup:socket:a",
        "3",
    ],
)
def test_what_is_no_name_is_refused_and_opens_nothing(name: str) -> None:
    before = open_count()
    with Stock() as stock:
        with pytest.raises(UsageError, match=r"expected|duplicate"):
            stock.number(name)
        assert stock.names() == ()
        assert open_count() == before


def test_closed_and_negative_are_numbers_that_the_kernel_refuses() -> None:
    with Stock() as stock:
        assert stock.number("negative") == -1
        assert stock.number("closed") == NEVER_OPEN
        assert stock.names() == ()
        for name in ("closed", "negative"):
            ours, theirs = socket.socketpair()
            with ours, theirs, pytest.raises(OSError, match="Bad file") as caught:
                socket.send_fds(ours, [b"x"], [stock.number(name)])
            assert caught.value.errno == errno.EBADF


def test_numbers_are_stable_and_open_until_the_end() -> None:
    before = open_numbers()
    with Stock() as stock:
        first = [stock.number(name) for name in AVAILABLE]
        assert [stock.number(name) for name in AVAILABLE] == first
        assert len(set(first)) == len(AVAILABLE)
        assert all(stock.numbers[name] in first for name in stock.names())
        assert set(first) <= open_numbers()
        assert stock.verify() == ()
    assert open_numbers() == before
    assert stock.names() == ()


@pytest.mark.parametrize("kind", AVAILABLE)
def test_names_are_as_many_descriptions_as_they_say(kind: str) -> None:
    with Stock() as stock:
        one, two = stock.number(kind), stock.number(f"{kind}#1")
        assert one != two
        if kind not in CONFUSED_BY_FSTAT:
            assert not same_description(one, two)
        duplicates = [stock.number(f"{prefix}:{kind}#1") for prefix in ("dup", "dup2")]
        assert len({one, two, *duplicates}) == 4
        for duplicate in duplicates:
            assert is_close_on_exec(duplicate)
            assert same_description(duplicate, two)


def test_the_ends_of_one_number_are_one_pipe() -> None:
    with Stock() as stock:
        for suffix in ("", "#1", "#2"):
            os.write(stock.number(f"pipe-write{suffix}"), b"pipe" + suffix.encode())
        for suffix in ("#2", "", "#1"):
            received = os.read(stock.number(f"pipe-read{suffix}"), 9)
            assert received == b"pipe" + suffix.encode()


def test_a_lent_endpoint_stays_the_callers() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, Stock() as stock:
        stock.lend("a", ours.fileno())
        assert stock.number("socket:a") == ours.fileno()
        duplicate = stock.number("dup:socket:a")
        assert same_description(duplicate, ours.fileno())
        assert stock.names() == ("dup:socket:a",)
        stock.discard("socket:a")
        assert stock.verify() == ()
        stock.reclaim()
        assert not is_open(duplicate)
        assert is_open(ours.fileno())
        with pytest.raises(UsageError, match="none was"):
            stock.number("socket:a")
        stock.lend("b", theirs.fileno())
        stock.close()
        assert is_open(theirs.fileno())


def test_discarding_one_end_of_a_pipe_takes_the_other_and_their_duplicates() -> None:
    with Stock() as stock:
        for name in ("pipe-read", "dup:pipe-write", "pipe-read#1", "memfd"):
            stock.number(name)
        stock.discard("pipe-read")
        assert set(stock.names()) == {"pipe-read#1", "pipe-write#1", "memfd"}
        os.write(stock.number("pipe-write"), b"x")
        assert os.read(stock.number("pipe-read"), 1) == b"x"


def test_a_stock_that_is_dropped_open_warns_and_closes() -> None:
    before = open_numbers()
    stock = Stock()
    stock.number("memfd")
    with pytest.warns(ResourceWarning, match="unclosed <Stock of 1 descriptors>"):
        del stock
    assert open_numbers() == before


@pytest.mark.parametrize("room", [0, 1])
def test_opening_under_a_full_table_closes_what_it_had_opened(
    room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fcntl.fcntl
    witnesses: list[int] = []

    def no_more_witnesses(number: int, command: int, argument: int = 0) -> int:
        if command != fcntl.F_DUPFD_CLOEXEC:
            return real(number, command, argument)
        if len(witnesses) == room:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        witnesses.append(real(number, command, argument))
        return witnesses[-1]

    before = open_numbers()
    with Stock() as stock, monkeypatch.context() as patch:
        patch.setattr(fcntl, "fcntl", no_more_witnesses)
        with pytest.raises(OSError, match="Too many"):
            stock.number("pipe-read")
        assert stock.names() == ()
    assert len(witnesses) == room
    assert open_numbers() == before


class StockMachine(RuleBasedStateMachine):
    """A stock, a saboteur, and a book of what every number really is."""

    NAMES = st.sampled_from(
        (
            "memfd",
            "memfd#1",
            "pipe-read",
            "pipe-write",
            "pipe-read#2",
            "socket",
            "dup:memfd",
            "dup2:memfd",
            "dup:pipe-write",
            "dup:socket",
        )
    )

    @initialize()
    def open_stock(self) -> None:
        self.before = open_numbers()
        self.stock = Stock()
        self.book: dict[str, tuple[int, object]] = {}
        self.table: dict[int, object] = {}
        self.foreign: set[int] = set()

    def expected_damage(self) -> set[str]:
        return {
            name
            for name, (number, what) in self.book.items()
            if self.table.get(number) is not what
        }

    def write_down(self, name: str) -> None:
        number = self.stock.number(name)
        original = names.description_of(name)
        what = self.book[original][1] if original != name else object()
        self.book[name] = number, what
        self.table[number] = what

    @rule(name=NAMES)
    def open(self, name: str) -> None:
        known = self.book.get(name)
        number = self.stock.number(name)
        if known is not None:
            assert number == known[0]
            return
        for one in self.stock.names():  # the other end of a pipe, a dup's original
            if one not in self.book:
                self.write_down(one)

    @precondition(lambda self: self.book)
    @rule(data=st.data())
    def close_behind_its_back(self, data: st.DataObject) -> None:
        number = self.book[data.draw(st.sampled_from(sorted(self.book)))][0]
        if self.table.pop(number, None) is not None:
            os.close(number)
            self.foreign.discard(number)

    @precondition(lambda self: self.book)
    @rule(data=st.data())
    def replace_behind_its_back(self, data: st.DataObject) -> None:
        number = self.book[data.draw(st.sampled_from(sorted(self.book)))][0]
        foreign = socket.socket(socket.AF_UNIX).detach()
        if foreign != number:
            os.dup2(foreign, number, inheritable=False)
            os.close(foreign)
        self.table[number] = object()
        self.foreign.add(number)

    @precondition(lambda self: self.book)
    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.book)))
        self.stock.discard(name)
        gone = self.book.keys() - set(self.stock.names())
        assert name in gone
        damaged = self.expected_damage()
        closed = {self.book[one][0] for one in gone - damaged}
        for one in gone:
            del self.book[one]
        for number in closed:
            del self.table[number]

    @invariant()
    def knows_its_own(self) -> None:
        assert set(self.stock.names()) == self.book.keys()
        assert set(self.stock.verify()) == self.expected_damage()
        assert all(is_open(number) for number in self.table)

    def teardown(self) -> None:
        self.stock.close()
        self.stock.close()
        assert open_numbers() == self.before | self.foreign
        close_all(self.foreign)


TestStockMachine = StockMachine.TestCase


def test_epoll_is_usable() -> None:
    with Stock() as stock:
        epoll = select.epoll.fromfd(os.dup(stock.number("epoll")))
        with epoll:
            epoll.register(stock.number("pipe-write"), select.EPOLLOUT)
            assert epoll.poll(0) == [(stock.number("pipe-write"), select.EPOLLOUT)]
