"""An exchange becomes steps, or nothing if a case cannot say it."""

from __future__ import annotations

import pytest

from ancfuzz.recorder import ReceiveCall, recorded
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
