"""What was recorded becomes a case that says the same, and nothing private.

A recorded transcript is held against the model as it is, and against what comes of
performing the case again: three accounts of one exchange, none of which knows the
others.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ancfuzz import corpus
from ancfuzz.abi import NATIVE
from ancfuzz.case import (
    Case,
    Close,
    NamedCredentials,
    NamedRights,
    Open,
    PlainMessage,
    Receive,
    Send,
    SendRaw,
    SetOption,
    Step,
)
from ancfuzz.harness import Performer
from ancfuzz.implementation import Promise
from ancfuzz.implementations import resolve
from ancfuzz.invariants import INVARIANTS, judge
from ancfuzz.model import accept
from ancfuzz.recorder import (
    Descriptor,
    ReceiveCall,
    Recorded,
    Recording,
    SendCall,
    cases,
    record,
    recorded,
)
from ancfuzz.recorder.exchanges import match
from ancfuzz.recorder.symbols import (
    control_template,
    descriptor_names,
    sender_ids,
    sent_messages,
)
from ancfuzz.transcript import Answer, Got, Transcript

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the recorder is for Linux"),
    pytest.mark.skipif(
        shutil.which("cc") is None, reason="the recorder needs a C compiler"
    ),
]

SECONDS = 30.0
PRELUDE = """
import array, errno, json, os, socket, struct, sys
L, RIGHTS, CREDENTIALS = socket.SOL_SOCKET, socket.SCM_RIGHTS, socket.SCM_CREDENTIALS
STREAM, DGRAM, PACKET = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET
def rights(*fds): return L, RIGHTS, array.array("i", fds)
def me():
    ids = os.getpid(), os.getuid(), os.getgid()
    return L, CREDENTIALS, struct.pack("3i", *ids)
def pair(kind=STREAM):
    a, b = socket.socketpair(socket.AF_UNIX, kind)
    b.setblocking(False)
    return a, b
def passcred(*sockets):
    for one in sockets: one.setsockopt(L, socket.SO_PASSCRED, 1)
def fails(call, *arguments):
    try: call(*arguments)
    except OSError: return
    raise AssertionError(call)
"""


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of our own, so that nothing is written to a home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def run(source: str, *arguments: str) -> Recording:
    """Records a Python program that has to end well."""
    program = PRELUDE + textwrap.dedent(source)
    recording = record([sys.executable, "-ISc", program, *arguments], timeout=SECONDS)
    assert (recording.status, recording.notes) == (0, ())
    return recording


def both(*steps: Step) -> tuple[Step, ...]:
    """The steps of a case in which both ends have SO_PASSCRED."""
    options = (SetOption("b", "SO_PASSCRED"), SetOption("a", "SO_PASSCRED"))
    return (Open(), *options, *steps)


# What a program does, and the steps of the one case that it is.
EXCHANGES: dict[str, tuple[str, tuple[Step, ...]]] = {
    "rights": (
        """
        a, b = pair()
        r, w = os.pipe()
        m = os.memfd_create("x")
        a.sendmsg([b"abc"], [rights(r, m, w, m, os.dup(m), a.fileno(), b.fileno())])
        b.recvmsg(10, 100)
        """,
        (
            Open(),
            Send(
                "a",
                "000000",
                (
                    NamedRights(
                        (
                            *("pipe-read", "memfd", "pipe-write", "memfd"),
                            *("dup:memfd", "socket:a", "socket:b"),
                        )
                    ),
                ),
            ),
            Receive("b", 10, 100),
        ),
    ),
    "bytes before and behind, in pieces": (
        """
        a, b = pair()
        a.send(b"12")
        a.sendmsg([b"3456789"], [rights(0)])
        b.recvmsg(5, 24)
        b.recvmsg(1, 40)
        b.recvmsg(100, 60)
        """,
        (
            Open(),
            Send("a", "0000"),
            Send("a", "00" * 7, (NamedRights(("file",)),)),
            Receive("b", 5, 24),
            Receive("b", 1, 40),
            Receive("b", 100, 60),
        ),
    ),
    "several messages, cut": (
        """
        a, b = pair(PACKET)
        passcred(b)
        a.sendmsg([b"x"], [rights(*os.pipe()), me(), rights(a.fileno())], 0x4000)
        b.recvmsg(1, 60, socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT)
        """,
        (
            Open("seqpacket"),
            SetOption("b", "SO_PASSCRED"),
            Send(
                "a",
                "00",
                (
                    NamedRights(("pipe-read", "pipe-write")),
                    NamedCredentials(),
                    NamedRights(("socket:a",)),
                ),
            ),
            Receive("b", 1, 60, ("MSG_DONTWAIT", "MSG_CMSG_CLOEXEC")),
        ),
    ),
    "credentials of the kernel's own, with what follows": (
        """
        a, b = pair()
        passcred(a, b)
        a.sendmsg([b"12"], [me()])
        a.sendmsg([b"345"])
        b.recvmsg(10, 100)
        """,
        both(
            Send("a", "0000", (NamedCredentials(),)),
            Send("a", "000000"),
            Receive("b", 10, 100),
        ),
    ),
    "an option that comes late": (
        """
        a, b = pair(DGRAM)
        a.sendmsg([b"1"], [rights(*os.pipe())])
        passcred(b)
        b.recvmsg(10, 100)
        """,
        (
            Open("dgram"),
            Send("a", "00", (NamedRights(("pipe-read", "pipe-write")),)),
            SetOption("b", "SO_PASSCRED"),
            Receive("b", 10, 100),
        ),
    ),
    "credentials, then descriptors that are cut": (
        """
        a, b = pair()
        passcred(b)
        a.sendmsg([b"1"], [me()])
        a.sendmsg([b"2"], [rights(*os.pipe())])
        b.recvmsg(10, 32)
        """,
        (
            Open(),
            SetOption("b", "SO_PASSCRED"),
            Send("a", "00"),
            Send("a", "00", (NamedRights(("pipe-read", "pipe-write")),)),
            Receive("b", 10, 32),
        ),
    ),
    "a look before": (
        """
        a, b = pair(DGRAM)
        a.sendmsg([b"123"], [rights(*os.pipe())])
        b.recvmsg(1, 20, socket.MSG_PEEK)
        b.recvmsg(3, 24)
        """,
        (
            Open("dgram"),
            Send("a", "000000", (NamedRights(("pipe-read", "pipe-write")),)),
            Receive("b", 1, 20, ("MSG_PEEK",)),
            Receive("b", 3, 24),
        ),
    ),
    "nothing there": (
        """
        a, b = pair()
        passcred(b)
        fails(b.recvmsg, 10, 50)
        """,
        (Open(), SetOption("b", "SO_PASSCRED"), Receive("b", 10, 50)),
    ),
    "the end": (
        """
        a, b = pair()
        passcred(b)
        a.close()
        b.recvmsg(10, 50)
        """,
        (Open(), SetOption("b", "SO_PASSCRED"), Close("a"), Receive("b", 10, 50)),
    ),
    "an empty packet": (
        """
        a, b = pair(DGRAM)
        a.sendmsg([], [rights(*os.pipe())])
        b.recvmsg(10, 50)
        """,
        (
            Open("dgram"),
            Send("a", "", (NamedRights(("pipe-read", "pipe-write")),)),
            Receive("b", 10, 50),
        ),
    ),
    "refused": (
        """
        a, b = pair()
        fails(a.sendmsg, [b"xx"], [rights(a.fileno(), 12345, -1)])
        """,
        (
            Open(),
            Send("a", "0000", (NamedRights(("socket:a", "closed", "negative")),)),
        ),
    ),
    "a type that nobody knows": (
        """
        a, b = pair()
        fails(a.sendmsg, [b"x"], [(L, 77, b"abc")])
        """,
        (Open(), Send("a", "00", (PlainMessage(socket.SOL_SOCKET, 77, "616263"),))),
    ),
}


@pytest.mark.parametrize(("source", "steps"), EXCHANGES.values(), ids=[*EXCHANGES])
def test_an_exchange_is_one_case(source: str, steps: tuple[Step, ...]) -> None:
    recording = run(source)
    (one,) = recorded(recording)
    assert one.case.steps == steps
    (case,) = cases(recording)
    assert case == one.case
    assert corpus.loads(corpus.dumps(case)) == case
    assert_sound(one)


def assert_sound(one: Recorded) -> None:
    """The model accepts what was recorded, and performing the case gives it again."""
    promise = Promise(close_on_exec=False)
    assert len(one.transcript.answers) == len(one.case.steps)
    for transcript in (one.transcript, performed(one.case)):
        acceptance = accept(one.case, transcript, promise=promise)
        assert acceptance.unknown == ""
        verdict = judge(
            one.case,
            transcript,
            acceptance,
            promise=promise,
            abi=NATIVE,
            chosen=frozenset(INVARIANTS),
        )
        assert verdict.breaches == (), corpus.pretty(one.case)
    assert answers(performed(one.case)) == answers(one.transcript)


def performed(case: Case) -> Transcript:
    performer = Performer()
    try:
        return performer.perform(case, resolve("reference"), "b")
    finally:
        performer.close()


def answers(transcript: Transcript) -> list[Answer]:
    """Answers without facts: the reference receives close-on-exec, programs may not."""
    return [
        msgspec.structs.replace(
            answer,
            facts=type(answer.facts)(),
            flags=tuple(f for f in answer.flags or () if f != "MSG_CMSG_CLOEXEC"),
        )
        if isinstance(answer, Got)
        else answer
        for answer in transcript.answers
    ]


sends = st.tuples(st.just("send"), st.integers(0, 9), st.integers(0, 3), st.booleans())
receives = st.tuples(
    st.just("receive"), st.integers(1, 20), st.integers(0, 80), st.booleans()
)
scripts = st.tuples(
    st.sampled_from(["STREAM", "DGRAM", "PACKET"]),
    st.booleans(),
    st.lists(sends | receives, min_size=1, max_size=8),
)
PERFORM = """
    for kind, cred, steps in json.loads(sys.argv[1]):
        a, b = pair(globals()[kind])
        if cred:
            passcred(b)
        for do, size, number, flag in steps:
            try:
                if do == "send":
                    messages = [me()] if flag else []
                    if number:
                        messages.append(rights(*os.pipe(), a.fileno())[:number + 2])
                    a.sendmsg([os.urandom(size)], messages)
                else:
                    flags = socket.MSG_PEEK if flag and kind != "STREAM" else 0
                    for _, type, data in b.recvmsg(size, number, flags)[1]:
                        if type == RIGHTS:
                            for fd in array.array("i", data[:len(data) // 4 * 4]):
                                os.close(fd)
            except BlockingIOError:
                pass
"""


@settings(max_examples=12)
@given(st.lists(scripts, min_size=1, max_size=8))
def test_whatever_is_recorded_is_sound(
    drawn: list[tuple[str, bool, list[tuple[str, int, int, bool]]]],
) -> None:
    for one in recorded(run(PERFORM, json.dumps(drawn))):
        assert_sound(one)


def test_every_message_that_can_be_matched_is_matched() -> None:
    recording = run("""
        workers = [pair() for _ in range(5)]
        # The same bytes and the same descriptor to all, as nginx does.
        for a, _ in workers:
            a.sendmsg([b"same"], [rights(0)])
        for a, _ in workers[2:]:
            a.close()
        for _, b in reversed(workers):
            b.recvmsg(10, 24)
        # read(2) takes what came first, and nobody sees it.
        a, b = workers[0]
        for data, fd in ((b"again", 2), (b"seen", 1), (b"again", 2)):
            a.sendmsg([data], [rights(fd)])
        os.read(b.fileno(), 5)
        b.recvmsg(10, 24)
        b.recvmsg(10, 24)
        os.write(a.fileno(), b"written")
        passcred(b)
        b.recvmsg(10, 50)
        a.sendmsg([b"lost"], [rights(1)])
    """)
    found = match(recording.calls)
    assert [
        (e.sent.inode, e.sent.peer, e.received[0].inode)
        for e in found.exchanges
        if e.sent
    ] == [
        (call.inode, call.peer, call.peer)
        for call in recording.calls
        if isinstance(call, SendCall)
        and call.data in {b"same", b"seen", b"again"}
        and call is not found.unmatched[0]
    ]
    # The first that was read, a write that was not recorded, what nobody received.
    unmatched = [call.data for call in found.unmatched]
    assert unmatched == [b"again", b"written", b"lost"]
    sends = [c for c in recording.calls if isinstance(c, SendCall)]
    assert found.unmatched[0] is sends[5]


def test_nothing_private_is_left() -> None:
    recording = run("""
        a, b = pair()
        a.sendmsg([b"hunter2 is the password"], [rights(0)])
        b.recvmsg(7, 24)
        b.recvmsg(100, 24)
    """)
    (case,) = cases(recording)
    (kept,) = cases(recording, payloads=True)
    secret = b"hunter2 is the password".hex()
    assert secret in corpus.dumps(kept)
    assert corpus.dumps(case) == corpus.dumps(kept).replace(secret, "00*23")
    for private in (str(recording.processes[0].pid), os.uname().nodename):
        assert private not in corpus.dumps(kept)


def test_exchanges_that_differ_in_their_bytes_are_one_case() -> None:
    recording = run("""
        a, b = pair()
        for size, capacity in ((1, 24), (2, 24), (3, 28), (4, 24)):
            a.sendmsg([b"x" * size], [rights(0)])
            b.recvmsg(size + 10, capacity)
        a.sendmsg([b"x"], [rights(os.pipe()[0])])
        b.recvmsg(10, 24)
    """)
    assert len(recorded(recording)) == 5
    program = recording.processes[0].name.replace(".", "-").lower()
    assert [case.name.removeprefix(f"{program}-") for case in cases(recording)] == [
        "rights1-cap24",
        "rights1-cap28",
        "rights1-cap24-2",
    ]
    assert [case.note for case in cases(recording)] == [
        *["For a device stands a file."] * 2,
        "",
    ]


def a_send(control: bytes, *fds: Descriptor, result: int = 1) -> SendCall:
    numbers: dict[str, Any] = dict.fromkeys(SendCall.__struct_fields__, 0)
    said: dict[str, Any] = {
        "name": "sendmsg",
        "pid": 77,
        "has_control": True,
        "capacity": len(control),
        "iovecs": (1,),
        "size": 1,
        "result": result,
        "data": b"x",
        "control": control,
        "fds": fds,
    }
    return SendCall(**(numbers | said))


def test_a_layout_of_its_own_is_kept_and_what_is_live_is_named() -> None:
    def message(kind: int, data: bytes) -> bytes:
        length = socket.CMSG_LEN(len(data))
        return struct.pack("@nii", length, socket.SOL_SOCKET, kind) + data

    one, two = struct.pack("@i", 5), struct.pack("@iII", 77, 0, 0)
    first = message(socket.SCM_RIGHTS, one)
    garbage = b"\xaa" * (socket.CMSG_SPACE(4) - len(first))
    second = message(socket.SCM_CREDENTIALS, two)
    sent = a_send(first + garbage + second, Descriptor(5, mode=0o100600))
    assert control_template(sent, {}) == (
        f"{first[:-4].hex()}{{file}}{'00' * len(garbage)}"
        f"{second[:-12].hex()}{{pid}}{{uid}}{{gid}}"
    )
    assert sent_messages(sent, {}) == (NamedRights(("file",)), NamedCredentials())
    tail = a_send(first + garbage + b"secret", Descriptor(5, mode=0o100600))
    assert control_template(tail, {}).endswith("00" * (len(garbage) + 6))


def test_credentials_of_others_are_named_only_where_they_did_not_go() -> None:
    control = struct.pack(
        "@niiiII", socket.CMSG_LEN(12), socket.SOL_SOCKET, 2, 78, 1000, 0
    )
    went, refused = (sent_messages(a_send(control, result=r), {}) for r in (1, -1))
    assert went == (NamedCredentials(),)
    assert sender_ids(a_send(control)) == (78, 1000, 0)
    assert sender_ids(a_send(control, result=-1)) == (77, 0, 0)
    assert refused == (NamedCredentials("none", 1000),)
    assert "ffffff7fe8030000{gid}" in control_template(a_send(control, result=-1), {})


def test_descriptors_are_numbered_within_their_kind() -> None:
    def pipe(fd: int, inode: int, status: int) -> Descriptor:
        return Descriptor(fd, mode=0o010600, inode=inode, status=status)

    anonymous = Descriptor(9, link=type(Descriptor(0).link)(b"anon_inode:[eventfd]"))
    several = [pipe(n, 1, 0) for n in range(20, 32)]
    assert descriptor_names(
        [
            *(pipe(3, 1, 0), pipe(4, 1, 1), pipe(5, 2, 0), pipe(6, 2, 0)),
            *(pipe(3, 1, 0), anonymous, msgspec.structs.replace(anonymous, fd=10)),
            *(Descriptor(11, errno=9), Descriptor(-1, errno=9)),
        ],
        {},
    ) == (
        *("pipe-read", "pipe-write", "pipe-read#2", "dup:pipe-read#2"),
        *("pipe-read", "eventfd", "eventfd#2"),
        *("closed", "negative"),
    )
    # There are no names for more than nine duplicates.
    assert descriptor_names(several, {})[8:] == (
        *("dup8:pipe-read", "dup9:pipe-read", "pipe-read#2", "pipe-read#3"),
    )


def test_what_a_case_cannot_say_is_left_out() -> None:
    recording = run("""
        a, b = pair()
        a.sendmsg([b"x"], [rights(0)], socket.MSG_OOB)
        b.recvmsg(10, 50, socket.MSG_OOB)
        a.sendmsg([b"no control"])
        b.recvmsg(10)
    """)
    assert len(recording.calls) == 4
    assert isinstance(recording.calls[1], ReceiveCall)
    assert recorded(recording) == ()


@pytest.mark.parametrize("capacity", [16 * 1024, 100 * 1024])
def test_control_longer_than_the_log_keeps_is_no_case(capacity: int) -> None:
    recording = run(
        """
        a, b = pair()
        fails(a.sendmsg, [b"x"], [(99, 0, bytes(int(sys.argv[1]))), (L, 77, b"")])
        """,
        str(capacity - 64),
    )
    (call,) = recording.calls
    assert call.capacity > len(call.control) or capacity == 16 * 1024
    assert bool(recorded(recording)) == (capacity == 16 * 1024)


def test_raw_bytes_are_sent_where_the_last_message_is_not_padded() -> None:
    recording = run("""
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        a, b = pair()
        data, control = b"x", struct.pack("@niii", 20, L, RIGHTS, os.memfd_create("m"))
        iov = struct.pack("@PN", id(data) + bytes.__basicsize__ - 1, 1)
        def at(octets): return ctypes.addressof(ctypes.c_char.from_buffer(octets))
        iov, control = bytearray(iov), bytearray(control)
        head = struct.pack("@PIxxxxPNPNi", 0, 0, at(iov), 1, at(control), 20, 0)
        head = bytearray(head)
        assert libc.sendmsg(a.fileno(), ctypes.c_void_p(at(head)), 0) == 1
        b.recvmsg(1, 20)
    """)
    (one,) = recorded(recording)
    header = struct.pack("@nii", 20, socket.SOL_SOCKET, socket.SCM_RIGHTS).hex()
    assert one.case.steps == (
        Open(),
        SendRaw("a", header + "{memfd}", "00"),
        Receive("b", 1, 20),
    )
    assert_sound(one)
