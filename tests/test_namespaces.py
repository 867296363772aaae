"""User namespaces: what ids and capabilities are in them, and that nobody is blamed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest

from ancfuzz.host import environment
from ancfuzz.namespaces import Ids, is_first, known_ids, owns_its_processes
from ancfuzz.transcript import Environment

if TYPE_CHECKING:
    from pathlib import Path

UNSHARE = shutil.which("unshare") or ""
OF_ITS_OWN = (UNSHARE, "--user", "--map-root-user")


def can_be_entered() -> bool:
    """Whether this user may make a user namespace here."""
    if not UNSHARE:
        return False
    tried = subprocess.run([*OF_ITS_OWN, "true"], capture_output=True, check=False)
    return tried.returncode == 0


entered = pytest.mark.skipif(
    not can_be_entered(), reason="no user namespace can be made here"
)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        pytest.param("0 0 4294967295\n", Ids(), id="the first one"),
        pytest.param("0 1000 1\n", Ids(((0, 1),), 65534), id="somebody's own"),
        pytest.param("0 0 1\n", Ids(((0, 1),), 0), id="root's own"),
        pytest.param(
            "   0  1000      1\n   1  100000  65536\n",
            Ids(((0, 1), (1, 65536)), 65534),
            id="a container's",
        ),
        pytest.param("1000 0 10\n", Ids(((1000, 10),), 1000), id="root renamed"),
        pytest.param("", Ids(), id="not said"),
    ],
)
def test_ids_are_those_of_the_table(tmp_path: Path, table: str, expected: Ids) -> None:
    if table:
        (tmp_path / "uid_map").write_text(table, encoding="ascii")
    assert known_ids("uid", tmp_path / "uid_map") == expected


def test_what_is_said_here_goes_together() -> None:
    here = environment()
    if is_first():
        assert (here.uids, here.gids, here.root) == ((), (), (0, 0))
        assert owns_its_processes()
    for ids, own in ((here.uids, os.getuid()), (here.gids, os.getgid())):
        exists = [first <= own < first + count for first, count in ids]
        assert any(exists) or not ids


@entered
def test_inside_it_is_seen() -> None:
    program = (
        "import msgspec; from ancfuzz.host import environment;"
        "print(msgspec.json.encode(environment()).decode())"
    )
    done = subprocess.run(
        [*OF_ITS_OWN, sys.executable, "-c", program],
        capture_output=True,
        check=True,
        timeout=60,
    )
    inside = msgspec.json.decode(done.stdout, type=Environment)
    assert (inside.uid, inside.uids) == (0, ((0, 1),))
    assert set(inside.capabilities) == {"CAP_SETGID", "CAP_SETUID"}
    outside = os.getuid() if is_first() else None
    assert inside.root[0] == (0 if outside == 0 else 65534)


@entered
@pytest.mark.parametrize("processes", [(), ("--pid", "--fork", "--mount-proc")])
def test_inside_nothing_is_found_where_nothing_is_wrong(
    tmp_path: Path, processes: tuple[str, ...]
) -> None:
    names = "-i", "reference", "-i", "cpython", "-i", "seed"
    check = "-m", "ancfuzz", "check", "--cases", "1500", "--seed", "1", *names
    done = subprocess.run(
        [*OF_ITS_OWN, *processes, sys.executable, *check],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "nothing found"
