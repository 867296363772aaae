"""Case files: read whole and bounded, refused in one line, written whole or not at all.

Whatever a path turns out to be, reading it ends, in a case or in one ``UsageError``
that begins with the path; and no descriptor stays open.
"""

from __future__ import annotations

import json
import os
import resource
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ancfuzz import corpus
from ancfuzz.case import Case, Decode, NamedRights, Open, Receive, Send
from ancfuzz.corpus import SUFFIX
from ancfuzz.descriptors import open_count
from ancfuzz.errors import UsageError
from tests.drawing import CASES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GIB = 1 << 30
MOST_BYTES = 4 << 20
CASE = Case(
    (Open(), Send("a", "78", (NamedRights(("memfd",)),)), Receive("b", 64, 20)),
    name="one",
)
PLAIN_TEXT = corpus.pretty(CASE)
NAMELESS = replace(CASE, name="")


@pytest.fixture(autouse=True)
def _no_descriptor_stays_open() -> Iterator[None]:
    before = open_count()
    yield
    assert open_count() == before


def refused(path: Path | str) -> str:
    """What is said of a file that holds no case, behind the name of the file."""
    with pytest.raises(UsageError) as caught:
        corpus.read(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    assert len(said.splitlines()) == 1
    return said.removeprefix(f"{path}: ")


# -- text ----------------------------------------------------------------------------


@given(CASES)
def test_what_is_written_for_people_is_the_same_case(case: Case) -> None:
    text = corpus.pretty(case)
    assert corpus.loads(text) == case
    assert corpus.pretty(corpus.loads(text)) == text
    assert text.endswith("\n}\n")


@given(CASES)
def test_for_people_there_is_one_line_for_each_step(case: Case) -> None:
    lines = corpus.pretty(case).splitlines()
    steps = [line for line in lines if line.startswith("    ")]
    assert [json.loads(line.rstrip(",")) for line in steps] == json.loads(
        corpus.dumps(case)
    )["steps"]
    assert json.loads(corpus.pretty(case))["format"] == case.format


@given(CASES, CASES)
def test_the_id_depends_on_the_steps_alone(one: Case, other: Case) -> None:
    same_steps = replace(one, name=other.name, note=other.note, source=other.source)
    assert corpus.case_id(one) == corpus.case_id(same_steps)
    equal = corpus.case_id(one) == corpus.case_id(other)
    assert equal == (one.steps == other.steps)


def test_ids_are_the_same_everywhere_and_ever() -> None:
    # Names of files and of issues hang on it.
    assert corpus.case_id(CASE) == "4a112c2aef6c"
    assert corpus.case_id(Case(())) == "4f53cda18c2b"


@given(st.text() | st.binary())
def test_any_text_is_a_case_or_refused_in_one_line(text: str | bytes) -> None:
    with pytest.raises(UsageError, match=r"\Ahere: .+\Z"):
        corpus.loads(text, where="here")


@given(CASES, st.data())
def test_every_cut_of_a_case_is_refused(case: Case, data: st.DataObject) -> None:
    text = corpus.dumps(case).encode()
    cut = text[: data.draw(st.integers(0, len(text) - 1))]
    with pytest.raises(UsageError):
        corpus.loads(cut)


# -- files that hold no case ---------------------------------------------------------


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


# -- reading ------------------------------------------------------------------------


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


# -- writing ------------------------------------------------------------------------


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


# -- finding ------------------------------------------------------------------------


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


# -- the schema ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def validate() -> Callable[[object], None]:
    schema = corpus.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator: Any = jsonschema.Draft202012Validator(schema)

    def validate(told: object) -> None:
        validator.validate(told)

    return validate


@given(case=CASES)
def test_the_schema_takes_every_case(
    validate: Callable[[object], None], case: Case
) -> None:
    validate(json.loads(corpus.dumps(case)))
    validate(json.loads(corpus.pretty(case)))


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        '{"steps": [{"do": "fly"}]}',
        '{"steps": [{"do": "open", "kind": "raw"}]}',
        '{"steps": [{"do": "open", "colour": "red"}]}',
        '{"steps": [{"do": "decode", "control": "0"}]}',
        '{"steps": [{"do": "receive", "at": "B"}]}',
        '{"steps": [{"do": "receive", "at": "b", "data_capacity": -1}]}',
        '{"steps": [], "format": "ancfuzz-case-2"}',
        '{"steps": [], "notes": ""}',
    ],
)
def test_the_schema_refuses_what_reading_refuses(
    validate: Callable[[object], None], text: str
) -> None:
    with pytest.raises(UsageError):
        corpus.loads(text)
    with pytest.raises(jsonschema.ValidationError):
        validate(json.loads(text))


def test_decoding_needs_no_pair_and_no_name() -> None:
    assert corpus.loads('{"steps":[{"do":"decode","control":""}]}') == Case(
        (Decode(""),)
    )
