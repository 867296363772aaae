"""The house stands: who may import whom, as ARCHITECTURE.md says it.

ARCHITECTURE.md is the only place where floors, rooms and bans are written down. Two
of its tables are read here:

- ``floor | rooms | knows | must not know``: one row for each floor, the lowest first.
  A room is a module ``ancfuzz/NAME.py`` or a package ``ancfuzz/NAME/``, or one of
  the top-level folders that are linked into the package. A module may import from its
  own floor and from those before it.
- ``who | must not import``: what else is forbidden. Both cells hold floors or rooms;
  the second may also name modules that are not ours (``socket``).

An import counts wherever it stands: inside a function it is still a dependency, and
under ``TYPE_CHECKING`` a type is still knowledge. So does a module that is imported by
its name in a string.
"""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "ancfuzz"

FLOORS_HEADER = ("floor", "rooms", "knows", "must not know")
BANS_HEADER = ("who", "must not import")

# The functions that import a module by its name in a string.
IMPORTERS = frozenset({"import_module", "__import__", "files"})
RELATIVE = "a relative import"

HEAVY = frozenset(
    {"atheris", "click", "hypothesis", "msgspec", "pytest", "rich", "socket"}
)


@dataclass(frozen=True)
class House:
    """The two tables: floors in order, each with its rooms, and the bans."""

    floors: Mapping[str, tuple[str, ...]]
    bans: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]

    def floor_of(self, room: str) -> str:
        """The floor that the table gives to a room, the last if it names several."""
        found = [floor for floor, rooms in self.floors.items() if room in rooms]
        return found[-1] if found else "unlisted"

    def rooms_of(self, name: str) -> tuple[str, ...]:
        """The rooms meant by the name of a floor or of a room; () if it is neither."""
        if name in self.floors:
            return self.floors[name]
        rooms = {room for rooms in self.floors.values() for room in rooms}
        return (name,) if name in rooms else ()

    def may_import(self, room: str) -> frozenset[str]:
        """The rooms on the same floor as this one, or on an earlier one."""
        allowed: set[str] = set()
        for floor, rooms in self.floors.items():
            allowed.update(rooms)
            if floor == self.floor_of(room):
                break
        return frozenset(allowed)

    def must_not_import(self, room: str) -> frozenset[str]:
        """The rooms of ours, and the modules of others, that are banned for a room."""
        return frozenset(
            module
            for who, banned in self.bans
            if any(room in self.rooms_of(name) for name in who)
            for name in banned
            for module in self.rooms_of(name) or (name,)
        )


def read_house(markdown: str) -> House:
    """Read the tables of floors and bans out of ARCHITECTURE.md."""
    floors = {
        one_name(floor): names(rooms)
        for floor, rooms, *_ in table(markdown, FLOORS_HEADER)
    }
    bans = tuple(
        (names(who), names(what)) for who, what in table(markdown, BANS_HEADER)
    )
    return House(floors, bans)


def table(markdown: str, header: tuple[str, ...]) -> list[list[str]]:
    """The rows of the one table with this header."""
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        if line.lstrip().startswith("|")
        else None
        for line in markdown.splitlines()
    ]
    (start,) = (at for at, row in enumerate(rows) if row and tuple(row) == header)
    found: list[list[str]] = []
    for row in rows[start + 2 :]:
        if row is None:
            break
        assert len(row) == len(header), f"a row of another width: {row}"
        found.append(row)
    return found


def names(cell: str) -> tuple[str, ...]:
    """The names that a cell holds in backticks."""
    found = tuple(re.findall(r"`([^`]+)`", cell))
    assert found, f"no name in backticks: {cell!r}"
    return found


def one_name(cell: str) -> str:
    """The floor that a first cell names, bold or not."""
    return cell.strip("*`")


def modules(root: Path) -> dict[str, Path]:
    """Every module of the package, by its imported name: each file once.

    The links ancfuzz/strategies and ancfuzz/corpora are not followed; the folders that
    they lead to are walked under the name that the links give them.
    """
    package = root / PACKAGE
    links = [path for path in package.iterdir() if path.is_symlink()]
    found: dict[str, Path] = {}
    for path in package.rglob("*.py"):
        if not any(link in path.parents for link in links):
            found[dotted(PACKAGE, path.relative_to(package))] = path
    for link in links:
        folder = link.resolve()
        for path in folder.rglob("*.py"):
            found[dotted(f"{PACKAGE}.{link.name}", path.relative_to(folder))] = path
    return found


def dotted(prefix: str, path: Path) -> str:
    """The name of a module; a package is named by its ``__init__``."""
    return ".".join((prefix, *path.with_suffix("").parts))


def room_of(module: str) -> str:
    """The room of a module: ``ancfuzz.corpus.store`` belongs to ``corpus``."""
    return module.split(".")[1]


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The line and the full name of everything that a module imports."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=aliases):
                yield from ((node.lineno, alias.name) for alias in aliases)
            case ast.ImportFrom(module=str(module), names=aliases, level=0):
                # `from ancfuzz import codec` names a room by its alias.
                yield from ((node.lineno, f"{module}.{one.name}") for one in aliases)
            case ast.ImportFrom():
                yield node.lineno, RELATIVE
            case ast.Call(
                func=ast.Name(id=called) | ast.Attribute(attr=called),
                args=[ast.Constant(value=str(module)), *_],
            ) if called in IMPORTERS:
                yield node.lineno, module
            case _:
                pass


def imported_room(name: str, rooms: frozenset[str]) -> str | None:
    """The room that an imported name leads to, or None if it is not ours.

    What the package hands out itself (``from ancfuzz import check``) is its
    ``__init__``, which knows every floor.
    """
    package, *path = name.split(".")
    if package != PACKAGE:
        return None
    return path[0] if path and path[0] in rooms else "__init__"


def edges(root: Path) -> Iterator[tuple[str, str, str | None, str]]:
    """Every import: where it stands, the room, the room it leads to, its name."""
    found = modules(root)
    rooms = frozenset(map(room_of, found))
    for module, path in sorted(found.items()):
        tree = ast.parse(path.read_bytes(), filename=str(path))
        for line, name in imports(tree):
            where = f"{path.relative_to(root)}:{line}"
            yield where, room_of(module), imported_room(name, rooms), name


def wrong_tables(house: House, root: Path) -> list[str]:
    """Where the table of floors and the package differ, one line for each room."""
    rooms = {room_of(module) for module in modules(root)}
    listed = [room for floor in house.floors.values() for room in floor]
    return sorted(
        [
            *(
                f"{room}: in the table, not in the package"
                for room in {*listed} - rooms
            ),
            *(
                f"{room}: in the package, not in the table"
                for room in rooms - {*listed}
            ),
            *(f"{room}: twice" for room in {*listed} if listed.count(room) > 1),
        ]
    )


def wrong_imports(house: House, root: Path) -> list[str]:
    """Every import that goes to a later floor, or that a ban names."""
    wrong: list[str] = []
    for where, room, target, name in edges(root):
        told = f"{where}: {room} imports {name}"
        banned = house.must_not_import(room) - {room}
        if name == RELATIVE:
            wrong.append(f"{told}: spell it from {PACKAGE}")
        elif target is not None and target not in house.may_import(room):
            wrong.append(f"{told}: {target} is of the {house.floor_of(target)} floor")
        elif target in banned or (target is None and banned & {*prefixes(name)}):
            wrong.append(f"{told}: banned by name")
    return wrong


def prefixes(name: str) -> Iterator[str]:
    """``a``, ``a.b`` and ``a.b.c`` of ``a.b.c``."""
    parts = name.split(".")
    return (".".join(parts[: end + 1]) for end in range(len(parts)))


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
