"""Our own descriptor table small or full, and no /proc: what can be judged still is.

Nothing found in an implementation that is right, something in one that is wrong, and of
every case that was not judged the reason.  No limit of this process is lowered: it is a
child that lowers its own.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.machine import ANCFUZZ, PASSES_FILE, TWO_FILE, Machine, may_mount, on_a_tmpfs
from tests.machine import under as program_under

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHECK = "check", "--cases", "100", "--seed", "1", "--json", "report.json"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.close()


def limited(numbers: int) -> tuple[str, ...]:
    return program_under(
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({numbers}, {numbers}))"
    )


def share_judged(report: dict[str, Any]) -> dict[str, float]:
    """Of the cases of each implementation; those that were not have reasons."""
    shares: dict[str, float] = {}
    for one in report["implementations"]:
        judged = sum(one["judged"]["phase"].values())
        told = sum(reason["cases"] for reason in one["not_judged"])
        assert judged + told >= one["cases"], "of each case that was not, the reason"
        assert all(reason["reason"] for reason in one["not_judged"])
        shares[one["implementation"]] = judged / one["cases"]
    return shares


# Of all cases, how many at least: ours needs fewer numbers, for it has more to say.
LEAST = {
    8: (0.1, 0.0),
    16: (0.1, 0.0),
    32: (0.7, 0.7),
    64: (0.85, 0.85),
    256: (0.9, 0.9),
}


@pytest.mark.parametrize("numbers", LEAST)
def test_a_small_table(machine: Machine, numbers: int) -> None:
    names = "-i", "reference", "-i", "cpython"
    done = machine.run(*CHECK, *names, program=limited(numbers))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "nothing found"
    shares = share_judged(machine.json())
    for name, least in zip(("reference", "cpython"), LEAST[numbers], strict=True):
        assert shares[name] >= least
    assert machine.left_behind() == {"report.json"}


@pytest.mark.parametrize(
    ("numbers", "file", "name"),
    [
        (16, TWO_FILE, "stubborn:Wrong"),
        (80, PASSES_FILE, "planted:FirstOnlyRestForgotten"),  # with a runtime, perhaps
    ],
)
def test_a_bug_is_found_in_a_small_table(
    machine: Machine, numbers: int, file: str, name: str
) -> None:
    done = machine.run("replay", file, "-i", name, program=limited(numbers))
    assert (done.returncode, done.stderr) == (1, "")
    assert len(machine.cases()) >= 1


@pytest.mark.parametrize("numbers", [44, 64])
def test_a_runtime_that_starves_is_not_blamed(machine: Machine, numbers: int) -> None:
    """It opens loops, logs and pipes of its own, and keeps them."""
    arguments = *CHECK, "--cases", "200", "--seed", "4", "-i", "unusual:HasARuntime"
    done = machine.run(*arguments, program=limited(numbers))
    assert done.returncode in {0, 3}
    assert machine.json()["violations"] == []
    assert share_judged(machine.json())["unusual:HasARuntime"] >= (numbers == 64) / 2


def test_where_nothing_can_be_judged_it_is_said(machine: Machine) -> None:
    arguments = "replay", TWO_FILE, "-i", "stubborn:Right"
    done = machine.run(*arguments, program=limited(8))
    assert done.returncode == 3
    said = " ".join((done.stdout + done.stderr).split())
    assert "started" in said
    assert "Too many open files" in said
    assert "Traceback" not in said


EMPTIES = """
import resource

resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
from ancfuzz.case import Case, NamedRights, Open, Receive, Send
from ancfuzz.harness import Performer
from ancfuzz.implementations import resolve

performer = Performer()
pairs = performer._room // 6  # two for each name, and one that is received
alone = [f"memfd#{n}" for n in range(1, 2 * pairs + 1)]
doubled = [f"{dup}eventfd#{n}" for n in range(1, pairs + 1) for dup in ("", "dup:")]
often = ["memfd#1"] * (performer._room - 2)  # what is received needs room as well
for names in (alone, doubled, alone, doubled, often):
    sends = Send("a", messages=(NamedRights(tuple(names)),))
    case = Case((Open(), sends, Receive("b", control_capacity=1024)))
    told = performer.perform(case, resolve("cpython"), "b")
    (rights,) = told.answers[-1].messages
    wanted = [name.removeprefix("dup:") for name in names]
    print([*rights.names()] == wanted, told.leaked, told.lost)
performer.close()
"""


def test_a_stock_that_has_to_be_emptied_is_known_again(machine: Machine) -> None:
    """As many names as before lead to other numbers."""
    done = machine.run(program=(sys.executable, "-c", EMPTIES))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["True () ()"] * 5


INHERITS = """
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
opened = []
try:
    while True:
        opened.append(os.open(os.devnull, os.O_RDONLY))
        os.set_inheritable(opened[-1], True)
except OSError:
    pass
for number in opened[-{free}:]:
    os.close(number)
"""


@pytest.mark.parametrize(("free", "share"), [(4, 0.0), (12, 0.85), (40, 0.85)])
def test_a_table_that_was_inherited_full(
    machine: Machine, free: int, share: float
) -> None:
    """A worker inherits nothing: cases that have no room here have it there."""
    names = "-i", "reference", "-i", "cpython"
    program = program_under(INHERITS.format(free=free))
    done = machine.run(*CHECK, *names, program=program)
    assert (done.returncode, done.stderr) == (0, "")
    shares = share_judged(machine.json())
    assert shares["reference"] > share
    assert shares["cpython"] >= share


# -- no /proc --------------------------------------------------------------------------

mounted = pytest.mark.skipif(
    not may_mount(), reason="nothing may be mounted here, not even in a namespace"
)
# Where nothing lists what is open, each number under the limit is asked for.
FEW = limited(256)


# Without /proc nobody can tell that this is a user namespace, where the credentials of
# an end of stream are not root's but the overflow uid's.
@pytest.mark.skipif(os.geteuid() != 0, reason="it would be in a user namespace")
@mounted
def test_without_proc_nothing_is_found_where_nothing_is_wrong(machine: Machine) -> None:
    program = on_a_tmpfs("size=4k", "/proc", FEW)
    names = "-i", "reference", "-i", "cpython", "-i", "seed"
    done = machine.run(*CHECK, "--cases", "150", *names, program=program)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "nothing found"
    assert share_judged(machine.json())["cpython"] > 0.85


PIDFD = (
    '{"steps": [{"do": "open"}, {"do": "option", "at": "b", "option": "SO_PASSPIDFD"}, '
    '{"do": "send", "at": "a"}, {"do": "receive", "at": "b", "control_capacity": 64}]}'
)


@mounted
def test_without_proc_a_pidfd_is_known(machine: Machine) -> None:
    here = machine.run("run", PIDFD, program=ANCFUZZ)
    there = machine.run("run", PIDFD, program=on_a_tmpfs("size=4k", "/proc", FEW))
    assert here.returncode in (0, 3)  # 3: a kernel without SO_PASSPIDFD
    assert (there.returncode, there.stdout) == (here.returncode, here.stdout)


SMALL_TABLE = """
import resource
from ancfuzz.implementations import CPython
class SmallTable(CPython):
    def send(self, *arguments):
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] <= 1024
        return super().send(*arguments)
"""


@mounted
def test_without_proc_a_high_limit_is_not_asked_through(machine: Machine) -> None:
    # A million numbers take a second, and no implementation is to blame for that.
    (machine.folder / "small.py").write_text(SMALL_TABLE, encoding="utf-8")
    program = on_a_tmpfs("size=4k", "/proc", limited(4096))
    arguments = *CHECK, "-i", "small:SmallTable", "-i", "reference", "--invariant"
    done = machine.run(*arguments, "CRASH", program=program)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


@mounted
def test_without_proc_a_leak_is_found(machine: Machine) -> None:
    program = on_a_tmpfs("size=4k", "/proc", FEW)
    arguments = "replay", PASSES_FILE, "-i", "planted:FirstOnlyRestForgotten"
    done = machine.run(*arguments, program=program)
    assert (done.returncode, done.stderr) == (1, "")
    assert any("LEAK" in case.name for case in machine.cases())
