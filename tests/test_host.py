"""What is said of this host is true of it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import ancfuzz
from ancfuzz.abi import NATIVE
from ancfuzz.descriptors import open_numbers
from ancfuzz.host import FLAGS, OPTIONS, environment
from ancfuzz.namespaces import is_first, owns_its_processes


def test_who_performs() -> None:
    here = environment()
    assert (here.uid, here.gid) == (os.getuid(), os.getgid())
    assert os.uname().release in here.kernel
    assert here.identity in {"F_DUPFD_QUERY", "kcmp", "fstat"}


def test_features_are_the_options_that_can_be_set() -> None:
    a, b = socket.socketpair()
    with a, b:
        for name, number in OPTIONS.items():
            try:
                a.setsockopt(socket.SOL_SOCKET, number, 1)
            except OSError:
                assert name not in environment().features
            else:
                assert name in environment().features


def test_options_and_flags_have_the_numbers_that_python_knows() -> None:
    assert OPTIONS["SO_PASSCRED"] == socket.SO_PASSCRED
    assert FLAGS["MSG_CTRUNC"] == socket.MSG_CTRUNC == NATIVE.constants["MSG_CTRUNC"]
    assert len(set(FLAGS.values())) == len(FLAGS)


def test_capabilities_are_those_of_the_process() -> None:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(one for one in status.splitlines() if one.startswith("CapEff:"))
    bits = int(line.split()[1], 16)
    numbers = {"CAP_SETGID": 6, "CAP_SETUID": 7}
    if owns_its_processes():
        numbers["CAP_SYS_ADMIN"] = 21
    if is_first():
        numbers["CAP_SYS_RESOURCE"] = 24
    assert set(environment().capabilities) == {
        name for name, bit in numbers.items() if bits >> bit & 1
    }


def test_asking_opens_nothing_for_good() -> None:
    before = open_numbers()
    environment()
    assert open_numbers() == before


def test_a_fork_asks_for_itself() -> None:
    """Another process may be another user: nothing is carried over."""
    program = (
        "import os; from ancfuzz.host import environment; environment();"
        "r, w = os.pipe(); pid = os.fork()\n"
        "if not pid:\n"
        "    os.getuid() == 0 and os.setuid(65534)\n"
        "    os.write(w, str(environment().uid == os.getuid()).encode())\n"
        "    os._exit(0)\n"
        "os.waitpid(pid, 0); print(os.read(r, 9).decode())"
    )
    root = Path(ancfuzz.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "True"
