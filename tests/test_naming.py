"""From names to numbers and back, and two performances of one case compare equal."""

from __future__ import annotations

import struct
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancfuzz.abi import ABIS, NATIVE, Abi
from ancfuzz.case import NamedCredentials, NamedPidfd, NamedRights, PlainMessage
from ancfuzz.codec import ControlMessage
from ancfuzz.naming import (
    NO_PID,
    SELF_PID,
    Values,
    control_bytes,
    control_message,
    named_credentials,
)
from tests.drawing import INT32, ITEMS, NAMES, PLAIN, UINT32

LINUXES = [
    abi
    for abi in ABIS.values()
    if {"SCM_RIGHTS", "SCM_CREDENTIALS"} <= {*abi.constants}
]
LAYOUTS = st.sampled_from(LINUXES)
PIDS = st.integers(1, 1 << 22)
OWN = st.tuples(PIDS, UINT32, UINT32)


class Numbers(dict[str, int]):
    """A number for each name, made up when it is first asked for."""

    def __init__(self, first: int = 3) -> None:
        self._next = count(first)

    def __missing__(self, name: str) -> int:
        self[name] = number = next(self._next)
        return number


def values(
    own: tuple[int, int, int] = (7, 8, 9), abi: Abi = NATIVE, first: int = 3
) -> Values:
    return Values(Numbers(first).__getitem__, own, abi)


def test_there_are_linuxes_of_both_byte_orders() -> None:
    assert {abi.byte_order for abi in LINUXES} == {"little", "big"}


@given(st.lists(ITEMS, max_size=4), st.binary(max_size=3), LAYOUTS)
def test_rights_are_the_numbers_behind_the_names(
    items: list[str], stray: bytes, abi: Abi
) -> None:
    live = values(abi=abi)
    rights = NamedRights(tuple(items), stray.hex())
    message = control_message(rights, live)
    names = rights.names()
    assert (message.level, message.type) == (
        abi.constants["SOL_SOCKET"],
        abi.constants["SCM_RIGHTS"],
    )
    assert message.data[4 * len(names) :] == stray
    order = {"little": "<", "big": ">"}[abi.byte_order]
    read = struct.unpack_from(f"{order}{len(names)}i", message.data)
    assert list(read) == [live.number(name) for name in names]


@given(PLAIN)
def test_a_plain_message_is_as_it_is(message: PlainMessage) -> None:
    assert control_message(message, values()) == ControlMessage(
        message.level, message.type, bytes.fromhex(message.data)
    )


def test_a_pidfd_is_received_and_never_sent() -> None:
    with pytest.raises(AssertionError, match="never sent"):
        control_message(NamedPidfd(), values())


@given(
    st.builds(
        NamedCredentials,
        st.just("self") | INT32,
        st.just("self") | UINT32,
        st.just("self") | UINT32,
    ),
    OWN,
    LAYOUTS,
)
def test_credentials_are_named_as_they_were_claimed(
    claimed: NamedCredentials, own: tuple[int, int, int], abi: Abi
) -> None:
    message = control_message(claimed, values(own, abi))
    assert len(message.data) == 12
    named = named_credentials(message.data, own, abi)
    assert isinstance(named, NamedCredentials)
    for said, read, self_value in zip(
        (claimed.pid, claimed.uid, claimed.gid),
        (named.pid, named.uid, named.gid),
        own,
        strict=True,
    ):
        assert read == ("self" if said in ("self", self_value) else said)


@given(OWN)
def test_no_process_has_the_pid_none(own: tuple[int, int, int]) -> None:
    message = control_message(NamedCredentials("none"), values(own))
    named = named_credentials(message.data, own, NATIVE)
    assert isinstance(named, NamedCredentials)
    assert named.pid == NO_PID


@given(OWN, PIDS, st.integers(0, 11), LAYOUTS)
def test_cut_credentials_of_two_performers_compare_equal(
    one: tuple[int, int, int], other_pid: int, size: int, abi: Abi
) -> None:
    other = (other_pid, *one[1:])
    cut = [
        named_credentials(
            control_message(NamedCredentials(), values(own, abi)).data[:size], own, abi
        )
        for own in (one, other)
    ]
    assert cut[0] == cut[1]
    assert isinstance(cut[0], PlainMessage)
    whole = SELF_PID.to_bytes(4, abi.byte_order)
    assert bytes.fromhex(cut[0].data)[:4] == whole[:size]
    assert len(cut[0].data) == 2 * size


@given(st.binary(max_size=40).filter(lambda data: len(data) != 12))
def test_what_is_no_ucred_stays_bytes(data: bytes) -> None:
    named = named_credentials(data, (SELF_PID, 0, 0), NATIVE)
    assert isinstance(named, PlainMessage)
    assert bytes.fromhex(named.data) == data


@given(st.lists(NAMES | st.binary(min_size=1, max_size=5), max_size=8), LAYOUTS)
def test_a_template_is_its_bytes_with_numbers_for_names(
    pieces: list[str | bytes], abi: Abi
) -> None:
    live = values(abi=abi)
    template = "".join(
        one.hex() if isinstance(one, bytes) else f"{{{one}}}" for one in pieces
    )
    expected = b"".join(
        one if isinstance(one, bytes) else live.number(one).to_bytes(4, abi.byte_order)
        for one in pieces
    )
    assert control_bytes(template, live) == expected


def test_a_template_with_the_performers_own_ids() -> None:
    own = (0x01020304, 0xFFFFFFFE, 3)
    order = NATIVE.byte_order
    expected = b"".join(n.to_bytes(4, order) for n in (own[2], own[0], own[1]))
    assert control_bytes("{gid}{pid}{uid}", values(own)) == expected


def test_a_negative_number_takes_four_bytes() -> None:
    live = Values({"negative": -1}.__getitem__, (1, 2, 3), NATIVE)
    assert control_bytes("{negative}", live) == b"\xff" * 4
