"""An exchange becomes steps, or nothing if a case cannot say it."""

from __future__ import annotations

import msgspec
import pytest

from ancfuzz.case import NamedRights, Send
from ancfuzz.judging import judge_transcript
from ancfuzz.recorded import judge_recording
from ancfuzz.recorder import ReceiveCall, recorded
from ancfuzz.report import NotJudged
from ancfuzz.transcript import Failed
from tests.recordings import NEEDS, recording_of

pytestmark = list(NEEDS)


def test_what_a_case_cannot_say_is_left_out() -> None:
    recording = recording_of("""
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
    recording = recording_of(
        """
        a, b = pair()
        fails(a.sendmsg, [b"x"], [(99, 0, bytes(int(sys.argv[1]))), (L, 77, b"")])
        """,
        str(capacity - 64),
    )
    (call,) = recording.calls
    assert call.capacity > len(call.control) or capacity == 16 * 1024
    assert bool(recorded(recording)) == (capacity == 16 * 1024)


def test_more_descriptors_than_the_kernel_takes_are_a_case() -> None:
    recording = recording_of("""
        a, b = pair()
        fails(a.sendmsg, [b"x"], [rights(*[0] * 254)])
    """)
    (one,) = recorded(recording)
    send, answer = one.case.steps[-1], one.transcript.answers[-1]
    assert isinstance(send, Send)
    (message,) = send.messages
    assert isinstance(message, NamedRights)
    assert len(message.names()) == 254
    assert answer == Failed("EINVAL")
    assert judge_transcript(one.case, one.transcript).breaches == ()


def test_control_that_no_kernel_writes_is_no_case() -> None:
    recording = recording_of("""
        a, b = pair()
        a.sendmsg([b"x"], [rights(0)])
        b.recvmsg(1, 24)
    """)
    sent, got = recording.calls
    for wrong in (b"\xff" * 20, got.control[:16], bytes(8) + got.control[8:]):
        control = type(got.control)(wrong)
        torn = msgspec.structs.replace(got, control=control, out=len(control))
        judged = judge_recording(
            msgspec.structs.replace(recording, calls=(sent, torn)), program="x"
        )
        assert judged.exchanges == ()
        assert judged.report.not_judged == (NotJudged("a case has no words for it", 1),)
