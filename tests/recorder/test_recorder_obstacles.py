"""Why a program cannot be recorded, read from its file."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ancfuzz.recorder import obstacle
from tests.recordings import NEEDS, compiled

if TYPE_CHECKING:
    import pytest

pytestmark = list(NEEDS)


def test_why_a_program_cannot_be_recorded(tmp_path: Path) -> None:
    def program(name: str, content: bytes) -> str:
        path = tmp_path / name
        path.write_bytes(content)
        path.chmod(0o755)
        return str(path)

    ours = Path(sys.executable).resolve().read_bytes()
    other = ours[:18] + bytes([ours[18] ^ 0x10]) + ours[19:]
    assert obstacle(sys.executable) is None
    assert obstacle(program("script", b"#! /bin/sh -e\n")) is None
    assert obstacle(program("text", b"hello")) == "it is not an ELF program"
    assert obstacle(program("torn", b"\x7fELF\x02\x01")) is not None
    assert (
        obstacle(program("other", other))
        == "it is of another architecture than the recorder"
    )
    assert obstacle(str(tmp_path / "none")) == "there is no such program"
    assert "cannot be read" in str(obstacle(program("lost", b"#!/no/where\n")))
    assert "cannot be read" in str(obstacle(program("bare", b"#!\n")))


def test_a_script_behind_env_is_judged_by_its_interpreter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = compiled("int main(void) { return 0; }", tmp_path, "-static")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for number, line in enumerate(
        (f"#!{ours} -x", "#!/usr/bin/env program", "#!/usr/bin/env -S A=1 program x")
    ):
        script = tmp_path / f"script{number}"
        script.write_text(f"{line}\nmore\n", encoding="utf-8")
        script.chmod(0o755)
        assert obstacle(str(script)) == "it is linked statically"


def test_more_rights_than_the_caller_has_are_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = Path(compiled("int main(void) { return 0; }", tmp_path))
    # Its own user gains nothing, and is recorded.
    program.chmod(0o4755)
    assert obstacle(str(program)) is None
    monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 1)
    assert "set-user-id" in str(obstacle(str(program)))
