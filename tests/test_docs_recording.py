"""docs/recording.md: its program is recorded as it says, and its code runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.recordings import DEADLINE, NEEDS

if TYPE_CHECKING:
    from subprocess import CompletedProcess

pytestmark = list(NEEDS)

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "recording.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where worker.py is, and the cache and the logs."""
    worker, _ = blocks("python")
    (tmp_path / "worker.py").write_text(worker, encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def run(folder: Path, *command: str, env: dict[str, str]) -> CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


def test_the_commands_do_what_they_say(folder: Path) -> None:
    # A name for this interpreter, which may itself be found by a script.
    (folder / "bin").mkdir()
    (folder / "bin" / "python3").symlink_to(Path(sys.executable).resolve())
    path = f"{folder / 'bin'}:{os.environ.get('PATH', os.defpath)}"
    (block,) = blocks("console")
    commands = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    assert len(commands) == 3
    for told in commands:
        line, _, expected = told.partition("\n")
        name, *words = shlex.split(line)
        assert name == "ancfuzz"
        done = run(
            folder,
            *(sys.executable, "-m", "ancfuzz", *words),
            env={**os.environ, "PATH": path},
        )
        assert done.returncode == 0, done.stderr
        assert expected in {done.stderr, ""}


def test_the_code_runs(folder: Path) -> None:
    _, code = blocks("python")
    done = run(folder, sys.executable, "-c", code, env={**os.environ})
    assert (done.returncode, done.stderr) == (0, "")


def test_the_options_that_it_names_exist(folder: Path) -> None:
    shown = run(
        folder,
        *(sys.executable, "-m", "ancfuzz", "record", "--help"),
        env={**os.environ},
    ).stdout
    for option in re.findall(r"`(--[a-z]+)", TEXT):
        assert f"{option} " in shown
