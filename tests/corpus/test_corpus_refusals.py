"""Files that hold no case: refused in one line, and read in bounds.

Whatever a path turns out to be, reading it ends, in a case or in one ``UsageError``
that begins with the path; and no descriptor stays open.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from ancfuzz import corpus
from ancfuzz.corpus import SUFFIX
from ancfuzz.errors import UsageError
from tests.case_files import CASE, MOST_BYTES, PLAIN_TEXT, refused

if TYPE_CHECKING:
    from pathlib import Path

GIB = 1 << 30


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "truncated"),
        (b"not JSON", "malformed"),
        (b"[]", "object"),
        (b"null", "object"),
        (b"\0" * 100, "malformed"),
        (PLAIN_TEXT.encode("utf-16"), "not utf-8: byte 0, in line 1, is 0xff"),
        (b"\xef\xbb\xbf" + PLAIN_TEXT.encode(), "malformed"),
        (PLAIN_TEXT.encode()[:-3], "truncated"),
        (PLAIN_TEXT.encode() * 2, "malformed"),
        (PLAIN_TEXT.replace("one", "\xfc").encode("latin-1"), "utf-8"),
        (b'{"steps": [],\n"name": "\xff"}', "not utf-8: byte 23, in line 2, is 0xff"),
        (b'{"steps": [], "name": "\\ud800"}', ""),
        (b"[" * 1_000_000, "object"),
        (b'{"steps":' * 100_000, "$.steps"),
        (b'{"steps": ' + b"[" * 1_000_000, "$.steps[0]"),
        (b'{"steps": [], "name": ' + b"[" * 1_000_000, "$.name"),
        (b'{"steps": [{"do": "decode", "control": "zz"}]}', "$.steps[0].control"),
        (b'{"steps": [{"do": "close", "at": "a"}]}', "$.steps[0]: endpoint 'a'"),
        (b'{"steps": [{"do": "send", "at": "a"}]}', "$.steps[0]: endpoint 'a'"),
    ],
    ids=range(19),
)
def test_content_that_is_no_case(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / f"bad{SUFFIX}"
    path.write_bytes(content)
    assert said.lower() in refused(path).lower()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / f"missing{SUFFIX}")


def test_a_directory(tmp_path: Path) -> None:
    path = tmp_path / f"folder{SUFFIX}"
    path.mkdir()
    assert "not a regular file" in refused(path)


def test_a_fifo_that_nobody_writes_to(tmp_path: Path) -> None:
    path = tmp_path / f"fifo{SUFFIX}"
    os.mkfifo(path)
    started = time.monotonic()
    assert "not a regular file" in refused(path)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero"])
def test_a_device(device: str) -> None:
    assert "not a regular file" in refused(device)


def test_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        assert "cannot be read" in refused("s")


def test_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / f"huge{SUFFIX}"
    with path.open("wb") as file:
        file.truncate(GIB)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert f"longer than {MOST_BYTES} bytes" in refused(path)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * 1024 < GIB // 8


def test_a_regular_file_that_cannot_be_read_from() -> None:
    # Its pages are those of this process, and none is at 0.
    assert "cannot be read" in refused("/proc/self/mem")


@pytest.mark.parametrize("steps", [2, 3])
def test_links_that_lead_nowhere(tmp_path: Path, steps: int) -> None:
    paths = [tmp_path / f"{n}{SUFFIX}" for n in range(steps)]
    for path, target in zip(paths, paths[1:] + paths[:1], strict=True):
        path.symlink_to(target)
    assert "symbolic links" in refused(paths[0])
    dangling = tmp_path / f"dangling{SUFFIX}"
    dangling.symlink_to("nowhere")
    assert "No such file" in refused(dangling)


def test_a_name_that_is_too_long_and_one_with_a_nul(tmp_path: Path) -> None:
    assert "too long" in refused(tmp_path / ("x" * 300))
    with pytest.raises(UsageError, match="null") as nul:
        corpus.read(f"{tmp_path}/nul\0{SUFFIX}")
    assert "\0" not in str(nul.value)


READ_AS_ANYBODY = """
import os, sys
from ancfuzz import corpus
from ancfuzz.errors import UsageError
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
for path in sys.argv[1:]:
    try:
        print([corpus.read(file).name for file in corpus.case_files([path])])
    except UsageError as error:
        print(error)
"""


def as_anybody(folder: Path, *names: str) -> list[str]:
    """What somebody without privileges is told of files here, one line for each."""
    folder.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", READ_AS_ANYBODY, *names],
        cwd=folder,  # entered before, so that the folders above need not be open to all
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_file_that_one_may_not_read(tmp_path: Path) -> None:
    good, secret = (corpus.write(CASE, tmp_path, name) for name in ("good", "secret"))
    good.chmod(0o644)
    secret.chmod(0)
    assert as_anybody(tmp_path, good.name, secret.name) == [
        "['one']",
        f"{secret.name}: cannot be read: Permission denied",
    ]


def test_a_folder_that_one_may_not_list(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    secret.chmod(0)
    try:
        told = as_anybody(tmp_path, secret.name)
    finally:
        secret.chmod(0o700)
    assert told == ["secret: cannot be read: Permission denied"]
