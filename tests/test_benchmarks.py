"""The benchmarks run, say what they did not run, and reckon right.

All of it runs once, in a few rounds too short to mean anything, and what it prints and
keeps is held against the samples that it kept.  No figure is asserted.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ancfuzz

if TYPE_CHECKING:
    from collections.abc import Iterator

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
SECONDS = 120.0
LIBRARIES = {
    "construct": "construct",
    "dissect.cstruct": "dissect",
    "kaitaistruct": "kaitaistruct",
    "scapy": "scapy",
}

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="what is measured are Linux's sockets"
)


def load_pairing() -> Any:
    spec = importlib.util.spec_from_file_location("pairing", BENCHMARKS / "pairing.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # NamedTuple looks its module up
    spec.loader.exec_module(module)
    return module


PAIRING = load_pairing()

# Alters something in a process of its own, and then is run.py.
RUN = """
import os, runpy, sys
{alteration}
sys.argv.pop(0)
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(
    folder: Path, *arguments: str | Path, alteration: str = "", path: str | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PATH": os.environ.get("PATH", os.defpath) if path is None else path,
        "PYTHONPATH": str(Path(ancfuzz.__file__).parents[1]),
    }
    code = RUN.format(alteration=alteration)
    quick = ("--quick", "--json", folder / "kept.json")
    return subprocess.run(
        [sys.executable, "-P", "-c", code, BENCHMARKS / "run.py", *quick, *arguments],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def kept(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        (folder / "kept.json").read_text(encoding="utf-8")
    )
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """All benchmarks: what was kept, and what was printed."""
    folder = tmp_path_factory.mktemp("benchmarks")
    done = run(folder)
    assert (done.returncode, done.stderr) == (0, "")
    return kept(folder), done.stdout


def samples(found: dict[str, Any]) -> dict[tuple[str, str, str], list[float]]:
    """Every sample, by table, row and column."""
    return {
        (table["name"], row["name"], column): cell["samples"]
        for table in found["tables"]
        for row in table["rows"]
        for column, cell in row["cells"].items()
    }


def test_all_of_it_is_measured_and_kept(whole: tuple[dict[str, Any], str]) -> None:
    found, _ = whole
    assert found["format"] == 1
    assert found["failed"] == []
    names = [table["name"] for table in found["tables"]]
    assert names == ["exchanges", "datagram", "stream", "decode", "encode", "startup"]
    for table in found["tables"]:
        rows = [row["name"] for row in table["rows"]]
        assert len(set(rows)) == len(rows) > 1
        assert not table["against"] or table["against"] in rows
        for row in table["rows"]:
            assert list(row["cells"]) == table["columns"]
    effort = found["effort"]
    for (table, *_), taken in samples(found).items():
        slow = table in {"exchanges", "startup"}
        assert len(taken) == effort["long_rounds" if slow else "rounds"]
        assert min(taken) > 0
    assert set(found["environment"]) >= {"python", "kernel", "cpu", *LIBRARIES}


def test_every_rival_is_measured_or_said_to_be_missing(
    whole: tuple[dict[str, Any], str],
) -> None:
    found, printed = whole
    rows = {row for _, row, _ in samples(found)}
    left_out = {one["what"] for one in found["left_out"]}
    for name, module in LIBRARIES.items():
        installed = importlib.util.find_spec(module) is not None
        row = "kaitai" if module == "kaitaistruct" else name
        assert (row in rows, name in left_out) == (installed, not installed)
        assert installed or f"{name}: " in printed


def ratios(found: dict[str, Any]) -> Iterator[tuple[dict[str, Any], list[float]]]:
    """What was made of each pair of samples, and the ratios that it was made of."""
    by_name = samples(found)
    for table in found["tables"]:
        for row in table["rows"] if table["against"] else ():
            for column, cell in row["cells"].items():
                base = by_name[table["name"], table["against"], column]
                pairs = zip(cell["samples"], base, strict=True)
                yield cell["ratio"], [mine / theirs for mine, theirs in pairs]


def test_a_ratio_is_the_median_of_those_of_the_rounds(
    whole: tuple[dict[str, Any], str],
) -> None:
    compared = list(ratios(whole[0]))
    assert len(compared) > 100
    for told, values in compared:
        assert told["median"] == pytest.approx(statistics.median(values))
        assert told["spread"] <= max(values) - min(values)


def test_targets_are_judged_by_the_samples(
    whole: tuple[dict[str, Any], str],
) -> None:
    found, printed = whole
    by_name = samples(found)
    shown = {table["name"]: table["shown"] for table in found["tables"]}
    judged = [one for one in found["targets"] if one["found"]]
    assert {one["table"] for one in judged} == {*shown} - {"encode"}
    for one in judged:
        assert list(one["found"]) == one["columns"]
        medians: list[float] = []
        for column in one["columns"]:
            mine = by_name[one["table"], one["row"], column]
            theirs = by_name.get((one["table"], one["against"], column), mine)
            measures = {
                "ratio": [a / b for a, b in zip(mine, theirs, strict=True)],
                "difference": [
                    (a - b) / 1e6 for a, b in zip(mine, theirs, strict=True)
                ],
                "rate": [1e9 / a for a in mine],
            }
            medians.append(statistics.median(measures[shown[one["table"]]]))
            assert one["found"][column]["median"] == pytest.approx(medians[-1])
        most = one["sense"] == "at most"
        reached = max(medians) <= one["bound"] if most else min(medians) >= one["bound"]
        assert one["reached"] is reached
    told = printed.partition("\nTargets\n")[2]
    assert told.count("\nreached ") + told.startswith("reached ") == sum(
        one["reached"] is True for one in found["targets"]
    )


def test_what_was_not_measured_is_no_target_reached(
    whole: tuple[dict[str, Any], str],
) -> None:
    rows = {(table, row) for table, row, _ in samples(whole[0])}
    for one in whole[0]["targets"]:
        there = (one["table"], one["row"]) in rows and (
            not one["against"] or (one["table"], one["against"]) in rows
        )
        assert (one["reached"] is None) is not there


def test_what_is_printed_is_80_columns_of_ascii(
    whole: tuple[dict[str, Any], str],
) -> None:
    _, printed = whole
    assert printed.isascii()
    lines = printed.splitlines()[:-1]  # the last is a path
    assert max(map(len, lines)) <= 80


WRONG_DECODER = """
import ancfuzz
decode = ancfuzz.decode
ancfuzz.decode = lambda control, *abi: decode(control, *abi)[:9]
"""
LEAK = """
os.closerange = lambda first, behind: None
"""


@pytest.mark.parametrize(
    ("only", "alteration", "said"),
    [
        ("codec", WRONG_DECODER, "codec: ancfuzz made [ControlMessage("),
        ("roundtrip", LEAK, "roundtrip: ours, with: leaves ["),
    ],
    ids=["wrong", "leaks"],
)
def test_what_is_wrong_is_not_measured(
    tmp_path: Path, only: str, alteration: str, said: str
) -> None:
    done = run(tmp_path, "--only", only, alteration=alteration)
    assert (done.returncode, done.stderr) == (1, "")
    assert said in done.stdout.partition("\nCould not be measured\n")[2]
    assert [one["what"] for one in kept(tmp_path)["failed"]] == [only]


def test_on_another_layout_only_our_own_codec_is_measured(tmp_path: Path) -> None:
    done = run(tmp_path, "--only", "codec", alteration="sys.byteorder = 'big'")
    assert (done.returncode, done.stderr) == (0, "")
    found = kept(tmp_path)
    assert [one["what"] for one in found["left_out"]] == ["other codecs"]
    assert {table["against"] for table in found["tables"]} == {"ancfuzz"}
    assert all(one["reached"] is None for one in found["targets"])


def test_without_a_compiler_the_rest_is_measured(tmp_path: Path) -> None:
    done = run(tmp_path, "--only", "roundtrip", path=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    found = kept(tmp_path)
    assert [one["what"] for one in found["left_out"]] == ["the C loop"]
    assert not any(row.startswith("C, ") for _, row, _ in samples(found))
    assert found["environment"]["compiler"] == "none"


def test_a_compiler_that_fails_is_a_failure(tmp_path: Path) -> None:
    gcc = tmp_path / "gcc"
    gcc.write_text("#!/bin/sh\necho no such thing >&2\nexit 1\n", encoding="ascii")
    gcc.chmod(0o755)
    done = run(tmp_path, "--only", "roundtrip", path=str(tmp_path))
    assert (done.returncode, done.stderr) == (1, "")
    (failed,) = kept(tmp_path)["failed"]
    assert failed["why"].endswith("gcc: no such thing")


@pytest.mark.parametrize(
    "arguments",
    [("--only", "codec,everything"), ("--only", "startup", "--json", "no/such/folder")],
    ids=["unknown", "nowhere to keep it"],
)
def test_usage(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = run(tmp_path, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: ")


TIMES = st.floats(1.0, 1e9)


@given(rounds=st.lists(st.tuples(TIMES, TIMES), min_size=1, max_size=9), factor=TIMES)
def test_a_machine_that_slows_down_changes_no_ratio(
    rounds: list[tuple[float, float]], factor: float
) -> None:
    mine, base = zip(*rounds, strict=True)
    steady = PAIRING.ratio(PAIRING.Cell(mine, base))
    slower = [1 + factor * (at % 2) for at in range(len(rounds))]
    drifting = PAIRING.Cell(
        tuple(a * f for a, f in zip(mine, slower, strict=True)),
        tuple(b * f for b, f in zip(base, slower, strict=True)),
    )
    assert PAIRING.ratio(drifting).median == pytest.approx(steady.median)


@given(contenders=st.integers(1, 5), rounds=st.integers(1, 9))
def test_each_has_a_turn_in_each_round_and_is_first_in_turn(
    contenders: int, rounds: int
) -> None:
    turns: list[int] = []

    def contender(number: int) -> Any:
        def turn(times: int) -> float:
            turns.append(number)
            return float(times)

        return PAIRING.Contender(str(number), turn)

    everybody = list(range(contenders))
    found = PAIRING.interleave([contender(one) for one in everybody], rounds, 0)
    assert {name: len(taken) for name, taken in found.items()} == {
        str(one): rounds for one in everybody
    }
    assert turns[:contenders] == everybody  # warming up
    measured = turns[contenders:]
    for at in range(rounds):
        this_round = measured[at * contenders : (at + 1) * contenders]
        assert sorted(this_round) == everybody
        assert this_round[0] == at % contenders
