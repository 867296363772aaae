"""Logs are read whole or in part, and what is missing is said."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ancfuzz.recorded import judge_recording
from ancfuzz.recorder import Session, read_logs
from tests.recordings import DEADLINE, NEEDS, PRELUDE

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = list(NEEDS)


def test_a_line_cut_short_is_left_out_and_said(tmp_path: Path) -> None:
    line = b'{"event":"start","began":1,"pid":2,"parent":3,"program":"7878"}\n'
    (tmp_path / "xx.2.log").write_bytes(line + line[:20])
    (tmp_path / "yy.3.log").symlink_to(tmp_path / "xx.2.log")
    os.mkfifo(tmp_path / "zz.4.log")
    read = read_logs(tmp_path)
    assert [(p.name, p.pid, p.parent, p.began) for p in read.processes] == [
        ("xx", 2, 3, 1)
    ]
    assert read.notes == (
        "xx.2.log: 1 call logged only in part: left out",
        "yy.3.log: is not a log: left out",
        "zz.4.log: is not a log: left out",
    )


PROGRAM = """
a, b = pair()
passcred(b)
a.sendmsg([b"12345"], [rights(0, 1), me()])
b.recvmsg(3, 60)
b.recvmsg(10, 60)
a, b = pair(DGRAM)
a.sendmsg([b"12345"], [rights(*os.pipe())])
b.recvmsg(3, 20)
fails(a.sendmsg, [b"x"], [rights(999)])
"""
NUMBERS = st.sampled_from([-(2**31), -1, 0, 1, 2, 5, 99, 2**20, 2**31, 2**40, 2**64])
MUTATIONS = st.lists(
    st.tuples(st.integers(0, 99), st.integers(0, 99), NUMBERS, st.binary(max_size=40)),
    min_size=1,
    max_size=4,
)


@pytest.fixture(scope="module")
def lines() -> list[str]:
    """What a program logs."""
    command = [sys.executable, "-ISc", PRELUDE + PROGRAM]
    with Session(timeout=DEADLINE) as session:
        assert session.wait(session.start(command)) == 0
        (log,) = session.folder.glob("*.log")
        return log.read_text("utf-8").splitlines()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mutations=MUTATIONS)
def test_whatever_a_log_says_it_is_read_and_judged(
    tmp_path: Path, lines: list[str], mutations: list[tuple[int, int, int, bytes]]
) -> None:
    # Root's recordings can be written to by anybody.
    events: list[dict[str, Any]] = [json.loads(line) for line in lines]
    for which, field, number, octets in mutations:
        event = events[which % len(events)]
        if which > 50 and event.get("fds") and not isinstance(event["fds"], str):
            event = event["fds"][0]
        key = [*event][field % len(event)]
        event[key] = number if isinstance(event[key], int) else octets.hex()
    text = "".join(f"{json.dumps(event)}\n" for event in events)
    (tmp_path / "x.1.log").write_text(text, encoding="utf-8")
    judge_recording(read_logs(tmp_path), program="x", payloads=True)
