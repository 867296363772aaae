"""What was sent and what was received is put together, and never guessed."""

from __future__ import annotations

import socket
import time

import msgspec

from ancfuzz.recorder import ReceiveCall, SendCall, match
from tests.recordings import NEEDS, recording_of

pytestmark = list(NEEDS)


def test_every_message_that_can_be_matched_is_matched() -> None:
    recording = recording_of("""
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


def test_descriptors_that_are_missing_without_a_word_do_not_hide_the_exchange() -> None:
    recording = recording_of("""
        a, b = pair()
        a.sendmsg([b"1"], [rights(0, 1, 2)])
        b.recvmsg(10, 20)
        a.sendmsg([b"1"], [rights(0, 1, 2)])
        b.recvmsg(10, 0)
    """)
    assert [len(call.fds) for call in recording.calls] == [3, 1, 3, 0]
    silent = [
        msgspec.structs.replace(call, msg_flags=call.msg_flags & ~socket.MSG_CTRUNC)
        if isinstance(call, ReceiveCall)
        else call
        for call in recording.calls
    ]
    # What arrived says which it was; of nothing nobody knows.
    found = match(silent)
    assert [one.received for one in found.exchanges] == [(silent[1],)]
    assert found.unmatched == (silent[2],)
    assert len(match(recording.calls).exchanges) == 2


def test_a_long_recording_is_matched_in_time() -> None:
    recording = recording_of("""
        a, b = pair()
        c, d = pair()
        a.sendmsg([b"1"])
        c.sendmsg([b"1"], [rights(0)])
        d.recvmsg(10, 24)
    """)
    unread, *exchange = recording.calls
    calls = [unread, *exchange] * 10_000
    began = time.process_time()
    assert len(match(calls).exchanges) == 10_000
    assert time.process_time() - began < 5  # a square of it would be minutes
