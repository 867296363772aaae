"""The house stands: nobody imports what ARCHITECTURE.md forbids, as ``house`` reads it.

What is banned is looked for in the source, and then in what an interpreter has loaded;
and the reader of the tables has to find each fault that is planted in a small house.
"""

from __future__ import annotations

import graphlib
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.house import (
    PACKAGE,
    ROOT,
    House,
    edges,
    read_house,
    wrong_imports,
    wrong_tables,
)

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = frozenset(
    {"atheris", "click", "hypothesis", "msgspec", "pytest", "rich", "socket"}
)


def loaded_by(*imported: str) -> frozenset[str]:
    """The modules that a new interpreter has loaded after it imported these.

    What it loads at its start (a coverage tool, a ``.pth`` file) is not counted.
    """
    program = (
        "import sys; before = {*sys.modules}\n"
        + "".join(f"import {module}\n" for module in imported)
        + "print(*{*sys.modules} - before)"
    )
    # -P: the installed package, and not the folder that the tests are run from.
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return frozenset(done.stdout.split())


@pytest.fixture(scope="module")
def house() -> House:
    """The tables of this checkout."""
    return read_house((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"))


def test_every_module_has_one_room_and_every_room_exists(house: House) -> None:
    wrong = wrong_tables(house, ROOT)
    assert not wrong, "\n".join(wrong)


def test_imports_go_to_the_same_floor_or_an_earlier_one(house: House) -> None:
    wrong = wrong_imports(house, ROOT)
    assert not wrong, "\n".join(wrong)


def test_no_room_needs_itself() -> None:
    # __init__ is left out: it names every room, but imports none until it is asked.
    graph: dict[str, set[str]] = {}
    for _, room, target, _ in edges(ROOT):
        if target not in {None, room, "__init__"} and room != "__init__":
            graph.setdefault(room, set()).add(str(target))
    graphlib.TopologicalSorter(graph).prepare()  # CycleError names the cycle.


def test_what_is_banned_is_not_loaded_by_a_detour(house: House) -> None:
    detours: list[str] = []
    for who, what in house.bans:
        rooms = [room for name in who for room in house.rooms_of(name)]
        rooms = [room for room in rooms if not room.startswith("__")]
        banned = {
            module
            for name in what
            for module in (
                [f"{PACKAGE}.{room}" for room in house.rooms_of(name)] or [name]
            )
        }
        loaded = loaded_by(*(f"{PACKAGE}.{room}" for room in rooms))
        told = ", ".join(who)
        detours += [f"{told}: {name} is loaded" for name in sorted(banned & loaded)]
    assert not detours, "\n".join(detours)


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = loaded_by(PACKAGE)
    assert PACKAGE in loaded
    assert loaded & HEAVY == frozenset()
    assert [name for name in loaded if name.startswith(f"{PACKAGE}.")] == []


# The rules above hold only if the code that reads them can fail. A house of four rooms
# with one planted fault each time:

PLAN = """
| floor | rooms | knows | must not know |
|---|---|---|---|
| **low** | `__init__`, `codec` | bytes | |
| **high** | `model`, `cli`, `extra` | all | |

| who | must not import |
|---|---|
| `model` | `socket`, `cli` |
| `low` | `os.path` |
"""
MODULES = {"__init__": "", "codec": "import struct", "model": "", "cli": ""}


def build(root: Path, **changed: str) -> Path:
    """Write the planted package, with ``extra`` behind a link."""
    root = root.resolve()
    (root / PACKAGE).mkdir()
    (root / "extra").mkdir()
    (root / PACKAGE / "extra").symlink_to("../extra", target_is_directory=True)
    extra = changed.pop("extra", "")
    (root / "extra" / "__init__.py").write_text(extra, encoding="utf-8")
    for name, source in {**MODULES, **changed}.items():
        (root / PACKAGE / f"{name}.py").write_text(source, encoding="utf-8")
    return root


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"model": "from ancfuzz.codec import decode"}, id="downwards"),
        pytest.param({"model": "from ancfuzz import codec"}, id="a room by its alias"),
        pytest.param({"cli": "import socket, ancfuzz.model"}, id="the same floor"),
        pytest.param({"codec": "import os"}, id="the parent of what is banned"),
        pytest.param({"extra": "import ancfuzz.extra"}, id="behind the link"),
    ],
)
def test_a_sound_house_stands(tmp_path: Path, changed: dict[str, str]) -> None:
    plan, root = read_house(PLAN), build(tmp_path, **changed)
    assert wrong_tables(plan, root) == []
    assert wrong_imports(plan, root) == []


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"codec": "import ancfuzz.model"}, id="upwards"),
        pytest.param({"codec": "from ancfuzz import model"}, id="upwards by alias"),
        pytest.param({"codec": "def f():\n  import ancfuzz.cli"}, id="in a function"),
        pytest.param(
            {"codec": "if TYPE_CHECKING:\n  from ancfuzz.cli import main"}, id="a type"
        ),
        pytest.param({"codec": "import_module('ancfuzz.cli')"}, id="in a string"),
        pytest.param({"codec": "from ancfuzz.extra import x"}, id="to the link"),
        pytest.param({"codec": "from . import errors"}, id="relative"),
        pytest.param({"model": "import socket"}, id="banned"),
        pytest.param({"model": "from socket import AF_UNIX"}, id="banned, from"),
        pytest.param({"model": "from ancfuzz.cli import main"}, id="banned room"),
        pytest.param({"codec": "from os import path"}, id="banned for the floor"),
    ],
)
def test_a_fault_in_the_imports_is_found(
    tmp_path: Path, changed: dict[str, str]
) -> None:
    (fault,) = wrong_imports(read_house(PLAN), build(tmp_path, **changed))
    (room,) = changed
    assert f"{PACKAGE}/{room}.py:" in fault


def test_a_fault_behind_the_link_is_found(tmp_path: Path) -> None:
    plan = read_house(PLAN.replace("| `low` |", "| `extra` |"))
    (fault,) = wrong_imports(plan, build(tmp_path, extra="import os.path"))
    assert fault.startswith("extra/__init__.py:1: extra imports os.path")


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (
            PLAN.replace("`cli`, `extra`", "`cli`, `extra`, `attic`"),
            "attic: in the table",
        ),
        (PLAN.replace("`model`, `cli`", "`model`"), "cli: in the package"),
        (PLAN.replace("`codec`", "`codec`, `cli`"), "cli: twice"),
    ],
)
def test_a_fault_in_the_table_is_found(tmp_path: Path, plan: str, said: str) -> None:
    (fault,) = wrong_tables(read_house(plan), build(tmp_path))
    assert fault.startswith(said)
