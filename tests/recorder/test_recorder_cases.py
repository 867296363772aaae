"""What was recorded becomes a case that says the same, and nothing private.

A recorded transcript is held against the model as it is, and against what comes of
performing the case again: three accounts of one exchange, none of which knows the
others.
"""

from __future__ import annotations

import json
import os
import socket
import struct

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ancfuzz import corpus
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
from ancfuzz.implementations import resolve
from ancfuzz.judging import judge_transcript
from ancfuzz.recorder import Recorded, cases, recorded
from ancfuzz.transcript import Answer, Got, Transcript
from tests.recordings import NEEDS, recording_of

pytestmark = list(NEEDS)


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
    recording = recording_of(source)
    (one,) = recorded(recording)
    assert one.case.steps == steps
    (case,) = cases(recording)
    assert case == one.case
    assert corpus.loads(corpus.dumps(case)) == case
    assert_sound(one)


def assert_sound(one: Recorded) -> None:
    """The model accepts what was recorded, and performing the case gives it again."""
    assert len(one.transcript.answers) == len(one.case.steps)
    for transcript in (one.transcript, performed(one.case)):
        judged = judge_transcript(one.case, transcript)
        assert judged.not_judged == ""
        assert judged.breaches == (), corpus.pretty(one.case)
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
    for one in recorded(recording_of(PERFORM, json.dumps(drawn))):
        assert_sound(one)


def test_nothing_private_is_left() -> None:
    source = """
        a, b = pair()
        a.sendmsg([b"hunter2 is the password"], [rights(0)])
        b.recvmsg(7, 24)
        b.recvmsg(100, 24)
    """
    recording = recording_of(source)
    (case,) = cases(recording)
    (kept,) = cases(recording, payloads=True)
    secret = b"hunter2 is the password".hex()
    assert secret in corpus.dumps(kept)
    assert corpus.dumps(case) == corpus.dumps(kept).replace(secret, "00*23")
    assert os.uname().nodename not in corpus.dumps(case)
    # Nothing of this one process is in it: not its number, nor its time.
    assert cases(recording_of(source)) == (case,)


def test_exchanges_that_differ_in_their_bytes_are_one_case() -> None:
    recording = recording_of("""
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


def test_raw_bytes_are_sent_where_the_last_message_is_not_padded() -> None:
    recording = recording_of("""
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
