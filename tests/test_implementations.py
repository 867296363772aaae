"""Getting hold of an implementation: by name, file, class, instance, and not at all."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

import ancfuzz
from ancfuzz import Implementation, UsageError, check
from ancfuzz.implementations import CPython, Reference, names, resolve, subject

if TYPE_CHECKING:
    from collections.abc import Callable

GOOD = """
import ancfuzz
class Mine(ancfuzz.Implementation):
    def encode(self, messages, capacity):
        control = ancfuzz.encode(messages)
        return control if len(control) <= capacity else None
class Outer:
    class Inner(Mine):
        pass
instance = Mine()
def make():
    return Mine()
def choose():
    return Mine
number = 7
def broken():
    raise OSError("no such library")
def wrong():
    return 7
"""


@pytest.fixture
def write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, str], None]:
    """Write a module where the working directory is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "modules", {**sys.modules})

    def write(name: str, text: str) -> None:
        Path(f"{name}.py").write_text(text, encoding="utf-8")

    return write


def test_what_there_is_without_an_import() -> None:
    there = dict(names())
    assert {"reference", "cpython"} <= there.keys()
    assert all(line and "\n" not in line for line in there.values())


def test_the_built_in_ones() -> None:
    assert isinstance(resolve("reference").make(), Reference)
    assert isinstance(resolve("cpython").make(), CPython)
    assert resolve("reference").trusted
    assert resolve("cpython").trusted


@pytest.mark.parametrize(
    "attribute", ["Mine", "Outer.Inner", "instance", "make", "choose"]
)
def test_by_module_and_attribute(
    write: Callable[[str, str], None], attribute: str
) -> None:
    write("planted_by_name", GOOD)
    name = f"planted_by_name:{attribute}"
    found = resolve(name)
    assert found.name == found.import_name == name
    assert found.operations == {"encode"}
    assert not found.trusted
    assert isinstance(found.make(), Implementation)
    assert found.make() is not found.make()  # a fresh instance serves each case
    report = check(name, cases=20, seed=1, corpus=[])
    assert report.ok
    assert report.implementation == name


BROKEN = {
    "no_such_module:X": "No module named",
    "sys:no_such_attribute": "no_such_attribute",
    "sys:path": "no implementation",
    "planted_fine:number": "no implementation",
    "planted_fine:wrong": "no implementation",
    "planted_fine:broken": "no such library",
    "planted_fine:Mine.nothing": "nothing",
    "planted_raises:X": "ZeroDivisionError",
    "planted_exits:X": "SystemExit",
    "planted_syntax:X": "SyntaxError",
    "referense": "did you mean reference",
    "nonsense": "MODULE:ATTR",
    ":X": "MODULE:ATTR",
    "planted_fine:": "MODULE:ATTR",
    "": "MODULE:ATTR",
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_had_is_one_line_that_says_why(
    write: Callable[[str, str], None], name: str
) -> None:
    write("planted_fine", GOOD)
    write("planted_raises", "1 / 0\n")
    write("planted_exits", "import sys\nsys.exit(0)\n")
    write("planted_syntax", "def\n")
    with pytest.raises(UsageError, match=BROKEN[name]) as caught:
        check(name, cases=1)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.parametrize("found", [None, 7, "x".upper, object(), object, int])
def test_what_is_no_implementation_is_refused(found: object) -> None:
    with pytest.raises(UsageError):
        subject(found)


class Keeps(ancfuzz.Implementation):
    """Has one list under two names, and a lock, which cannot be copied."""

    def __init__(self) -> None:
        self.kept: list[int] = []
        self.same = self.kept
        self.lock = threading.Lock()


def test_what_one_case_leaves_in_an_instance_no_other_sees() -> None:
    given = Keeps()
    make = subject(given).make
    first, second = cast("Keeps", make()), cast("Keeps", make())
    first.kept.append(1)
    assert first.same == [1]
    assert given.kept == second.kept == []
    assert first.lock is given.lock


def test_an_interrupt_that_a_module_raises_is_nobodys(
    write: Callable[[str, str], None],
) -> None:
    write("planted_interrupts", "raise KeyboardInterrupt\n")
    with pytest.raises(UsageError, match=r"ends the process.*KeyboardInterrupt"):
        resolve("planted_interrupts:X")


def test_a_file_is_found_by_its_path(write: Callable[[str, str], None]) -> None:
    write("planted_file", GOOD)
    assert check("planted_file.py:Mine", cases=10, seed=1, corpus=[]).ok


def test_a_file_takes_nobodys_name(write: Callable[[str, str], None]) -> None:
    """A file called as a module of the library is still somebody else's."""
    import random

    write("random", GOOD)
    check("random.py:Mine", cases=3, seed=1, corpus=[])
    assert sys.modules["random"] is random
