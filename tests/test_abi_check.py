"""``tox -e abi`` can fail: a wrong value in a table is named, with what headers say.

The programs of ``abi/`` compile for every target there is; here the system's own
compiler is enough, and where there is none, scripts that claim to be one.
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ancfuzz import abi_table
from ancfuzz.abi import ABIS

CHECK = Path(__file__).resolve().parents[1] / "abi" / "check.py"
SECONDS = 60.0
# What is tested comes first, and then what it needs, wherever the tester keeps it.
PYTHONPATH = os.pathsep.join(
    [str(Path(abi_table.__file__).parents[1]), *filter(None, sys.path)]
)


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
        "REAL_PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": PYTHONPATH,
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
    assert target["layout"] > 160
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
OTHER_SIGN = """
table.STRUCTS = {**table.STRUCTS, "linux": {"ucred": "III"}}
"""
OTHER_BYTE_ORDER = """
order = {"little": "big", "big": "little"}
table.ROWS = [one._replace(byte_order=order[one.byte_order]) for one in table.ROWS]
"""
OTHER_READER = """
from ancfuzz import codec
decode = codec.decode
codec.decode = lambda control, abi: decode(control, abi)[:2]
"""
# What is wrong in decode and walk alike, so that they agree with each other.
STRICT_READER = """
from pathlib import Path
from ancfuzz import codec
source = Path(codec.__file__).read_text(encoding="utf-8")
for right, wrong in {
    "if stop > end:": "if stop >= end > 0:",
    " <= length <= end - at:": " <= length < end - at:",
}.items():
    assert source.count(right) == 1
    source = source.replace(right, wrong)
exec(compile(source, codec.__file__, "exec"), vars(codec))
"""
OTHER_WRITER = """
from ancfuzz import codec
encode = codec.encode
def swapped(messages, abi):
    return encode(
        [codec.ControlMessage(one.type, one.level, one.data) for one in messages], abi
    )
codec.encode = swapped
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
        pytest.param(
            OTHER_SIGN,
            [r"IS_SIGNED\(struct ucred, pid\): headers say 1, we say 0"],
            id="sign",
        ),
        pytest.param(
            OTHER_BYTE_ORDER,
            [
                r"IS_BIG_ENDIAN: headers say \d, we say \d",
                r"header byte 8: headers say \d+, we say \d+",
            ],
            id="byte order",
        ),
        pytest.param(
            STRICT_READER,
            [r"walk, .*: headers say \. 0:.*, we say \. refused at 0, without reason"],
            id="strict reader",
        ),
        pytest.param(
            OTHER_WRITER,
            [
                r"header byte 8: headers say \d+, we say \d+",
                r"walk, .*, we say \. decode reads not what was encoded",
            ],
            id="writer",
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
CRASHES = "exit 1"
PRINTS_GARBAGE = r"printf '\377\376 garbage\n'"
# Compiles as gcc does, but what it links prints what no walk is.
LINKS_GARBAGE = r"""
export PATH="$REAL_PATH"
case "$*" in
    *walk-O*) for last; do :; done
        printf '#!/bin/sh\necho garbage\n' > "$last"; chmod +x "$last" ;;
    *) exec gcc "$@" ;;
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
        (CRASHES, "Failed", "gcc -dumpmachine: exit status 1"),
        (PRINTS_GARBAGE, "Not run", r"compiles for \xff\xfe garbage"),
        pytest.param(
            LINKS_GARBAGE,
            "Failed",
            "walk-O2: prints 'garbage' for a layout",
            marks=needs_compiler,
        ),
        (WRITES_NOTHING, "Failed", "No such file"),
        (WRITES_NO_VALUES, "Failed", "0 bytes of object file without all values"),
    ],
    ids=[
        "hangs",
        "fails",
        "crashes",
        "prints garbage",
        "links garbage",
        "writes nothing",
        "writes no values",
    ],
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


@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("--deadline", "nan", "expected more than 0 and at most 86400 seconds"),
        ("--deadline", "0", "expected more than 0"),
        ("--target", "vax-linux-gnu", "no target 'vax-linux-gnu' in our tables"),
        ("--compiler", "tcc", "invalid choice: 'tcc'"),
        ("--json", "there/is/no/such", "cannot be written: No such file"),
    ],
)
def test_usage(tmp_path: Path, option: str, value: str, why: str) -> None:
    done = run_check(tmp_path, option, value, path=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert why in done.stderr.splitlines()[-1]


def test_a_target_that_the_compiler_is_not_for(tmp_path: Path) -> None:
    done = run_check(tmp_path, "--target", "s390x-linux-musl")
    assert (done.returncode, done.stderr) == (3, "")
    assert "targets compared: 0" in done.stdout


@needs_compiler
def test_a_report_that_is_lost_is_said(tmp_path: Path) -> None:
    done = run_check(tmp_path, "--json", "/dev/full")
    assert done.returncode == 2
    assert "differences: 0" in done.stdout
    assert done.stderr == "ancfuzz: /dev/full: No space left on device: report lost\n"


WAITS = """
echo > "$TMPDIR/left behind"
echo $$ > "$STARTED.new"; mv "$STARTED.new" "$STARTED"
exec /bin/sleep 60
"""


@pytest.mark.skipif(sys.platform != "linux", reason="gcc is looked for on Linux")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    folder, started = tmp_path / "temporary", tmp_path / "started"
    folder.mkdir()
    gcc = tmp_path / "gcc"
    gcc.write_text(f"#!/bin/sh\n{WAITS}\n", encoding="ascii")
    gcc.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYTHONPATH": PYTHONPATH,
        "TMPDIR": str(folder),
        "STARTED": str(started),
    }
    with subprocess.Popen(
        [sys.executable, CHECK, "--compiler", "gcc"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as check:
        end = time.monotonic() + SECONDS
        while not started.exists():
            assert check.poll() is None
            assert time.monotonic() < end
            time.sleep(0.01)
        compiler = os.pidfd_open(int(started.read_text()))
        try:
            check.send_signal(number)
            said, complaint = check.communicate(timeout=SECONDS)
            # A pidfd is readable when its process has ended.
            assert select.select([compiler], [], [], SECONDS)[0]
        finally:
            os.close(compiler)
    assert check.returncode == 128 + number
    assert "targets compared: 0" in said
    assert complaint.startswith("ancfuzz: interrupted")
    assert list(folder.iterdir()) == []
