"""Who may import whom, as ARCHITECTURE.md says it, and who does otherwise.

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
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "ancfuzz"

FLOORS_HEADER = ("floor", "rooms", "knows", "must not know")
BANS_HEADER = ("who", "must not import")

# The functions that import a module by its name in a string.
IMPORTERS = frozenset({"import_module", "__import__", "files"})
RELATIVE = "a relative import"


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
