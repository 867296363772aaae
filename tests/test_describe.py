"""Control messages in words."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancfuzz.abi import ABIS, NATIVE, Abi
from ancfuzz.messages import (
    CmsgCred,
    Payload,
    Pidfd,
    Rights,
    SecurityLabel,
    SockCred,
    SockCred2,
    Timestamp,
    Ucred,
    Unknown,
    build,
    describe,
    type_name,
)
from ancfuzz.strategies import abis, control_messages

if TYPE_CHECKING:
    from ancfuzz.codec import ControlMessage

LINUX = ABIS["x86_64-linux-gnu"]
FREEBSD = ABIS["x86_64-freebsd-none"]
NETBSD = ABIS["x86_64-netbsd-none"]
MACOS = ABIS["aarch64-macos-none"]
NAMELESS = replace(NATIVE, name="nameless", constants={}, structs={})


@pytest.mark.parametrize(
    ("payload", "abi", "told"),
    [
        (Rights((5, 6, 7)), LINUX, "SCM_RIGHTS 3 descriptors: 5 6 7"),
        (Rights((5,)), MACOS, "SCM_RIGHTS 1 descriptor: 5"),
        (Rights(), LINUX, "SCM_RIGHTS 0 descriptors"),
        (Rights((), b"a"), LINUX, "SCM_RIGHTS 0 descriptors, 1 stray byte"),
        (Rights((-1,), b"ab"), LINUX, "SCM_RIGHTS 1 descriptor: -1, 2 stray bytes"),
        (
            Rights(tuple(range(253))),
            LINUX,
            "SCM_RIGHTS 253 descriptors: 0 1 2 3 4 5 6 7 ...",
        ),
        (Ucred(1, 0, 0), LINUX, "SCM_CREDENTIALS pid 1 uid 0 gid 0"),
        (CmsgCred(1, 2, 3, 4), FREEBSD, "SCM_CREDS pid 1 uid 2 euid 3 gid 4"),
        (
            SockCred(2, 3, 4, 5, (6, 7)),
            FREEBSD,
            "SCM_CREDS uid 2 euid 3 gid 4 egid 5 groups 6 7",
        ),
        (
            SockCred(2, 3, 4, 5, (), 0),
            NETBSD,
            "SCM_CREDS uid 2 euid 3 gid 4 egid 5 pid 0",
        ),
        (
            SockCred2(1, 2, 3, 4, 5, (6,)),
            FREEBSD,
            "SCM_CREDS2 pid 1 uid 2 euid 3 gid 4 egid 5 groups 6 version 0",
        ),
        (Pidfd(7), LINUX, "SCM_PIDFD descriptor 7"),
        (SecurityLabel(b"a\n\xff\0"), LINUX, r"SCM_SECURITY b'a\n\xff\x00'"),
        (
            SecurityLabel(b"a" * 33),
            LINUX,
            f"SCM_SECURITY b'{'a' * 32}' and 1 byte more",
        ),
        (Timestamp(2, 3000), LINUX, "SCM_TIMESTAMP seconds 2 nanoseconds 3000"),
        (Timestamp(2, 3, "timespec"), LINUX, "SCM_TIMESTAMPNS seconds 2 nanoseconds 3"),
        (Unknown(41, 8, b"four"), LINUX, "level 41 type 8, 4 bytes"),
        (Unknown(1, 99, b""), LINUX, "level 1 type 99, 0 bytes"),
        (Unknown(0xFFFF, 3, b"a"), MACOS, "SCM_CREDS, 1 byte"),
        (Unknown(1, 1, b""), NAMELESS, "level 1 type 1, 0 bytes"),
    ],
)
def test_a_message_in_words(payload: Payload, abi: Abi, told: str) -> None:
    assert describe(build(payload, abi), abi) == told


@given(abis().flatmap(lambda abi: st.tuples(st.just(abi), control_messages(abi=abi))))
def test_any_message_is_one_short_line(drawn: tuple[Abi, ControlMessage]) -> None:
    abi, message = drawn
    told = describe(message, abi)
    assert len(told.splitlines()) == 1
    assert len(told) < 240
    assert told.isascii()
    name = type_name(message.level, message.type, abi)
    assert told.startswith(name or f"level {message.level} type {message.type}, ")


def test_types_have_the_names_of_the_headers() -> None:
    for abi in ABIS.values():
        level = abi.constants["SOL_SOCKET"]
        for name, value in abi.constants.items():
            if name.startswith("SCM_"):
                assert type_name(level, value, abi) == name
                assert type_name(level + 1, value, abi) is None
        assert type_name(level, 77, abi) is None
    assert type_name(1, 1, NAMELESS) is None
    assert type_name(NATIVE.constants["SOL_SOCKET"], 1) == "SCM_RIGHTS"
