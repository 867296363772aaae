"""The folder of the logs: private, locked, and gone in the end, whoever was killed."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import pytest

from ancfuzz.errors import EnvironmentUnsupported
from ancfuzz.recorder import Session, build, record
from ancfuzz.recorder.folder import PREFIX, Folder
from tests.recordings import DEADLINE, NEEDS

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = list(NEEDS)
LONG_AGO = time.time() - 3600


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the folders are made."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def abandoned(parent: Path) -> Path:
    """A folder that looks as if its owner had been killed an hour ago."""
    path = parent / f"{PREFIX}x"
    path.mkdir()
    (path / "program.1.log").touch()
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def test_it_is_there_for_a_while_and_private(parent: Path) -> None:
    with Folder(build()) as folder:
        assert [folder.path] == list(parent.iterdir())
        assert folder.shim.read_bytes() == build().read_bytes()
        assert folder.path.stat().st_mode & 0o044 == 0
    assert not list(parent.iterdir())


def test_what_was_abandoned_is_swept(parent: Path) -> None:
    left = abandoned(parent)
    with Folder(build()) as folder:
        assert list(parent.iterdir()) == [folder.path]
    assert not left.exists()


def test_what_is_in_use_or_new_or_no_folder_is_not(parent: Path) -> None:
    with Folder(build()) as used:
        os.utime(used.path, (LONG_AGO, LONG_AGO))
        new, file, link = (parent / f"{PREFIX}{name}" for name in ("n", "f", "l"))
        new.mkdir()
        file.touch()
        os.utime(file, (LONG_AGO, LONG_AGO))
        link.symlink_to(used.path)
        with Folder(build()):
            pass
        assert sorted(parent.iterdir()) == sorted((used.path, new, file, link))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none", "No such file or directory"),
        ("file", "Not a directory"),
        ("loop", "Too many levels of symbolic links"),
        ("a b", "LD_PRELOAD has no way to name it"),
        ("a:b", "LD_PRELOAD has no way to name it"),
    ],
)
def test_where_it_cannot_be_is_said_in_one_line(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for unfit in ("a b", "a:b"):
        (tmp_path / unfit).mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / name))
    with pytest.raises(EnvironmentUnsupported, match=said) as caught:
        Folder(build())
    assert "\n" not in str(caught.value)
    assert "name another folder in TMPDIR" in str(caught.value)
    assert not list(tmp_path.glob(f"*/{PREFIX}*"))


def test_a_link_on_the_way_hides_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "link"))
    program = "import os, time\nif os.fork() == 0: time.sleep(600)"
    recording = record([sys.executable, "-ISc", program], timeout=DEADLINE, linger=0.1)
    assert "left processes that were ended: " in recording.notes[0]


def test_a_session_that_fails_leaves_nothing(parent: Path) -> None:
    with pytest.raises(ZeroDivisionError), Session(timeout=DEADLINE):
        _ = 1 / 0
    assert not list(parent.iterdir())
