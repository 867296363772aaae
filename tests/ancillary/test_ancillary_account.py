"""The account of what a SocketAncillary owns: each descriptor closed once, or taken."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import socket
import struct
import threading
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancfuzz import ControlMessage, MalformedControl, encode
from ancfuzz.abi import NATIVE
from ancfuzz.ancillary import ScmRights, SocketAncillary
from ancfuzz.ancillary.account import Account
from ancfuzz.ancillary.items import layout_of
from ancfuzz.descriptors import open_numbers
from ancfuzz.syscalls import message
from tests.arriving import arrive


@pytest.mark.parametrize("count", [1, 2, 64, 253])
def test_descriptors_are_handed_over_once(pair: tuple[int, int], count: int) -> None:
    ancillary = SocketAncillary(2048)
    before = open_numbers()
    arrive(pair, ancillary, count)
    taken = ancillary.take_fds()
    assert {*taken} == open_numbers() - before
    assert len(taken) == count
    ancillary.clear()
    del ancillary
    assert {*taken} == open_numbers() - before
    for number in taken:
        os.close(number)


@pytest.mark.parametrize(
    "let_go", ["clear", "with", "receive", "failed receive", "refused receive"]
)
def test_what_is_not_taken_is_closed(pair: tuple[int, int], let_go: str) -> None:
    ancillary = SocketAncillary(64)
    before = open_numbers()
    arrive(pair, ancillary)
    assert len(open_numbers() - before) == 2
    match let_go:
        case "clear":
            ancillary.clear()
        case "with":
            with ancillary:
                pass
        case "receive":
            os.write(pair[0], b"y")
            ancillary.recvmsg(pair[1], [bytearray(1)])
        case "failed receive":
            with pytest.raises(BlockingIOError):
                ancillary.recvmsg(pair[1], [bytearray(1)])
        case _:
            with pytest.raises(TypeError, match="read-only"):
                ancillary.recvmsg(pair[1], [b"x"])
    assert open_numbers() == before
    assert ancillary.is_empty
    assert not ancillary.truncated
    assert ancillary.take_fds() == []


def test_an_exception_in_a_with_block_closes(pair: tuple[int, int]) -> None:
    before = open_numbers()

    def fail() -> None:
        with SocketAncillary(64) as ancillary:
            arrive(pair, ancillary)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert open_numbers() == before


def test_the_collector_closes_and_says_so(pair: tuple[int, int]) -> None:
    before = open_numbers()
    ancillary = SocketAncillary(64)
    arrive(pair, ancillary)
    (rights,) = ancillary.messages()
    assert isinstance(rights, ScmRights)
    with pytest.warns(ResourceWarning) as warned:
        del ancillary
    assert str(rights.fds) in str(warned[0].message)
    assert open_numbers() == before


def test_the_collector_closes_where_warnings_are_errors(
    pair: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = open_numbers()
    ancillary = SocketAncillary(64)
    arrive(pair, ancillary)
    unraisable: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", unraisable.append)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del ancillary
        gc.collect()
    assert [one.exc_type for one in unraisable] == [ResourceWarning]
    assert open_numbers() == before


def test_a_buffer_that_owns_nothing_is_dropped_in_silence(
    pair: tuple[int, int],
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ancillary = SocketAncillary(64)
        ancillary.add_fds([pair[0]])
        del ancillary
        with pytest.raises(ValueError, match="capacity"):
            SocketAncillary(-1)
        gc.collect()


def test_what_is_owned_does_not_depend_on_the_buffer(pair: tuple[int, int]) -> None:
    buffer = bytearray(64)
    ancillary = SocketAncillary(buffer)
    before = open_numbers()
    arrive(pair, ancillary)
    buffer[:] = b"\xff" * 64
    with pytest.raises(MalformedControl):
        list(ancillary.messages())
    ancillary.clear()
    assert open_numbers() == before


def test_adding_behind_what_was_received_owns_no_more(pair: tuple[int, int]) -> None:
    ancillary = SocketAncillary(256)
    before = open_numbers()
    arrive(pair, ancillary)
    assert ancillary.add_fds([pair[0]])
    assert len(list(ancillary.messages())) == 2
    ancillary.clear()
    assert open_numbers() == before


def test_an_interrupted_receive_owns_what_arrived(
    pair: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal comes when the kernel is done, and before the call has returned."""
    real = message.libc_recvmsg

    def interrupted(*arguments: Any) -> int:
        real(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(message, "libc_recvmsg", interrupted)
    before = open_numbers()
    with SocketAncillary(64) as ancillary:
        with pytest.raises(KeyboardInterrupt):
            arrive(pair, ancillary)
        assert len(open_numbers() - before) == 2
    assert open_numbers() == before


def test_it_is_neither_copied_nor_pickled(pair: tuple[int, int]) -> None:
    with SocketAncillary(64) as ancillary:
        arrive(pair, ancillary)
        for copying in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="cannot be copied or pickled"):
                copying(ancillary)


@given(
    owned=st.sets(st.integers(0, 40), max_size=30),
    pidfds=st.sets(st.integers(0, 40), max_size=5),
    errors=st.lists(st.integers(-133, -1), max_size=3),
    take=st.sampled_from(["nothing", "fds", "pidfds", "both"]),
)
def test_an_account_closes_its_own_and_nobody_elses(
    owned: set[int], pidfds: set[int], errors: list[int], take: str
) -> None:
    """Of a run of open descriptors, some are in the account, in any order."""
    layout = layout_of(NATIVE)
    spare, other = os.pipe()
    numbers = [os.dup(spare) for _ in range(41)]
    try:
        rights = [numbers[index] for index in owned]
        pids = [numbers[index] for index in pidfds - owned]
        control = encode(
            [
                ControlMessage(
                    layout.sol_socket, type_, struct.pack(f"{len(all_)}i", *all_)
                )
                for type_, all_ in (
                    (layout.scm_rights, [*rights, *errors]),
                    (layout.scm_pidfd or 4, [*errors, *pids]),
                    (1234, numbers),
                )
            ]
        )
        account = Account(layout)
        assert account.untaken() == ()
        account.enter(control)
        before = open_numbers()
        taken: list[int] = []
        if take in {"fds", "both"}:
            taken += account.take_fds()
            assert taken == rights
        if take in {"pidfds", "both"} and layout.scm_pidfd:
            found = account.take_pidfds()
            assert found == pids
            taken += found
        mine = {*rights, *(pids if layout.scm_pidfd else [])}
        assert {*account.untaken()} == mine - {*taken}
        account.close()
        assert account.untaken() == ()
        assert before - open_numbers() == mine - {*taken}
        account.close()
        assert before - open_numbers() == mine - {*taken}
    finally:
        for number in {*numbers} & open_numbers() | {spare, other}:
            os.close(number)


def test_threads_have_a_buffer_each() -> None:
    failed: list[object] = []

    def exchange() -> None:
        one, other = socket.socketpair()
        with one, other, SocketAncillary(2048) as ancillary:
            both = one.fileno(), other.fileno()
            for count in range(1, 60):
                arrive(both, ancillary, count)
                taken = ancillary.take_fds()
                if len(taken) != count:
                    failed.append((count, taken))
                for number in taken:
                    os.close(number)

    threads = [threading.Thread(target=exchange) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert failed == []
