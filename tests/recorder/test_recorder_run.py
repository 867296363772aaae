"""Programs run under the recorder within a deadline, and none of them stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import pytest

from ancfuzz.errors import UsageError
from ancfuzz.recorder import ReceiveCall, SendCall, Session, record
from tests.recordings import DEADLINE, NEEDS, PRELUDE, compiled, is_running

pytestmark = list(NEEDS)

DAEMON = """
import os, socket, time
a, b = socket.socketpair()
ready, done = os.pipe()
if os.fork() == 0:
    os.setsid()
    a.sendmsg([b"from the daemon"])
    os.write(1, b"%d" % os.getpid())
    os.write(done, b"x")
    time.sleep(600)
os.read(ready, 1)
"""


def test_what_is_left_running_is_ended_and_said() -> None:
    read, write = os.pipe()
    with os.fdopen(read) as said:
        recording = record(
            [sys.executable, "-ISc", DAEMON], timeout=DEADLINE, linger=0.1, stdout=write
        )
        os.close(write)
        daemon = int(said.read())
    assert recording.status == 0
    (note,) = recording.notes
    assert note.endswith(f"left processes that were ended: {daemon}")
    assert [call.data for call in recording.calls] == [b"from the daemon"]
    assert not is_running(daemon)


@pytest.mark.parametrize("ignored", [(), (signal.SIGTERM,)])
def test_the_deadline_holds(ignored: tuple[signal.Signals, ...]) -> None:
    program = "import signal, time\n"
    program += "".join(f"signal.signal({int(n)}, signal.SIG_IGN)\n" for n in ignored)
    began = time.monotonic()
    recording = record(
        [sys.executable, "-ISc", program + "time.sleep(600)"], timeout=1.0
    )
    assert time.monotonic() - began < DEADLINE
    assert recording.status is None
    (note,) = recording.notes
    assert note.endswith("stopped after 1 seconds")
    assert not is_running(recording.processes[0].pid)


def test_a_session_records_programs_that_talk_to_each_other(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    server = f"""
        s = socket.socket(socket.AF_UNIX)
        s.bind({path!r} + "~")
        s.listen()
        os.rename({path!r} + "~", {path!r})
        print(s.accept()[0].recvmsg(10, 20))
    """
    client = f"""
        c = socket.socket(socket.AF_UNIX)
        c.connect({path!r})
        c.sendmsg([b"x"], [rights(0)])
    """
    with Session(timeout=DEADLINE) as session:
        commands = [
            [sys.executable, "-ISc", PRELUDE + textwrap.dedent(source)]
            for source in (server, client)
        ]
        serving = session.start(commands[0], stdout=subprocess.DEVNULL)
        while not Path(path).exists():
            assert session.left > 0
            time.sleep(0.01)
        assert session.wait(session.start(commands[1])) == 0
        assert session.wait(serving) == 0
        recording = session.recording()
    assert not session.folder.exists()
    assert [process.pid for process in recording.processes][:1] == [serving.pid]
    sent, got = recording.calls
    assert isinstance(sent, SendCall)
    assert isinstance(got, ReceiveCall)
    assert sent.fds[0].identity == got.fds[0].identity


def test_a_static_program_is_said_to_make_no_log(tmp_path: Path) -> None:
    program = compiled("int main(void) { return 3; }", tmp_path, "-static")
    recording = record([str(program)], timeout=DEADLINE)
    assert recording.status == 3
    assert recording.notes == (f"{program}: made no log: it is linked statically",)


@pytest.mark.parametrize("command", [[], ["/no/such/program"], [os.fspath(__file__)]])
def test_what_cannot_be_started_is_a_usage_error(command: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        record(command, timeout=DEADLINE)
    assert "\n" not in str(caught.value)


def test_a_recorder_can_be_recorded() -> None:
    inner = f"""
        from ancfuzz.recorder import record
        seen = record([sys.executable, "-ISc", sys.argv[1]], timeout={DEADLINE})
        assert (len(seen.processes), len(seen.calls)) == (1, 2), seen
        a, b = pair()
        a.sendmsg([b"x"])
    """
    program = PRELUDE + "a, b = pair(); a.sendmsg([b'x']); b.recvmsg(1)"
    command = [sys.executable, "-c", PRELUDE + textwrap.dedent(inner), program]
    recording = record(command, timeout=DEADLINE)
    assert recording.status == 0
    by_process = Counter(call.pid for call in recording.calls)
    assert sorted(by_process.values()) == [1, 2]
