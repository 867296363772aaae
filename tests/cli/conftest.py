"""What the tests of the command line share: a folder to work in, and ways to run."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ancfuzz import corpus
from ancfuzz.case import Case, Decode, NamedRights, Open, Receive, Send
from ancfuzz.cli import main
from tests.recordings import cached_recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DEADLINE = 60.0

# What a user writes: each class is wrong in one way, or good for one thing.
PLANTED = '''
import socket
import struct
import time

import ancfuzz


class KeepsOne(ancfuzz.Implementation):
    """Reports the first descriptor only; the others stay open."""

    def receive(self, sock, data_capacity, control_capacity, flags=0):
        data, messages, shown, _ = sock.recvmsg(
            data_capacity, control_capacity, flags | socket.MSG_CMSG_CLOEXEC
        )
        kept = tuple(
            ancfuzz.ControlMessage(
                level,
                type_,
                data[:4] if type_ == socket.SCM_RIGHTS else data,
            )
            for level, type_, data in messages
        )
        return ancfuzz.Received(data, kept, bool(shown & socket.MSG_CTRUNC))


class Unaligned(ancfuzz.Implementation):
    """Looks for the next header right behind the data."""

    def decode(self, control):
        messages, at = [], 0
        while len(control) - at >= 16:
            length, level, type_ = struct.unpack_from("Qii", control, at)
            if not 16 <= length <= len(control) - at:
                break
            data = control[at + 16 : at + length]
            messages.append(ancfuzz.ControlMessage(level, type_, data))
            at += length
        return messages


class Right(ancfuzz.Implementation):
    def decode(self, control):
        return ancfuzz.decode(control)


class Hangs(ancfuzz.Implementation):
    def decode(self, control):
        time.sleep(60)


class Empty(ancfuzz.Implementation):
    pass
'''

CASES = (
    Case(
        (Decode("11000000000000000100000001000000ff00000000000000" * 2),),
        name="two-messages",
    ),
    Case(
        (
            Open(),
            Send("a", messages=(NamedRights(("memfd", "eventfd")),)),
            Receive("b", control_capacity=24),
        ),
        name="passes-two",
    ),
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory: planted implementations and two cases are in it."""
    (tmp_path / "sown.py").write_text(PLANTED, encoding="utf-8")
    for case in CASES:
        corpus.write(case, tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("COLUMNS", "LC_ALL", "LANG", "NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8")
    return tmp_path


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command in this process."""

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        capsys.readouterr()
        status = main(arguments)
        written = capsys.readouterr()
        return subprocess.CompletedProcess([], status, written.out, written.err)

    return call


@pytest.fixture
def run(folder: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command in a process of its own; ``redirection`` is the shell's."""

    def run(
        *arguments: str, given: str = "", redirection: str = "", **env: str
    ) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-m", "ancfuzz", *arguments]
        if redirection:
            program = ["/bin/sh", "-c", f'"$@" {redirection}', "sh", *program]
        done = subprocess.run(
            program,
            cwd=folder,
            env={**os.environ, **env},
            input=given,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        return subprocess.CompletedProcess(
            [], done.returncode, done.stdout, done.stderr
        )

    return run


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """See :func:`cached_recorder`."""
    with cached_recorder(tmp_path_factory.mktemp("cache")) as folder:
        yield folder


@pytest.fixture
def logs(
    cache: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Path]:
    """The folder for the recorder's logs, of which none may be left."""
    folder = tmp_path_factory.mktemp("logs")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.delenv("CC", raising=False)
    yield folder
    assert not list(folder.iterdir())
