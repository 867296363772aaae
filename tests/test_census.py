"""Counting, listing, describing and closing what this process has open."""

from __future__ import annotations

import errno
import os
import socket
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancfuzz.descriptors import (
    COUNT_METHOD,
    NEVER_OPEN,
    Stock,
    census,
    close_all,
    describe,
    is_close_on_exec,
    is_open,
    open_count,
    open_numbers,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

RUN = 160  # long enough to be closed together, with holes and without


@contextmanager
def opened(kinds: list[str]) -> Generator[list[int]]:
    """Neighbouring numbers, so far as the table allows: a duplicate for each kind."""
    numbers: list[int] = []
    with Stock() as stock:
        for kind in kinds:
            stock.number(kind)
        try:
            numbers += [os.dup(stock.number(kind)) for kind in kinds]
            yield numbers
        finally:
            for number in filter(is_open, numbers):
                os.close(number)


def count_by_numbers() -> int:
    return len(open_numbers())


@pytest.mark.parametrize("count", [open_count, count_by_numbers])
def test_the_count_grows_and_shrinks_by_what_is_opened(
    count: Callable[[], int],
) -> None:
    before = count()
    with opened(["pipe-read", "path", "socket"] * 7) as numbers:
        # A pipe has two ends, and each description a witness.
        assert count() == before + 21 + 4 + 4
        close_all(numbers[:5])
        assert count() == before + 21 + 4 + 4 - 5
    assert count() == before


def test_the_list_is_exact_and_counts_nothing_of_its_own() -> None:
    before = open_numbers()
    assert open_numbers() == before
    assert all(is_open(number) for number in before)
    number = os.dup(min(before))
    assert open_numbers() == before | {number}
    os.close(number)
    assert open_numbers() == before
    assert open_count() == len(before)


def test_the_size_is_not_believed_where_it_is_not_the_count() -> None:
    assert census.find_count_method(lambda: 0).name == "numbers"  # before Linux 6.2
    exact = len(open_numbers())
    assert census.find_count_method(lambda: exact).name == "numbers"  # by accident
    assert census.find_count_method(count_by_numbers).name == "size"

    def no_proc() -> int:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    method = census.find_count_method(no_proc)
    assert method.name == "numbers"
    assert method.count() == open_count()


def test_a_directory_that_does_not_list_what_is_open_is_not_believed() -> None:
    assert census.find_listing(["/nowhere", "/proc/self/task"]) is None
    assert census.find_listing(["/nowhere", "/dev/fd/.", "/proc/self/fd"]) is not None


def test_without_a_listing_each_number_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listed = open_numbers()
    monkeypatch.setattr(census, "_LISTING", None)
    assert open_numbers() == listed


def test_with_a_full_table_each_number_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listed = open_numbers()

    def full(directory: str) -> list[str]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), directory)

    monkeypatch.setattr(os, "listdir", full)
    assert open_numbers() == listed
    by_numbers = census.CountMethod("numbers", count_by_numbers)
    monkeypatch.setattr(census, "COUNT_METHOD", by_numbers)
    assert open_numbers() == listed


def test_other_threads_are_counted_and_never_break_the_count() -> None:
    threads, each = 3, 4
    source = min(open_numbers())
    before = open_numbers()
    stop = threading.Event()
    errors: list[BaseException] = []

    def open_and_close() -> None:
        try:
            while not stop.is_set():
                close_all([os.dup(source) for _ in range(each)])
        except BaseException as error:
            errors.append(error)
            raise

    with ExitStack() as running:
        running.callback(stop.set)
        for _ in range(threads):
            thread = threading.Thread(target=open_and_close)
            thread.start()
            running.callback(thread.join, 60)
        running.callback(stop.set)
        most = len(before) + threads * each
        for _ in range(200):
            # Besides, a number may be reserved and not yet open.
            assert len(before) <= open_count() <= most + threads
            assert before <= open_numbers()
    assert not errors
    assert open_numbers() == before


def test_close_on_exec_belongs_to_the_number() -> None:
    with opened(["memfd"]) as (number,):
        assert is_close_on_exec(number)
        os.set_inheritable(number, True)
        assert not is_close_on_exec(number)
    with pytest.raises(OSError, match="Bad file") as caught:
        is_close_on_exec(NEVER_OPEN)
    assert caught.value.errno == errno.EBADF


def test_a_description_says_kind_access_and_flags() -> None:
    with opened(["pipe-write", "memfd", "path", "socket", "eventfd"]) as numbers:
        pipe, memfd, path, unix, eventfd = map(describe, numbers)
        assert pipe.startswith(f"{numbers[0]}: pipe-write pipe:[")
        assert pipe.endswith(", write, close-on-exec")
        assert memfd == (
            f"{numbers[1]}: memfd /memfd:ancfuzz (deleted), read-write, close-on-exec"
        )
        assert f"{numbers[2]}: path " in path
        assert unix.startswith(f"{numbers[3]}: socket socket:[")
        assert eventfd == (
            f"{numbers[4]}: eventfd anon_inode:[eventfd], read-write, non-blocking, "
            "close-on-exec"
        )
        os.set_inheritable(numbers[0], True)
        assert describe(numbers[0]).endswith(", inheritable")
    assert describe(numbers[0]) == f"{numbers[0]}: not open"
    assert describe(-1) == "-1: not open"


def test_a_device_is_described_though_no_case_has_one() -> None:
    ends = os.openpty()
    assert describe(ends[1]).startswith(f"{ends[1]}: character device /dev/")
    close_all(ends)


@given(data=st.data())
def test_close_all_closes_what_it_is_given_and_nothing_else(
    data: st.DataObject,
) -> None:
    kinds = data.draw(
        st.lists(st.sampled_from(["memfd", "path", "pipe-read"]), max_size=6).map(
            lambda some: (["memfd", *some] * RUN)[:RUN]
        )
    )
    with opened(kinds) as numbers:
        index = st.integers(0, RUN - 1)
        gone = {numbers[i] for i in data.draw(st.sets(index, max_size=8))}
        start, stop = sorted((data.draw(index), data.draw(index)))
        wanted = [
            *numbers[start:stop],
            *(numbers[i] for i in data.draw(st.lists(index, max_size=8))),
            *data.draw(st.lists(st.sampled_from([-24, -1, NEVER_OPEN]), max_size=2)),
        ]
        for number in gone:
            os.close(number)
        before = open_numbers()
        absent = close_all(data.draw(st.permutations(wanted)))
        assert list(absent) == sorted(set(wanted) - before)
        assert open_numbers() == before - set(wanted)


def test_close_all_of_nothing_is_nothing() -> None:
    before = open_numbers()
    assert close_all([]) == ()
    assert close_all(iter(())) == ()
    assert open_numbers() == before


def test_negative_numbers_are_not_open() -> None:
    numbers = range(-100, 0)
    assert close_all(numbers) == tuple(numbers)


def test_what_lies_between_two_numbers_stays_open() -> None:
    with opened(["memfd"] * 201) as numbers:
        assert close_all(numbers[:100] + numbers[101:]) == ()
        assert is_open(numbers[100])
        assert close_all(numbers[:101]) == tuple(numbers[:100])


def test_closing_is_seen_at_the_other_end() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        assert close_all([ours.detach()]) == ()
        assert theirs.recv(1) == b""


def test_the_way_to_count_is_named() -> None:
    assert COUNT_METHOD.name in {"size", "numbers"}
    assert COUNT_METHOD.count() == open_count()
