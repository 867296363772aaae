"""Case files: written whole or not at all, and found below folders in order."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from msgspec.structs import replace

from ancfuzz import corpus
from ancfuzz.corpus import SUFFIX
from ancfuzz.errors import UsageError
from tests.case_files import CASE, MOST_BYTES, NAMELESS, PLAIN_TEXT, refused
from tests.drawing import CASES

if TYPE_CHECKING:
    from ancfuzz.case import Case


@pytest.mark.parametrize("name", ["x", "two words", "new\nline", "\N{SNOWMAN}", "-"])
def test_a_case_is_called_as_its_file_if_it_has_no_name(
    tmp_path: Path, name: str
) -> None:
    path = corpus.write(NAMELESS, tmp_path, name)
    assert path == tmp_path / f"{name}{SUFFIX}"
    assert corpus.read(path) == replace(CASE, name=name)
    assert corpus.read(corpus.write(CASE, tmp_path, "another")) == CASE


def test_a_file_may_be_read_through_a_link(tmp_path: Path) -> None:
    target = corpus.write(CASE, tmp_path / "elsewhere")
    link = tmp_path / f"link{SUFFIX}"
    link.symlink_to(target)
    assert corpus.read(link) == CASE


def test_the_longest_case_that_is_read(tmp_path: Path) -> None:
    path = corpus.write(CASE, tmp_path)
    size = path.stat().st_size
    with path.open("a", encoding="utf-8") as file:
        file.write(" " * (MOST_BYTES - size))
    assert corpus.read(path) == CASE
    with path.open("a", encoding="utf-8") as file:
        file.write(" ")
    assert "longer than" in refused(path)


@given(case=CASES.map(lambda case: replace(case, name="")))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, case: Case
) -> None:
    folder = tmp_path_factory.mktemp("cases")
    path = corpus.write(case, folder)
    assert path == folder / f"{corpus.case_id(case)}{SUFFIX}"
    assert corpus.read(path) == replace(case, name=corpus.case_id(case))
    assert [*folder.iterdir()] == [path]


def test_the_folder_is_made_and_the_file_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    path = corpus.write(CASE, folder)
    again = corpus.write(replace(CASE, note="better"), folder)
    assert again == path
    assert corpus.read(path).note == "better"
    assert [*folder.iterdir()] == [path]


def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = corpus.write(CASE, tmp_path)

    def fail(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        corpus.write(replace(CASE, note="better"), tmp_path)
    assert corpus.read(path) == CASE
    assert [*tmp_path.iterdir()] == [path]


WRITE_INTO_A_FULL_FILE_SYSTEM = """
import resource, signal, sys
from ancfuzz import corpus
case = corpus.read(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
try:
    corpus.write(case, sys.argv[2])
except OSError as error:
    print(error.strerror)
"""


def test_a_disk_that_is_full_in_the_middle(tmp_path: Path) -> None:
    path = corpus.write(CASE, tmp_path)
    folder = tmp_path / "full"
    done = subprocess.run(
        [sys.executable, "-c", WRITE_INTO_A_FULL_FILE_SYSTEM, str(path), str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "File too large\n"), done.stderr
    assert [*folder.iterdir()] == []


@pytest.mark.parametrize("place", ["/proc/cases", "/dev/null", "/dev/null/cases"])
def test_a_folder_that_cannot_be_written_to(place: str) -> None:
    with pytest.raises(OSError, match=r"^\[Errno"):
        corpus.write(CASE, place)


def test_case_files_are_found_below_folders_in_order(tmp_path: Path) -> None:
    names = ["z", "a", "b/c/x", "b/a", "a b/y"]
    expected = ["a", "z", "a b/y", "b/a", "b/c/x"]
    for name in names:
        corpus.write(CASE, (tmp_path / name).parent, Path(name).name)
    (tmp_path / "README.md").write_text("no case")
    (tmp_path / f".a{SUFFIX}.123").write_text("half written")
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    found = list(corpus.case_files([tmp_path]))
    assert found == [tmp_path / f"{name}{SUFFIX}" for name in expected]


def test_paths_are_taken_in_the_order_in_which_they_are_given(tmp_path: Path) -> None:
    one, two = (corpus.write(CASE, tmp_path / n, n) for n in ("one", "two"))
    assert list(corpus.case_files([two, tmp_path / "one", two])) == [two, one, two]
    assert list(corpus.case_files([])) == []


def test_a_file_that_is_named_is_taken_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "anything.txt"
    path.write_text(PLAIN_TEXT)
    assert list(corpus.case_files([path])) == [path]
    dangling = tmp_path / "dangling"
    dangling.symlink_to("nowhere")
    assert list(corpus.case_files([dangling])) == [dangling]


def test_links_to_folders_are_not_followed_and_links_to_files_are(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "folder"
    path = corpus.write(CASE, folder)
    (folder / "loop").symlink_to(folder)
    link = folder / f"two{SUFFIX}"
    link.symlink_to(path)
    assert list(corpus.case_files([folder])) == [path, link]
    assert list(corpus.case_files([folder / "loop"])) == [
        folder / "loop" / path.name,
        folder / "loop" / link.name,
    ]


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="missing: no such file or folder"):
        list(corpus.case_files([tmp_path / "missing"]))


def test_everything_below_a_folder_is_yielded_whatever_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / f"fifo{SUFFIX}")
    (tmp_path / f"loop{SUFFIX}").symlink_to(f"loop{SUFFIX}")
    good = corpus.write(CASE, tmp_path)
    read: list[Case] = []
    said: list[str] = []
    for path in corpus.case_files([tmp_path]):
        try:
            read.append(corpus.read(path))
        except UsageError as error:
            said.append(str(error))
    assert read == [CASE]
    assert len(said) == 2
    assert stat.S_ISREG(good.stat().st_mode)
