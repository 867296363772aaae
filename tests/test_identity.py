"""Whether two numbers are one open file description, by every way that works here."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import platform
import socket
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ancfuzz
from ancfuzz.descriptors import (
    CONFUSED_BY_FSTAT,
    IDENTITY_METHOD,
    NEVER_OPEN,
    IdentityMethod,
    Stock,
    describe,
    fingerprint,
    identify,
    identity_methods,
    same_description,
    unavailable,
)
from ancfuzz.descriptors.calls import kcmp_files
from ancfuzz.names import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

AVAILABLE = [kind for kind in KINDS if unavailable(kind) is None]
METHODS = identity_methods()

by_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)


@pytest.fixture(scope="module")
def stock() -> Iterator[Stock]:
    """One of each kind, and another."""
    with Stock() as opened:
        for kind in AVAILABLE:
            opened.number(kind)
            opened.number(f"{kind}#1")
        yield opened


def passed(number: int) -> int:
    """The number that the kernel installs for a descriptor that was sent."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        socket.send_fds(ours, [b"x"], [number])
        return socket.recv_fds(theirs, 1, 1)[1][0]


def test_the_way_that_is_taken_is_the_best_one() -> None:
    assert METHODS[0] == IDENTITY_METHOD
    assert METHODS[-1].name == "fstat"
    assert [method.exact for method in METHODS] == sorted(
        (method.exact for method in METHODS), reverse=True
    )


def test_no_way_that_works_is_left_out() -> None:
    with Stock() as stock:
        read, write = stock.number("pipe-read"), stock.number("pipe-write")
        duplicate = stock.number("dup:pipe-read")
        ways: dict[str, Callable[[int], bool]] = {
            "F_DUPFD_QUERY": lambda other: fcntl.fcntl(read, 1027, other) == 1,
            "kcmp": lambda other: kcmp_files(read, other) == 0,
            "fstat": lambda other: fingerprint(read) == fingerprint(other),
        }
        working: list[str] = []
        for name, is_same in ways.items():
            try:
                if is_same(duplicate) and not is_same(write):
                    working.append(name)
            except OSError:  # EINVAL, EPERM, ENOSYS
                continue
        assert [method.name for method in METHODS] == working


@by_method
@pytest.mark.parametrize("kind", AVAILABLE)
def test_what_was_passed_is_recognised(
    kind: str, method: IdentityMethod, stock: Stock
) -> None:
    number = stock.number(kind)
    installed = passed(number)
    try:
        assert installed != number
        assert method.same(installed, number)
        assert method.same(number, installed)
        assert method.same(number, number)
    finally:
        os.close(installed)


@by_method
def test_another_one_is_told_apart(method: IdentityMethod, stock: Stock) -> None:
    for (name, a), (other, b) in combinations(stock.numbers.items(), 2):
        kinds = {name.partition("#")[0], other.partition("#")[0]}
        if method.exact or not kinds <= CONFUSED_BY_FSTAT:
            assert not method.same(a, b), f"{describe(a)}; {describe(b)}"


@pytest.mark.parametrize(
    "kind", [kind for kind in AVAILABLE if kind in CONFUSED_BY_FSTAT]
)
def test_what_fstat_cannot_tell_is_said(kind: str, stock: Stock) -> None:
    a, b = stock.number(kind), stock.number(f"{kind}#1")
    assert METHODS[-1].same(a, b)
    assert METHODS[-1].cannot_tell.count(kind) == 1


@by_method
@pytest.mark.parametrize("kind", ["memfd", "file", "pipe-read", "directory"])
def test_a_reopened_one_is_another_and_fstat_does_not_see_it(
    kind: str, method: IdentityMethod, stock: Stock
) -> None:
    number = stock.number(kind)
    access = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE
    reopened = os.open(f"/proc/self/fd/{number}", access | os.O_NONBLOCK)
    try:
        assert method.same(number, reopened) is not method.exact
    finally:
        os.close(reopened)


@by_method
def test_shared_state_does_not_change_identity(method: IdentityMethod) -> None:
    with Stock() as stock:
        number, duplicate = stock.number("file"), stock.number("dup:file")
        looks = fingerprint(number)
        os.write(number, b"contents")
        os.fchmod(number, 0o400)
        flags = fcntl.fcntl(number, fcntl.F_GETFL)
        fcntl.fcntl(number, fcntl.F_SETFL, flags | os.O_NONBLOCK | os.O_APPEND)
        os.set_inheritable(number, True)
        assert method.same(number, duplicate)
        assert fingerprint(number) == looks


@by_method
@pytest.mark.parametrize("closed", [-1, -24, NEVER_OPEN])
def test_what_is_not_open_is_the_same_as_nothing(
    closed: int, method: IdentityMethod, stock: Stock
) -> None:
    number = stock.number("memfd")
    assert not method.same(closed, number)
    assert not method.same(number, closed)
    assert not method.same(closed, closed)


def test_a_kernel_that_refuses_to_answer_is_not_taken_for_a_no() -> None:
    def refuse(a: int, b: int) -> bool:
        raise PermissionError(errno.EPERM, "seccomp")

    method = IdentityMethod("refused", refuse)
    assert not method.works()
    with pytest.raises(PermissionError):
        method.same(0, 1)


def test_a_way_that_answers_wrongly_is_not_taken() -> None:
    assert not IdentityMethod("always", lambda a, b: True).works()
    assert not IdentityMethod("never", lambda a, b: False).works()


@given(st.data())
def test_identify_finds_what_was_passed_whatever_is_expected(
    data: st.DataObject,
) -> None:
    with Stock() as stock:
        pool = ["memfd", "memfd#1", "pipe-read", "pipe-write", "socket", "dup:memfd"]
        for name in data.draw(st.lists(st.sampled_from(pool), min_size=1)):
            stock.number(name)
        sent = data.draw(st.sampled_from(stock.names()))
        expected = data.draw(st.none() | st.sampled_from([*pool, "phantom"]))
        installed = passed(stock.number(sent))
        try:
            found = identify(installed, stock.numbers, expected=expected)
            candidates = [
                name
                for name in stock.names()
                if name.removeprefix("dup:") == sent.removeprefix("dup:")
            ]
            assert found == (expected if expected in candidates else candidates[0])
        finally:
            os.close(installed)


def test_a_number_that_was_used_again_is_not_what_it_was() -> None:
    with Stock() as stock:
        for name in ("memfd", "socket", "pipe-read"):
            stock.number(name)
        number = passed(stock.number("memfd"))
        assert same_description(number, stock.number("memfd"))
        assert identify(number, stock.numbers) == "memfd"
        os.close(number)
        assert identify(number, stock.numbers, expected="memfd") is None
        again = passed(stock.number("socket"))
        assert again == number  # the lowest free number, R8
        assert identify(again, stock.numbers, expected="memfd") == "socket"
        os.dup2(stock.number("pipe-read"), again)
        assert identify(again, stock.numbers, expected="socket") == "pipe-read"
        os.close(again)


def test_a_candidate_that_is_gone_is_passed_over() -> None:
    with Stock() as stock:
        number = stock.number("memfd")
        candidates = {"gone": NEVER_OPEN, "never": -1, "memfd": number}
        assert identify(number, candidates, expected="gone") == "memfd"
        assert identify(number, {}) is None
        assert identify(-1, candidates) is None


# What an older kernel or a sandbox answers: a seccomp filter says it for real, in a
# child that is lost afterwards.

CALLS = {
    # machine: (AUDIT_ARCH_..., __NR_fcntl, __NR_kcmp)
    "x86_64": (0xC000003E, 72, 312),
    "aarch64": (0xC00000B7, 25, 272),
}
PR_GET_SECCOMP = 21

CHILD = r"""
import ctypes, errno, json, struct, sys
arch, fcntl, kcmp, kcmp_is_refused = map(int, sys.argv[1:])
load, jump, give = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
allow, error = 0x7FFF0000, 0x00050000  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO
filter = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in [
        (load, 0, 0, 4),
        (jump, 0, 6, arch),
        (load, 0, 0, 0),
        (jump, 5 if kcmp_is_refused else 4, 0, kcmp),
        (jump, 0, 3, fcntl),
        (load, 0, 0, 24),
        (jump, 0, 1, 1027),  # F_DUPFD_QUERY
        (give, 0, 0, error | errno.EINVAL),
        (give, 0, 0, allow),
        (give, 0, 0, error | errno.EPERM),
    ]
)
code = ctypes.create_string_buffer(filter)
program = ctypes.create_string_buffer(
    struct.pack("HxxxxxxP", len(filter) // 8, ctypes.addressof(code))
)
prctl = ctypes.CDLL(None, use_errno=True).prctl
prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
assert prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
assert prctl(22, 2, ctypes.addressof(program), 0, 0) == 0, ctypes.get_errno()
from ancfuzz.descriptors import IDENTITY_METHOD, Stock, identity_methods
with Stock() as stock:
    for name in ("memfd", "memfd#1", "dup:memfd", "pipe-read"):
        stock.number(name)
    assert stock.verify() == ()
print(json.dumps([IDENTITY_METHOD.name, [m.name for m in identity_methods()]]))
"""


@pytest.mark.skipif(
    platform.machine() not in CALLS or sys.maxsize < 2**32,
    reason="the filter is written for 64-bit x86 and ARM",
)
@pytest.mark.skipif(
    sys.platform != "linux" or ctypes.CDLL(None).prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0,
    reason="no seccomp filters here",
)
@pytest.mark.parametrize("kcmp_is_refused", [False, True])
def test_older_kernels_and_sandboxes_have_a_way_left(*, kcmp_is_refused: bool) -> None:
    had = [method.name for method in METHODS]
    left = [
        name
        for name in had
        if name != "F_DUPFD_QUERY" and not (kcmp_is_refused and name == "kcmp")
    ]
    arguments = [*CALLS[platform.machine()], int(kcmp_is_refused)]
    home = Path(ancfuzz.__file__).parent.parent
    child = subprocess.run(
        [sys.executable, "-c", CHILD, *map(str, arguments)],
        check=False,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(home)},
        text=True,
        timeout=60,
    )
    assert child.stderr == ""
    assert json.loads(child.stdout) == [left[0], left]
