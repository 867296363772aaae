"""A worker whose descriptor table test_table shapes, and what it sees there.

Started as ``python table_worker.py SOCKET``; reads one JSON request a line from that
socket and answers each with one line.  The table of the tests' own process is nobody's
to shape, so this runs in a process that may be lost.
"""

from __future__ import annotations

import array
import fcntl
import json
import os
import resource
import socket
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeAlias

from ancfuzz import table
from ancfuzz.descriptors import close_all, open_count, open_numbers
from ancfuzz.errors import AncfuzzError

if TYPE_CHECKING:
    from collections.abc import Callable

Json: TypeAlias = dict[str, Any]


def receive(sock: socket.socket, capacity: int) -> tuple[list[int], bool]:
    """The numbers that one receive installs, and whether it said MSG_CTRUNC."""
    space = socket.CMSG_SPACE(4 * capacity)
    _, control, flags, _ = sock.recvmsg(1, space, socket.MSG_CMSG_CLOEXEC)
    numbers = array.array("i")
    for _, _, data in control:
        numbers.frombytes(data)
    return list(numbers), bool(flags & socket.MSG_CTRUNC)


def exchange(
    shape: Json, count: int, strewn: tuple[int, ...] = (), soft: int | None = None
) -> Json:
    """Receive so many descriptors while the table has that shape.

    Before that, some numbers are in use already, and the soft limit is what it is.
    """
    old_soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ours, theirs = socket.socketpair()
    with ours, theirs, ExitStack() as undo:
        for number in strewn:
            undo.callback(os.close, fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, number))
        if soft is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            back = resource.RLIMIT_NOFILE, (old_soft, hard)
            undo.callback(resource.setrlimit, *back)
        before, limits = open_numbers(), resource.getrlimit(resource.RLIMIT_NOFILE)
        socket.send_fds(ours, [b"x"], [ours.fileno()] * count)
        with table.shape_table(**shape) as shaped:
            numbers, truncated = receive(theirs, count)
            inside, counted = open_numbers(), open_count()
            occupied = shaped.occupied
            close_all(numbers)
        return {
            "numbers": numbers,
            "truncated": truncated,
            "before": sorted(before),
            "exact": inside == before | set(occupied) | set(numbers),
            "counted": counted == len(inside),
            "restored": (
                open_numbers() == before
                and resource.getrlimit(resource.RLIMIT_NOFILE) == limits
                and not shaped.occupied
            ),
            "lost": shaped.lost,
        }


def sabotage(victims: int) -> Json:
    """Close some numbers that a shape holds, and put something else on the next."""
    with table.shape_table(holes="xxx.", free=9) as shaped:
        foreign, *closed = shaped.occupied[-victims:]
        os.dup2(0, foreign)
        for number in closed:
            os.close(number)
    still_there = os.fstat(foreign) == os.fstat(0)
    os.close(foreign)
    return {"expected": [foreign, *closed], "lost": shaped.lost, "left": still_there}


def nested() -> Json:
    """What a receive of four installs within shapes within shapes, and after them."""
    seen: list[list[int]] = []
    before = open_numbers()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with table.above(200), table.holes(), table.free_slots(2):
        seen.append(take())
        with table.free_slots(0):
            seen.append(take())
            with table.free_slots(1):
                seen.append(take())
        seen.append(take())
    restored = resource.getrlimit(resource.RLIMIT_NOFILE) == limits
    return {"seen": seen, "restored": restored and open_numbers() == before}


def take(most: int = 4) -> list[int]:
    """The numbers that can be given out, up to so many."""
    taken: list[int] = []
    try:
        while len(taken) < most:
            taken.append(os.dup(0))
    except OSError:
        pass
    close_all(taken)
    return taken


def all_that_is_left(hard: int) -> Json:
    """How many numbers can be taken where as many are asked for as there are."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    left = hard - open_count()
    with table.free_slots(left):
        return {"left": left, "taken": len(take(most=hard))}


def close_under_a_low_limit() -> Json:
    """Close more numbers together than the soft limit lets a poll look at."""
    before = open_numbers()
    first, *numbers = [os.dup(0) for _ in range(100)]
    os.close(first)
    os.close(numbers[50])
    with table.free_slots(0):
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        absent = close_all(numbers)
    return {
        "is_low": soft < len(numbers),
        "absent": absent,
        "expected": [numbers[50]],
        "restored": open_numbers() == before,
    }


def refused(shape: Json, hard: int) -> Json:
    """What a shape says that the hard limit has no room for, and what it leaves."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard // 2, hard))
    before = open_numbers()
    try:
        with table.shape_table(**shape):
            said = "entered"
    except AncfuzzError as error:
        said = f"{type(error).__name__}: {error}"
    left = open_numbers() == before
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    return {"said": said, "restored": left and limits == (hard // 2, hard)}


def forked() -> Json:
    """Whether a fork of a worker is one."""
    child = os.fork()
    if child == 0:
        try:
            table.free_slots(1).__enter__()
        except AncfuzzError:
            os._exit(0)
        finally:
            os._exit(1)
    return {"status": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}


ANSWERS: dict[str, Callable[..., Json]] = {
    "exchange": exchange,
    "all_that_is_left": all_that_is_left,
    "close_under_a_low_limit": close_under_a_low_limit,
    "sabotage": sabotage,
    "nested": nested,
    "refused": refused,
    "forked": forked,
}


def main() -> None:
    table.allow_in_this_process()
    with socket.socket(fileno=int(sys.argv[1])) as sock, sock.makefile("rw") as lines:
        for line in lines:
            name, arguments = json.loads(line)
            print(json.dumps(ANSWERS[name](**arguments)), file=lines, flush=True)


if __name__ == "__main__":
    main()
