"""``tox -e abi`` can fail: a wrong value in a table is named, with what headers say.

The programs of ``abi/`` compile for every target there is; here the system's own
compiler is enough, and where there is none, scripts that claim to be one.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancfuzz import abi_table
from ancfuzz.abi import ABIS, Abi
from ancfuzz.strategies import abis

CHECK = Path(__file__).resolve().parents[1] / "abi" / "check.py"
SECONDS = 120.0


def load_probe() -> Any:
    spec = importlib.util.spec_from_file_location("probe", CHECK.parent / "probe.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PROBE = load_probe()


def has_compiler() -> bool:
    """Whether there is a gcc for a target of ours that finds its libc's headers."""
    gcc = shutil.which("gcc")
    if gcc is None or sys.platform != "linux":
        return False
    headers = [gcc, "-include", "sys/socket.h", "-E", "-x", "c", os.devnull]
    found = subprocess.run(headers, capture_output=True, check=False)
    told = subprocess.run(
        [gcc, "-dumpmachine"], capture_output=True, text=True, check=False
    )
    triple = told.stdout.strip()
    glibc = triple.startswith("x86_64-") and "musl" not in triple
    return not found.returncode and (
        glibc or abi_table.MULTIARCH.get(triple, triple) in ABIS
    )


needs_compiler = pytest.mark.skipif(
    not has_compiler(), reason="no gcc with the headers of a libc that our tables have"
)

# Alters the table, or the reader, in a process of its own, and then is check.py.
RUN = """
import os, runpy, sys
from ancfuzz import abi_table as table
{alteration}
sys.argv.pop(0)
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_check(
    folder: Path, *arguments: str | Path, alteration: str = "", path: str | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PATH": os.environ.get("PATH", os.defpath) if path is None else path,
        "PYTHONPATH": str(Path(abi_table.__file__).parents[1]),
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    code = RUN.format(alteration=alteration)
    return subprocess.run(
        [sys.executable, "-P", "-c", code, CHECK, "--compiler", "gcc", *arguments],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@needs_compiler
def test_our_tables_are_what_the_headers_here_say(tmp_path: Path) -> None:
    done = run_check(tmp_path, "--json", tmp_path / "found.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Differences" not in done.stdout
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert found["status"] == 0
    assert found["not_run"] == found["failed"] == []
    (target,) = found["targets"]
    abi = ABIS[target["target"]]
    # Nothing was left out: what was not compared is named.
    assert target["constants"] == len(abi.constants) - len(target["undefined"])
    assert "SCM_RIGHTS" not in target["undefined"]
    assert target["layout"] == len(PROBE.expected(abi))
    assert target["walks"] > 10_000
    # Both what is the same and what is laxer was seen, or nothing was compared.
    laxer = target["recorded"]["the macros yield the header that decode refuses"]
    assert 0 < laxer < target["walks"]
    assert set(target["hostile"].values()) > {"-"}


WITHOUT_RIGHTS = """
linux = dict(table._OS_CONSTANTS["linux"])
del linux["SCM_RIGHTS"]
table._OS_CONSTANTS = {**table._OS_CONSTANTS, "linux": linux}
"""
OTHER_RIGHTS = """
linux = {**table._OS_CONSTANTS["linux"], "SCM_RIGHTS": 7}
table._OS_CONSTANTS = {**table._OS_CONSTANTS, "linux": linux}
"""
OTHER_STRUCTURE = """
table.STRUCTS = {**table.STRUCTS, "linux": {"ucred": "iIH"}}
"""
OTHER_ALIGNMENT = """
table.LAYOUTS = {
    name: one._replace(alignment=one.alignment // 2)
    for name, one in table.LAYOUTS.items()
}
"""
OTHER_READER = """
from ancfuzz import codec
decode = codec.decode
codec.decode = lambda control, abi: decode(control, abi)[:2]
"""


@needs_compiler
@pytest.mark.parametrize(
    ("alteration", "named"),
    [
        pytest.param(
            OTHER_RIGHTS, [r"SCM_RIGHTS: headers say 1, we say 7"], id="constant"
        ),
        pytest.param(
            WITHOUT_RIGHTS, [r"SCM_RIGHTS: headers say 1, we say nothing"], id="gap"
        ),
        pytest.param(
            OTHER_STRUCTURE,
            [
                r"WIDTH\(struct ucred, gid\): headers say 4, we say 2",
                r"sizeof\(struct ucred\): headers say 12, we say 10",
            ],
            id="structure",
        ),
        pytest.param(
            OTHER_ALIGNMENT,
            [
                r"CMSG_SPACE\(1\): headers say \d+, we say \d+",
                r"walk, msg_controllen \d+, \w+: headers say \. 0:.*, we say \. 0:.*",
            ],
            id="alignment",
        ),
        pytest.param(
            OTHER_READER,
            [r"walk, msg_controllen .* we say \. decode: 2, .*; walk: 3, .*"],
            id="reader",
        ),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, alteration: str, named: list[str]
) -> None:
    done = run_check(tmp_path, alteration=alteration)
    assert (done.returncode, done.stderr) == (1, "")
    told = done.stdout.partition("\nDifferences\n")[2]
    for one in named:
        assert re.search(rf"^  \w[^:]*: {one}$", told, re.MULTILINE), told


def test_without_a_compiler_it_says_what_to_install(tmp_path: Path) -> None:
    done = run_check(tmp_path, path=str(tmp_path))
    assert (done.returncode, done.stderr) == (3, "")
    assert "not found on PATH (Debian: gcc libc6-dev)" in done.stdout


HANGS = "exec /bin/sleep 60"
FAILS = """
case "$*" in
    *-dumpmachine*) echo x86_64-linux-gnu ;;
    *--version* | *-E*) ;;
    *) echo "probe.c:1:1: error: no such thing" >&2; exit 1 ;;
esac
"""
WRITES_NOTHING = "echo x86_64-linux-gnu"
WRITES_NO_VALUES = """
echo x86_64-linux-gnu
for last; do :; done
case "$last" in *.o) : > "$last" ;; esac
"""


@pytest.mark.parametrize(
    ("script", "section", "why"),
    [
        (HANGS, "Failed", "gcc -dumpmachine: not done in 0.5 s"),
        (FAILS, "Failed", "probe.c:1:1: error: no such thing"),
        (WRITES_NOTHING, "Failed", "No such file"),
        (WRITES_NO_VALUES, "Failed", "0 bytes of object file without all values"),
    ],
    ids=["hangs", "fails", "writes nothing", "writes no values"],
)
@pytest.mark.skipif(sys.platform != "linux", reason="gcc is looked for on Linux")
def test_a_compiler_that_fails_is_not_one_that_agrees(
    tmp_path: Path, script: str, section: str, why: str
) -> None:
    gcc = tmp_path / "gcc"
    gcc.write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
    gcc.chmod(0o755)
    deadline = "0.5" if script == HANGS else "60"
    done = run_check(tmp_path, "--deadline", deadline, path=str(tmp_path))
    assert (done.returncode, done.stderr) == (3, "")
    told = done.stdout.partition(f"\n{section}\n")[2].partition("\n\n")[0]
    assert why in " ".join(told.split())


def said_by_headers(abi: Abi) -> dict[str, int]:
    """What the headers of a target would say if our tables were right."""
    return {**abi.constants, **PROBE.expected(abi)}


@given(abi=abis(), data=st.data())
def test_any_wrong_value_is_named(abi: Abi, data: st.DataObject) -> None:
    said = said_by_headers(abi)
    assert PROBE.compare(abi, said).differences == ()
    what = data.draw(st.sampled_from(sorted(said)))
    wrong = data.draw(st.integers().filter(lambda value: value != said[what]))
    (difference,) = PROBE.compare(abi, {**said, what: wrong}).differences
    assert difference == (abi.name, what, wrong, said[what])


@given(abi=abis(), data=st.data())
def test_what_is_not_in_a_header_is_not_verified(abi: Abi, data: st.DataObject) -> None:
    said = said_by_headers(abi)
    what = data.draw(st.sampled_from(sorted(said)))
    ours = said.pop(what)
    compared = PROBE.compare(abi, said)
    if what in abi.constants:
        assert (compared.undefined, compared.differences) == ((what,), ())
    else:
        assert compared.undefined == ()
        assert compared.differences == ((abi.name, what, None, ours),)


def as_compiled(expression: str, value: int) -> bytes:
    """A ``struct value`` of ``probe.c``."""
    sign = "-" if value < 0 else "+"
    name = expression.encode().ljust(80, b"\0")
    return b"ANCVALUE%b%b%019d;" % (name, sign.encode(), abs(value))


EXPRESSIONS = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1)


@given(
    values=st.dictionaries(
        EXPRESSIONS.filter(lambda text: len(text) < 80 and text != "sizeof(char)"),
        st.integers(-(10**19) + 1, 10**19 - 1),
    ),
    around=st.binary(),
)
def test_values_are_read_out_of_an_object(
    values: dict[str, int], around: bytes
) -> None:
    cut = around + b"".join(as_compiled(*one) for one in values.items())
    assert PROBE.answers(cut + as_compiled("sizeof(char)", 1) + around) == values
    with pytest.raises(ValueError, match="without all values"):
        PROBE.answers(cut)
