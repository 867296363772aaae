"""Layouts: what our tables say is what the headers of 65 targets were compiled to say.

``data/abi-probes.json`` is the witness: numbers that a compiled program printed for
each target, none of them derived from our tables.
"""

from __future__ import annotations

import copy
import json
import os
import pickle
import re
import socket
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.vendor.pretty import pretty

from ancfuzz import abi_table
from ancfuzz.abi import ABIS, NATIVE, Abi
from ancfuzz.strategies import abis

ROOT = Path(__file__).resolve().parents[1]
PROBES: dict[str, Any] = json.loads(
    (ROOT / "tests" / "data" / "abi-probes.json").read_text(encoding="utf-8")
)
TARGETS: dict[str, dict[str, Any]] = {one["target"]: one for one in PROBES["targets"]}

# Defined by Linux for its users, and by no musl and few glibcs: not in every probe.
UAPI = {"SCM_SECURITY", "SCM_PIDFD", "SO_PASSPIDFD", "SO_PASSRIGHTS"}
# Too new for any of the headers.
NEWER = {"SO_INQ", "SCM_INQ"}

HAND_MADE = replace(NATIVE, name="by hand")


def sent_home(abi: Abi) -> Abi:
    twin: Abi = pickle.loads(pickle.dumps(abi))  # noqa: S301  (our own bytes)
    return twin


def test_there_is_an_abi_for_each_probe() -> None:
    assert list(ABIS) == list(TARGETS)
    assert len(ABIS) == 65


@pytest.mark.parametrize("target", TARGETS)
def test_a_layout_is_what_the_headers_say(target: str) -> None:
    abi, probe = ABIS[target], TARGETS[target]
    assert abi.name == target
    assert abi.byte_order == probe["endian"]
    assert probe["header"] == [
        abi.header_size,
        abi.length_offset,
        abi.length_size,
        abi.level_offset,
        abi.type_offset,
    ]
    assert (abi.alignment, abi.data_offset) == (probe["align"], probe["data"])
    assert [abi.cmsg_space(n) for n in PROBES["space_of"]] == probe["space"]
    assert abi.cmsg_len(0) == probe["data"]
    assert abi.provenance.startswith("headers")


@pytest.mark.parametrize("target", TARGETS)
def test_constants_are_what_the_headers_say(target: str) -> None:
    probed = PROBES["constants"][TARGETS[target]["constants"]]
    ours = ABIS[target].constants
    assert {name: ours.get(name) for name in probed} == probed
    linux = TARGETS[target]["os"] == "linux"
    assert set(ours) - set(probed) <= (UAPI | NEWER if linux else set[str]())


def test_no_two_control_messages_of_an_abi_have_one_type() -> None:
    for abi in ABIS.values():
        types = [v for name, v in abi.constants.items() if name.startswith("SCM_")]
        assert len(types) == len(set(types)), abi.name


MOST_DESCRIPTORS = {
    ("linux", 8): 253,
    ("linux", 4): 253,
    ("freebsd", 8): 254,
    ("freebsd", 4): 508,
    ("openbsd", 8): 127,
    ("openbsd", 16): 127,
    ("macos", 4): 512,
}


@pytest.mark.parametrize("target", TARGETS)
def test_the_most_descriptors_of_one_message(target: str) -> None:
    key = TARGETS[target]["os"], TARGETS[target]["align"]
    assert ABIS[target].max_descriptors == MOST_DESCRIPTORS.get(key)


def test_python_computes_the_same_for_this_host() -> None:
    for size in range(5000):
        assert NATIVE.cmsg_len(size) == socket.CMSG_LEN(size)
        assert NATIVE.cmsg_space(size) == socket.CMSG_SPACE(size)


@given(abi=abis(), n=st.integers(0, 1 << 40), m=st.integers(0, 1 << 40))
@example(abi=NATIVE, n=0, m=1)
def test_aligning(abi: Abi, n: int, m: int) -> None:
    aligned = abi.align(n)
    assert aligned % abi.alignment == 0
    assert 0 <= aligned - n < abi.alignment
    assert abi.align(aligned) == aligned
    assert abi.align(n + m * abi.alignment) == aligned + m * abi.alignment
    assert (abi.align(n) <= abi.align(m)) or n > m


@given(abi=abis(), n=st.integers(0, 1 << 40))
def test_len_and_space(abi: Abi, n: int) -> None:
    assert abi.cmsg_len(n) - abi.cmsg_len(0) == n
    assert abi.cmsg_space(n) == abi.align(abi.cmsg_len(n))
    assert abi.cmsg_space(0) == abi.cmsg_len(0) >= abi.header_size


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"alignment": 0}, "alignment 0 is not a power of two"),
        ({"alignment": 12}, "alignment 12 is not a power of two"),
        ({"length_size": 2}, "length_size is 2: expected 4 or 8"),
        ({"byte_order": "middle"}, "byte_order 'middle': expected little or big"),
        ({"length_offset": -1}, "header fields of by hand overlap"),
        ({"length_offset": 1}, "header fields of by hand overlap"),
        ({"type_offset": 8}, "header fields of by hand overlap"),
        ({"type_offset": 16}, "header fields of by hand overlap"),
        ({"header_size": 15}, "header fields of by hand overlap"),
        ({"data_offset": 12}, "header fields of by hand overlap"),
        # With it, CMSG_SPACE and CMSG_NXTHDR would not agree where the next one is.
        (
            {"data_offset": 20},
            "data_offset 20 of by hand is not a multiple of its align",
        ),
    ],
)
def test_a_layout_that_no_header_could_have(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        replace(HAND_MADE, **wrong)


@pytest.mark.parametrize("abi", [NATIVE, HAND_MADE])
def test_an_abi_is_a_value(abi: Abi) -> None:
    with pytest.raises(FrozenInstanceError):
        abi.alignment = 4  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    assert abi.header_format is abi.header_format  # and what it keeps does not pickle
    for twin in (sent_home(abi), copy.deepcopy(abi), replace(abi)):
        assert twin == abi
        assert hash(twin) == hash(abi)
        assert twin.constants["SCM_RIGHTS"] == abi.constants["SCM_RIGHTS"]


def test_a_known_abi_is_itself_again_and_no_other() -> None:
    assert sent_home(NATIVE) is NATIVE
    same_layout = replace(NATIVE, constants={"SOL_SOCKET": 7})
    assert same_layout != NATIVE
    assert sent_home(same_layout).constants == {"SOL_SOCKET": 7}
    assert "ABIS" not in repr(same_layout)


@given(abi=abis())
def test_an_abi_prints_as_what_can_be_pasted(abi: Abi) -> None:
    assert repr(abi) == pretty(abi) == f"ABIS[{abi.name!r}]"


def test_an_abi_made_by_hand_prints_what_it_is_made_of() -> None:
    shown = repr(replace(HAND_MADE, constants={"SCM_RIGHTS": 1}, structs={}))
    assert eval(shown, {"Abi": Abi}).constants == {"SCM_RIGHTS": 1}  # noqa: S307


def test_other_names_lead_to_abis() -> None:
    for table in (abi_table.MULTIARCH, abi_table.MACHINES):
        assert set(table.values()) <= set(ABIS)


AS_IF = """
import os, sys
from types import SimpleNamespace
multiarch, sys.platform, machine = sys.argv[1:]
known = vars(sys.implementation)
sys.implementation = SimpleNamespace(**{**known, "_multiarch": multiarch})
os.uname = lambda: SimpleNamespace(machine=machine)
from ancfuzz.abi import ABIS, NATIVE
print(NATIVE.name, NATIVE in ABIS.values(), NATIVE.provenance.split(":")[0], sep="|")
"""


@pytest.mark.parametrize(
    ("host", "native"),
    [
        (("aarch64-linux-musl", "linux", "aarch64"), "aarch64-linux-musl|True"),
        (("i386-linux-gnu", "linux", "x86_64"), "x86-linux-gnu|True"),
        (("", "darwin", "arm64"), "aarch64-macos-none|True"),
        (("", "freebsd14", "amd64"), "x86_64-freebsd-none|True"),
        (("vax-linux-gnu", "linux", "vax"), "vax-linux-gnu|False|assumed"),
        (("", "sunos5", "i86pc"), "i86pc|False|assumed"),
        (("", "sunos5", ""), "sunos5|False|assumed"),
    ],
)
def test_the_native_abi_of_a_host(host: tuple[str, str, str], native: str) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", AS_IF, *host],
        env={**os.environ, "PYTHONPATH": str(Path(abi_table.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.startswith(native)
