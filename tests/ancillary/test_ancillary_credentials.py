"""Credentials: as each system lays them out, and where they cannot be passed."""

from __future__ import annotations

import os
import struct
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancfuzz import Abi, ControlMessage, EnvironmentUnsupported, encode
from ancfuzz.abi import ABIS
from ancfuzz.ancillary import ScmCredentials, SocketAncillary, SocketCred
from tests.arriving import abis, creds, message_of


@pytest.mark.parametrize(
    ("target", "layout"),
    [
        ("x86_64-linux-gnu", "<iII"),
        ("s390x-linux-gnu", ">iII"),
        ("x86_64-linux-musl", "<iII"),
    ],
)
def test_ucred(target: str, layout: str) -> None:
    cred = SocketCred(1, 2, 3)
    assert cred.encode(ABIS[target]) == struct.pack(layout, 1, 2, 3)


@pytest.mark.parametrize(
    ("target", "layout", "read"),
    [
        ("x86_64-freebsd-none", "<iiIIIIiI", SocketCred(20, 40, 60)),
        ("powerpc64-freebsd-none", ">iiIIIIiI", SocketCred(20, 40, 60)),
        ("x86_64-netbsd-none", "<iIIIIiI", SocketCred(10, 20, 40)),
        ("sparc64-netbsd-none", ">iIIIIiI", SocketCred(10, 20, 40)),
    ],
)
def test_which_ids_are_read(target: str, layout: str, read: SocketCred) -> None:
    """The effective ones of sockcred2, the real ones of NetBSD's sockcred."""
    abi = ABIS[target]
    fields = [10 * (index + 1) for index in range(len(layout) - 3)]
    data = struct.pack(layout, *fields, 1, 70)
    assert SocketCred.decode(data, abi) == read
    # Groups are gone over, as many as the structure says.
    twice = struct.pack(layout[:-1] + "3I", *fields, 3, 7, 8, 9) + data
    message_ = ControlMessage(
        abi.constants["SOL_SOCKET"], message_of([SocketCred()], abi).type, twice
    )
    buffer = bytearray(256)
    ancillary = SocketAncillary(buffer, abi=abi)
    while len(ancillary) < len(encode([message_], abi)):
        ancillary.add_fds([])
    buffer[: len(encode([message_], abi))] = encode([message_], abi)
    first = next(ancillary.messages())
    assert first == ScmCredentials((read, read))


@given(abi=abis.filter(lambda abi: bool(abi.structs)), cred=creds, rest=st.binary())
def test_credentials_come_back(abi: Abi, cred: SocketCred, rest: bytes) -> None:
    data = cred.encode(abi)
    assert SocketCred.decode(data + rest, abi) == cred
    with pytest.raises(ValueError, match="at least"):
        SocketCred.decode(data[:11], abi)


def test_credentials_of_this_process() -> None:
    own = SocketCred.current()
    assert own == SocketCred(os.getpid(), os.getuid(), os.getgid())
    assert SocketCred() == SocketCred(pid=0, uid=0, gid=0)
    with pytest.raises(AttributeError):
        own.pid = 1  # type: ignore[misc]


@pytest.mark.parametrize("name", ["uid", "gid"])
def test_minus_one_is_the_id_of_nobody(name: str) -> None:
    abi = ABIS["x86_64-linux-gnu"]
    assert getattr(
        SocketCred.decode(SocketCred(**{name: -1}).encode(abi), abi), name
    ) == (2**32 - 1)
    for wrong in (-2, 2**32, "1"):
        with pytest.raises(ValueError, match="expected a C int for pid"):
            SocketCred(**{name: wrong}).encode(abi)  # type: ignore[arg-type]


@pytest.mark.parametrize("target", ["x86_64-openbsd-none", "aarch64-macos-none"])
def test_a_system_without_credentials_says_so(target: str) -> None:
    ancillary = SocketAncillary(64, abi=ABIS[target])
    for add in (
        lambda: ancillary.add_creds([SocketCred()]),
        lambda: ancillary.add_creds([]),
        lambda: SocketCred.decode(bytes(64), ABIS[target]),
    ):
        with pytest.raises(
            EnvironmentUnsupported, match="credentials cannot be passed"
        ):
            add()


def test_what_is_no_credentials_is_refused() -> None:
    ancillary = SocketAncillary(64)
    with pytest.raises(TypeError, match="cannot add 1: expected credentials"):
        ancillary.add_creds([cast("Any", 1)])
    assert ancillary.is_empty
