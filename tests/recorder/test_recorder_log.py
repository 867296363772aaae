"""Logs are read whole or in part, and what is missing is said."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ancfuzz.recorder import read_logs
from tests.recordings import NEEDS

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
