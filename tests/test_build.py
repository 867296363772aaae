"""Payloads that no message can carry: refused, and told apart."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

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
)

LINUX = ABIS["x86_64-linux-gnu"]
LINUX_32 = ABIS["x86-linux-gnu"]
FREEBSD = ABIS["x86_64-freebsd-none"]
NETBSD = ABIS["x86_64-netbsd-none"]
OPENBSD = ABIS["x86_64-openbsd-none"]
MACOS = ABIS["aarch64-macos-none"]
NAMELESS = replace(NATIVE, name="nameless", constants={}, structs={})


@pytest.mark.parametrize(
    ("payload", "abi", "told"),
    [
        (Rights((0, 1 << 31)), LINUX, "descriptors[1] is 2147483648, expected -2147"),
        (Rights((-(1 << 31) - 1,)), LINUX, "descriptors[0] is -2147483649, expected"),
        (Rights((), b"four"), LINUX, "4 stray bytes, expected at most 3"),
        (
            Ucred(1 << 31, 0, 0),
            LINUX,
            "pid is 2147483648, expected -2147483648 to 2147",
        ),
        (Ucred(0, -1, 0), LINUX, "uid is -1, expected 0 to 4294967295"),
        (Ucred(0, 0, 1 << 32), LINUX, "gid is 4294967296, expected 0 to 4294967295"),
        (Pidfd(1 << 31), LINUX, "descriptor is 2147483648, expected"),
        (Timestamp(0, 1), LINUX, "nanoseconds is 1, expected whole microseconds"),
        (Timestamp(1 << 63, 0), LINUX, "seconds is 9223372036854775808, expected"),
        (Timestamp(0, 1000 << 31), LINUX_32, "microseconds is 2147483648, expected"),
        (Timestamp(0, 1 << 31, "timespec"), LINUX_32, "nanoseconds is 2147483648, exp"),
        (CmsgCred(0, 0, 0, 0, (0,) * 17), FREEBSD, "17 groups, expected at most 16"),
        (CmsgCred(0, 0, 0, 0, (0, -1)), FREEBSD, "groups[1] is -1, expected 0 to 4294"),
        (SockCred(0, 0, 0, 0, (-1,)), FREEBSD, "groups[0] is -1, expected 0 to 4294"),
        (
            SockCred(0, 0, 0, 0, (), 7),
            FREEBSD,
            "pid is 7, expected None: no such field",
        ),
        (SockCred(0, 0, 0, 0), NETBSD, "pid is None, expected -2147483648 to 21474836"),
        (SockCred2(0, 0, 0, 0, -5), FREEBSD, "egid is -5, expected 0 to 4294967295"),
        (Unknown(1 << 31, 0, b""), LINUX, "level is 2147483648, expected -2147483648"),
        (
            Unknown(0, -(1 << 33), b""),
            LINUX,
            "type is -8589934592, expected -2147483648",
        ),
    ],
)
def test_a_value_that_does_not_fit(payload: Payload, abi: Abi, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)) as caught:
        build(payload, abi)
    said = str(caught.value)
    assert said.startswith(f"cannot build {type(payload).__name__}")
    assert len(said.splitlines()) == 1
    if not isinstance(payload, Unknown):
        assert f" for {abi.name}: " in said


@pytest.mark.parametrize(
    ("payload", "abi", "known"),
    [
        (Ucred(0, 0, 0), FREEBSD, "CmsgCred, Rights, SockCred, SockCred2"),
        (CmsgCred(0, 0, 0, 0), LINUX, "Pidfd, Rights, SecurityLabel, Timestamp, Ucred"),
        (SockCred2(0, 0, 0, 0, 0), NETBSD, "Rights, SockCred"),
        (SecurityLabel(b""), OPENBSD, "Rights"),
        (Timestamp(0, 0), MACOS, "Rights"),
        (Rights(), NAMELESS, "nothing"),
    ],
)
def test_a_type_that_the_abi_does_not_have(
    payload: Payload, abi: Abi, known: str
) -> None:
    name = type(payload).__name__
    told = f"cannot build {name} for {abi.name}: it has {known}, and Unknown"
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        build(payload, abi)
