"""SocketAncillary against the codec, and the account of what it owns."""

from __future__ import annotations

import array
import copy
import gc
import mmap
import os
import pickle
import socket
import struct
import threading
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancfuzz import (
    Abi,
    ControlMessage,
    EnvironmentUnsupported,
    MalformedControl,
    decode,
    encode,
)
from ancfuzz.abi import ABIS, NATIVE
from ancfuzz.ancillary import (
    Item,
    ScmCredentials,
    ScmRights,
    SocketAncillary,
    SocketCred,
    UnknownMessage,
)
from ancfuzz.ancillary.account import Account
from ancfuzz.ancillary.items import layout_of
from ancfuzz.descriptors import open_numbers
from ancfuzz.syscalls import message

if TYPE_CHECKING:
    from collections.abc import Iterator

CANARY = 0xA5
abis = st.sampled_from(list(ABIS.values()))
c_ints = st.integers(-(2**31), 2**31 - 1)
ids = st.integers(0, 2**32 - 1)
creds = st.builds(SocketCred, c_ints, ids, ids)


@pytest.fixture(autouse=True)
def leaks_nothing() -> Iterator[None]:
    before = open_numbers()
    yield
    assert open_numbers() == before


@pytest.fixture
def pair() -> Iterator[tuple[int, int]]:
    one, other = socket.socketpair()
    with one, other:
        other.settimeout(0)
        yield one.fileno(), other.fileno()


def arrive(pair: tuple[int, int], ancillary: SocketAncillary, count: int = 2) -> None:
    """Have so many descriptors received into it."""
    sent = SocketAncillary(SocketAncillary.capacity_for(fds=count))
    sent.add_fds([pair[0]] * count)
    sent.sendmsg(pair[0], [b"x"])
    assert ancillary.recvmsg(pair[1], [bytearray(1)]) == 1


# Adding and reading


def message_of(item: list[Any], abi: Abi) -> ControlMessage:
    """What adding these is to add: descriptors, or credentials."""
    if item and isinstance(item[0], SocketCred):
        data = b"".join(one.encode(abi) for one in item)
        name = next(
            n
            for n in ("SCM_CREDENTIALS", "SCM_CREDS2", "SCM_CREDS")
            if n in abi.constants
        )
        return ControlMessage(abi.constants["SOL_SOCKET"], abi.constants[name], data)
    data = struct.pack(f"{abi.struct_order}{len(item)}i", *item)
    return ControlMessage(
        abi.constants["SOL_SOCKET"], abi.constants["SCM_RIGHTS"], data
    )


@given(
    abi=abis,
    added=st.lists(
        st.one_of(
            st.lists(c_ints, max_size=20), st.lists(creds, min_size=1, max_size=3)
        ),
        max_size=8,
    ),
    capacity=st.integers(0, 300),
    offset=st.integers(0, 15),
    dirt=st.integers(0, 255),
)
def test_it_is_the_codec_with_a_capacity(
    abi: Abi, added: list[list[Any]], capacity: int, offset: int, dirt: int
) -> None:
    memory = bytearray([dirt]) * (offset + capacity + 8)
    view = memoryview(memory)[offset : offset + capacity]
    ancillary = SocketAncillary(view, abi=abi)
    expected: list[ControlMessage] = []
    items: list[Item] = []
    for item in added:
        of_creds = bool(item) and isinstance(item[0], SocketCred)
        if of_creds and not abi.structs:
            continue
        wanted = [*expected, message_of(item, abi)]
        fits = len(encode(wanted, abi)) <= capacity
        before = bytes(memory)
        add = ancillary.add_creds if of_creds else ancillary.add_fds
        assert add(item) == fits
        if fits:
            expected = wanted
            what = ScmCredentials if of_creds else ScmRights
            items.append(what(tuple(item)))
        else:
            assert memory == before
        assert ancillary.control == encode(expected, abi)
        assert len(ancillary) == len(ancillary.control)
        assert ancillary.is_empty == (not expected)
    assert decode(ancillary.control, abi) == expected
    assert list(ancillary.messages()) == items
    # Nothing is written but what was added.
    used = offset + len(ancillary)
    assert memory[:offset] == bytes([dirt]) * offset
    assert memory[used:] == bytes([dirt]) * (len(memory) - used)
    assert ancillary.capacity == capacity


@given(control=st.binary(max_size=128), abi=abis)
def test_reading_what_somebody_wrote_to_the_buffer(control: bytes, abi: Abi) -> None:
    """As decode: all that is whole, and then the same error."""
    buffer = bytearray(128)
    ancillary = SocketAncillary(buffer, abi=abi)
    while ancillary.add_fds([]):
        pass
    buffer[: len(control)] = control
    used = ancillary.control
    seen: list[Item] = []
    broken = None
    try:
        for one in ancillary.messages():
            seen.append(one)  # noqa: PERF402  (which ones came before the error?)
    except MalformedControl as error:
        broken = error
    whole = used if broken is None else used[: broken.offset]
    assert len(seen) == len(decode(whole, abi))
    if broken is not None:
        with pytest.raises(MalformedControl) as same:
            decode(used, abi)
        assert str(broken) == str(same.value)
        assert str(broken) in repr(ancillary)
    assert ancillary.take_fds() == []
    ancillary.clear()


@pytest.mark.parametrize(
    "make",
    [
        lambda: 64,
        lambda: bytearray(64),
        lambda: memoryview(bytearray(80))[3:67],
        lambda: mmap.mmap(-1, 64),
        lambda: array.array("i", bytes(64)),
        lambda: memoryview(bytearray(64)).cast("i", (4, 4)),
    ],
)
def test_any_memory_will_do(make: Any, pair: tuple[int, int]) -> None:
    ancillary = SocketAncillary(make())
    assert ancillary.capacity == 64
    with ancillary:
        before = open_numbers()
        arrive(pair, ancillary)
        (rights,) = ancillary.messages()
        assert isinstance(rights, ScmRights)
        assert {*rights} == open_numbers() - before


@pytest.mark.parametrize(
    ("memory", "error", "said"),
    [
        (b"bytes", TypeError, "read-only bytes"),
        (memoryview(b"view"), TypeError, "read-only memoryview"),
        (memoryview(bytearray(8))[::2], TypeError, "C-contiguous"),
        ("text", TypeError, "str is no bytes-like object"),
        (None, TypeError, "NoneType is no bytes-like object"),
        (1.5, TypeError, "float is no bytes-like object"),
        (-1, ValueError, "a capacity of -1 bytes"),
    ],
)
def test_other_memory_will_not(memory: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        SocketAncillary(memory)


def test_the_buffer_is_borrowed() -> None:
    buffer = bytearray(64)
    ancillary = SocketAncillary(buffer)
    with pytest.raises(BufferError):
        buffer.clear()
    del ancillary
    buffer.clear()


def test_control_is_a_copy() -> None:
    ancillary = SocketAncillary(64)
    ancillary.add_fds([3])
    control = ancillary.control
    ancillary.clear()
    ancillary.add_fds([4])
    assert decode(control)[0].data == struct.pack("@i", 3)


# The account


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


# Credentials


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


# Other systems


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


def test_messages_of_another_system_do_not_leave_this_one(
    pair: tuple[int, int],
) -> None:
    other = next(abi for abi in ABIS.values() if abi.byte_order != NATIVE.byte_order)
    ancillary = SocketAncillary(64, abi=other)
    assert ancillary.abi is other
    for call in (ancillary.sendmsg, ancillary.recvmsg):
        with pytest.raises(EnvironmentUnsupported, match=f"laid out for {other.name}"):
            call(pair[0], [bytearray(1)])


def test_the_native_layout_is_known_by_its_value(pair: tuple[int, int]) -> None:
    layout_of.cache_clear()
    for abi in (replace(NATIVE), NATIVE):
        with SocketAncillary(64, abi=abi) as ancillary:
            arrive(pair, ancillary)


def test_a_layout_without_names_is_refused() -> None:
    bare = Abi("bare", "little", 16, 0, 8, 8, 12, 8, 16)
    with pytest.raises(
        EnvironmentUnsupported, match="bare does not say what SOL_SOCKET"
    ):
        SocketAncillary(64, abi=bare)


def test_items_are_values() -> None:
    for one, same, other in (
        (ScmRights((1,)), ScmRights((1,)), ScmRights((2,))),
        (
            UnknownMessage(1, 2, b""),
            UnknownMessage(1, 2, b""),
            UnknownMessage(1, 3, b""),
        ),
        (ScmCredentials(()), ScmCredentials(()), ScmRights(())),
    ):
        assert one == same
        assert hash(one) == hash(same)
        assert one != other
