"""Typed payloads: nothing is lost, nothing is made up, for any of the layouts."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancfuzz.abi import ABIS, NATIVE, Abi
from ancfuzz.codec import ControlMessage
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
    parse,
    type_name,
)
from ancfuzz.strategies import abis, control_messages, payloads

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis.strategies import SearchStrategy

T = TypeVar("T")

PROBES: dict[str, Any] = json.loads(
    (Path(__file__).parent / "data" / "abi-probes.json").read_text(encoding="utf-8")
)
STRUCTURES: dict[str, dict[str, int]] = {
    one["target"]: PROBES["structures"][one["structures"]] for one in PROBES["targets"]
}

LINUX = ABIS["x86_64-linux-gnu"]
LINUX_32 = ABIS["x86-linux-gnu"]
FREEBSD = ABIS["x86_64-freebsd-none"]
FREEBSD_BE = ABIS["powerpc64-freebsd-none"]
NETBSD = ABIS["x86_64-netbsd-none"]
OPENBSD = ABIS["x86_64-openbsd-none"]
MACOS = ABIS["aarch64-macos-none"]
NAMELESS = replace(NATIVE, name="nameless", constants={}, structs={})


def of_each_abi(
    make: Callable[..., SearchStrategy[T]], drawn: SearchStrategy[Abi] | None = None
) -> SearchStrategy[tuple[Abi, T]]:
    drawn = abis() if drawn is None else drawn
    return drawn.flatmap(lambda abi: st.tuples(st.just(abi), make(abi=abi)))


def structured(*, abi: Abi) -> SearchStrategy[Payload]:
    """Payloads that have one length, once their groups are counted."""
    free = (Rights, SecurityLabel, Unknown)
    return payloads(abi=abi).filter(lambda payload: not isinstance(payload, free))


STRUCTURED = of_each_abi(
    structured, abis(names=[name for name, abi in ABIS.items() if abi.structs])
)


# Round trips.


@given(of_each_abi(payloads))
def test_what_was_built_is_parsed(drawn: tuple[Abi, Payload]) -> None:
    abi, payload = drawn
    message = build(payload, abi)
    parsed = parse(message, abi)
    if isinstance(payload, Unknown):
        assert (message.level, message.type, message.data) == (
            payload.level,
            payload.type,
            payload.data,
        )
    elif isinstance(payload, SockCred) and len(payload.groups) == 16:
        assert isinstance(parsed, CmsgCred) or parsed == payload
    else:
        assert parsed == payload


@given(of_each_abi(control_messages))
def test_what_was_parsed_is_built_byte_for_byte(
    drawn: tuple[Abi, ControlMessage],
) -> None:
    abi, message = drawn
    assert build(parse(message, abi), abi) == message


@given(abis(), st.data())
def test_any_bytes_of_a_known_type_come_back(abi: Abi, data: st.DataObject) -> None:
    types = [v for name, v in abi.constants.items() if name.startswith("SCM_")]
    level, type_ = abi.constants["SOL_SOCKET"], data.draw(st.sampled_from(types))
    # 84 bytes are a cmsgcred, 16 and 8 a time, 12 a ucred, 28 and 24 a sockcred.
    size = data.draw(st.sampled_from([0, 3, 4, 8, 12, 16, 20, 24, 28, 32, 84, 88]))
    small = st.sampled_from([0, 1, 2, 16, 255])
    payload = bytes(data.draw(st.lists(small, min_size=size, max_size=size)))
    message = ControlMessage(level, type_, payload)
    assert build(parse(message, abi), abi) == message


@given(STRUCTURED, st.data())
def test_a_truncated_structure_is_never_read_as_itself(
    drawn: tuple[Abi, Payload], data: st.DataObject
) -> None:
    abi, payload = drawn
    whole = build(payload, abi)
    size = data.draw(st.integers(0, len(whole.data) - 1))
    cut = ControlMessage(whole.level, whole.type, whole.data[:size])
    parsed = parse(cut, abi)
    # Half of one structure may be all of another only where one type has two.
    if "cmsgcred" in abi.structs and isinstance(payload, CmsgCred):
        assert not isinstance(parsed, CmsgCred)
    else:
        assert parsed == Unknown(cut.level, cut.type, cut.data)


@given(STRUCTURED, st.binary(min_size=1, max_size=4))
def test_a_structure_and_more_is_unknown(
    drawn: tuple[Abi, Payload], more: bytes
) -> None:
    abi, payload = drawn
    whole = build(payload, abi)
    long = ControlMessage(whole.level, whole.type, whole.data + more)
    assert parse(long, abi) == Unknown(long.level, long.type, long.data)


# Against the headers.

FIELDS: list[tuple[Payload, str, dict[str, str]]] = [
    (
        Ucred(pid=1, uid=2, gid=3),
        "sizeof_ucred",
        {"pid": "off_ucred_pid", "uid": "off_ucred_uid", "gid": "off_ucred_gid"},
    ),
    (
        CmsgCred(pid=1, uid=2, euid=3, gid=4, groups=(11, 12)),
        "sizeof_cmsgcred",
        {
            name: f"off_cmcred_{name}"
            for name in ("pid", "uid", "euid", "gid", "groups")
        },
    ),
    (
        SockCred(uid=2, euid=3, gid=4, egid=5, groups=(11,)),
        "sizeof_sockcred",
        {name: f"off_sc_{name}" for name in ("uid", "euid", "gid", "egid", "groups")},
    ),
    (
        SockCred(uid=2, euid=3, gid=4, egid=5, groups=(11,), pid=1),
        "sizeof_sockcred",
        {
            name: f"off_sc_{name}"
            for name in ("pid", "uid", "euid", "gid", "egid", "groups")
        },
    ),
    (
        SockCred2(version=9, pid=1, uid=2, euid=3, gid=4, egid=5, groups=(11,)),
        "sizeof_sockcred2",
        {
            name: f"off_sc2_{name}"
            for name in ("version", "pid", "uid", "euid", "gid", "egid", "groups")
        },
    ),
]


def has(abi: Abi, payload: Payload) -> bool:
    """Whether the headers of the target have the structure, as the probe saw it."""
    probe = STRUCTURES[abi.name]
    match payload:
        case Ucred():
            return "sizeof_ucred" in probe
        case CmsgCred():
            return "sizeof_cmsgcred" in probe
        case SockCred(pid=None):
            return "sizeof_sockcred" in probe and "off_sc_pid" not in probe
        case SockCred():
            return "off_sc_pid" in probe
        case _:
            return "sizeof_sockcred2" in probe


@pytest.mark.parametrize("target", ABIS)
@pytest.mark.parametrize(("payload", "size", "offsets"), FIELDS)
def test_credentials_lie_where_the_headers_put_them(
    target: str, payload: Payload, size: str, offsets: dict[str, str]
) -> None:
    abi, probe = ABIS[target], STRUCTURES[target]
    if not has(abi, payload):
        with pytest.raises(ValueError, match=type(payload).__name__):
            build(payload, abi)
        return
    data = build(payload, abi).data
    assert len(data) == probe[size]
    for name, offset in offsets.items():
        value: int | tuple[int, ...] = getattr(payload, name)
        first = value[0] if isinstance(value, tuple) else value
        at = probe[offset]
        assert int.from_bytes(data[at : at + 4], abi.byte_order) == first, name


@pytest.mark.parametrize(
    ("abi", "payload", "size"),
    [
        (FREEBSD, SockCred(0, 0, 0, 0, (0,)), "SOCKCREDSIZE_1"),
        (FREEBSD, SockCred(0, 0, 0, 0, (0,) * 16), "SOCKCREDSIZE_16"),
        (NETBSD, SockCred(0, 0, 0, 0, (0,), 1), "SOCKCREDSIZE_1"),
        (NETBSD, SockCred(0, 0, 0, 0, (0,) * 16, 1), "SOCKCREDSIZE_16"),
        (FREEBSD, SockCred2(1, 0, 0, 0, 0, (0,)), "SOCKCRED2SIZE_1"),
    ],
)
def test_groups_take_the_room_that_the_headers_give_them(
    abi: Abi, payload: Payload, size: str
) -> None:
    assert len(build(payload, abi).data) == STRUCTURES[abi.name][size]


# Corners.


def test_rights_by_hand() -> None:
    message = build(Rights((5, -1, 1 << 16), b"ab"), LINUX)
    assert message == ControlMessage(1, 1, b"\5\0\0\0\xff\xff\xff\xff\0\0\1\0ab")
    big = build(Rights((5, -1, 1 << 16), b"ab"), ABIS["s390x-linux-musl"])
    assert big == ControlMessage(1, 1, b"\0\0\0\5\xff\xff\xff\xff\0\1\0\0ab")


@pytest.mark.parametrize("size", range(13))
def test_descriptors_are_whole_numbers_and_the_rest_is_stray(size: int) -> None:
    data = bytes(range(1, size + 1))
    rights = parse(ControlMessage(1, 1, data), LINUX)
    assert isinstance(rights, Rights)
    assert len(rights.descriptors) == size // 4
    assert rights.stray == data[size - size % 4 :]


@pytest.mark.parametrize("size", range(12))
def test_the_head_of_a_ucred_is_no_pid(size: int) -> None:
    # syslog-ng 4597 logged pid 1970995200, Go 16475 panicked.
    data = bytes(range(1, size + 1))
    message = ControlMessage(1, 2, data)
    assert parse(message, LINUX) == Unknown(1, 2, data)
    assert describe(message, LINUX) == (
        f"SCM_CREDENTIALS, {size} byte{'' if size == 1 else 's'}"
    )


def test_a_pidfd_may_be_an_errno() -> None:
    message = ControlMessage(1, 4, b"\xe8\xff\xff\xff")
    assert parse(message, LINUX) == Pidfd(-24)
    assert describe(message, LINUX) == "SCM_PIDFD errno 24, no descriptor"


TIME_WIDTHS = {
    "x86_64-linux-gnu": (16, 16),
    "aarch64_be-linux-musl": (16, 16),
    "x86-linux-gnu": (8, 8),
    "mips64-linux-gnuabin32": (8, 8),
    # x32, and the option numbers of a time64 libc
    "x86_64-linux-gnux32": (16, 16),
    "x86-linux-musl": (16, 16),
    "powerpc-linux-musleabihf": (16, 16),
    "mips64-linux-muslabin32": (16, 16),
    "riscv32-linux-gnu": (16, 16),
    # nobody has verified these
    "sparc64-linux-gnu": (None, 16),
    "x86_64-freebsd-none": (None, None),
    "x86_64-netbsd-none": (None, None),
    "x86_64-openbsd-none": (None, None),
    "aarch64-macos-none": (None, None),
}


@pytest.mark.parametrize("target", TIME_WIDTHS)
def test_how_wide_a_time_is(target: str) -> None:
    abi = ABIS[target]
    for name, width in zip(
        ("SCM_TIMESTAMP", "SCM_TIMESTAMPNS"), TIME_WIDTHS[target], strict=True
    ):
        type_ = abi.constants.get(name, 1000)
        for size in range(33):
            message = ControlMessage(abi.constants["SOL_SOCKET"], type_, bytes(size))
            # Eight bytes where sixteen are due are half a time.
            assert isinstance(parse(message, abi), Timestamp) == (size == width)


def test_times_by_hand() -> None:
    wide = ControlMessage(1, 29, b"\2" + bytes(7) + b"\3" + bytes(7))
    assert parse(wide, LINUX) == Timestamp(2, 3000, "timeval")
    narrow = ControlMessage(1, 35, b"\xff\xff\xff\xff\3\0\0\0")
    assert parse(narrow, LINUX_32) == Timestamp(-1, 3, "timespec")


CLEAN = build(CmsgCred(1, 2, 3, 4, (5, 6)), FREEBSD)


@pytest.mark.parametrize(
    ("at", "byte"),
    [
        pytest.param(16, 17, id="more groups than slots"),
        pytest.param(17, 0x80, id="fewer groups than none"),
        pytest.param(18, 1, id="padding"),
        pytest.param(28, 1, id="an unused slot"),
        pytest.param(83, 1, id="the last byte"),
        pytest.param(16, 1, id="a slot that is not counted"),
    ],
)
def test_84_bytes_that_are_no_cmsgcred(at: int, byte: int) -> None:
    data = CLEAN.data[:at] + bytes([byte]) + CLEAN.data[at + 1 :]
    message = ControlMessage(CLEAN.level, CLEAN.type, data)
    assert parse(message, FREEBSD) == Unknown(CLEAN.level, CLEAN.type, data)


def test_sixteen_groups_of_freebsd_cannot_be_told_apart() -> None:
    groups = tuple(range(16))
    sock, cmsg = SockCred(1, 2, 3, 4, groups), CmsgCred(1, 2, 3, 4, groups)
    assert build(sock, FREEBSD) == build(cmsg, FREEBSD)
    assert parse(build(sock, FREEBSD), FREEBSD) == cmsg
    # A big-endian count of two bytes is not one of four.
    assert parse(build(sock, FREEBSD_BE), FREEBSD_BE) == sock
    assert parse(build(cmsg, FREEBSD_BE), FREEBSD_BE) == cmsg


@pytest.mark.parametrize("abi", [FREEBSD, FREEBSD_BE, NETBSD])
@pytest.mark.parametrize("count", [-1, 0, 2, 3, 1 << 30])
def test_a_sockcred_whose_count_is_wrong(abi: Abi, count: int) -> None:
    pid = 1 if abi is NETBSD else None
    whole = build(SockCred(1, 2, 3, 4, (5,), pid), abi)
    field = count.to_bytes(4, abi.byte_order, signed=True)
    data = whole.data[:-8] + field + whole.data[-4:]
    message = ControlMessage(whole.level, whole.type, data)
    assert parse(message, abi) == Unknown(whole.level, whole.type, data)


# Values.


def test_an_abi_is_not_taken_for_one_of_the_same_layout() -> None:
    # Their hashes agree: only equality tells them apart.
    moved = replace(LINUX, constants={"SOL_SOCKET": 7, "SCM_RIGHTS": 9})
    assert hash(moved) == hash(LINUX)
    assert parse(ControlMessage(1, 1, b""), LINUX) == Rights()
    assert parse(ControlMessage(1, 1, b""), moved) == Unknown(1, 1, b"")
    assert parse(ControlMessage(7, 9, b""), moved) == Rights()
    assert type_name(7, 9, moved) == "SCM_RIGHTS"
    levelless = replace(LINUX, constants={"SCM_RIGHTS": 1})
    assert parse(ControlMessage(1, 1, b""), levelless) == Unknown(1, 1, b"")
    assert type_name(1, 1, levelless) is None


@given(of_each_abi(payloads))
def test_payloads_are_values(drawn: tuple[Abi, Payload]) -> None:
    _, payload = drawn
    twin = pickle.loads(pickle.dumps(payload))  # noqa: S301  (our own bytes)
    assert twin == payload
    assert hash(twin) == hash(payload)
    assert eval(repr(payload), {**globals()}) == payload  # noqa: S307
    with pytest.raises(AttributeError):
        setattr(payload, payload.__struct_fields__[0], 0)
