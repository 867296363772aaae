"""What looks like a leak and is none: descriptors, threads and processes of its own."""

from __future__ import annotations

import os
import select
import socket
import stat
import subprocess
import threading
from typing import ClassVar

from ancfuzz import Implementation, Promise, Received, Refused

from .registry import RIGHT, Messages, Receiver, close, numbers_in, unusual


@unusual
class ClosesInTheEnd(Implementation):
    """Holds duplicates of what it sends until it is closed."""

    def __init__(self) -> None:
        self.kept: list[int] = []

    def send(
        self, sock: socket.socket, data: bytes, messages: Messages, flags: int = 0
    ) -> int:
        self.kept += [os.dup(n) for n in numbers_in(messages) if may_be_kept(n)]
        return RIGHT.send(sock, data, messages, flags)

    def close(self) -> None:
        close(self.kept)


def may_be_kept(number: int) -> bool:
    """Whether a duplicate does nothing: of an open socket it would delay the end."""
    try:
        return not stat.S_ISSOCK(os.fstat(number).st_mode)
    except OSError:
        return False


class Owned:
    """A descriptor that is closed when nobody refers to it any more."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.close(self.number)


@unusual
class LeftToTheCollector(Receiver):
    """Owns a duplicate of each descriptor in a cycle of references."""

    def shown(self, got: Received) -> Received:
        for number in numbers_in(got.messages):
            try:
                owned = Owned(os.dup(number))
            except OSError:  # a full table
                continue
            owned.itself = owned  # type: ignore[attr-defined]
        return got


@unusual
class HeldByTheException(Receiver):
    """Refuses, and what it received is closed with the exception."""

    promise: ClassVar[Promise] = Promise(on_truncation="refuse")

    def shown(self, got: Received) -> Received:
        if got.truncated:
            mine = [Owned(number) for number in numbers_in(got.messages)]
            raise Refused(f"truncated: {len(mine)} closed")
        return got


class Runtime:
    """What a language's runtime opens for itself, once, when it is first needed."""

    opened: ClassVar[list[object]] = []

    @classmethod
    def start(cls) -> None:
        if cls.opened:
            return
        reader, writer = os.pipe2(os.O_NONBLOCK)
        epoll = select.epoll()
        epoll.register(reader)
        log = open(os.devnull, "w")  # noqa: SIM115, PTH123  (kept open: that is the point)
        thread = threading.Thread(target=os.read, args=(os.pipe()[0], 1), daemon=True)
        thread.start()
        cls.opened += [reader, writer, epoll, log, thread, os.memfd_create("arena")]
        cls.opened += [os.eventfd(0), *socket.socketpair(socket.AF_UNIX)]


@unusual
class HasARuntime(Receiver):
    """Opens an epoll, pipes, a log, a memfd and a thread of its own, and keeps them."""

    def before(self) -> None:
        try:
            Runtime.start()
        except OSError:  # a full table: another time
            Runtime.opened.clear()


@unusual
class OpensEachTime(Receiver):
    """Reads a file before it receives: under a full table that is what fails."""

    def before(self) -> None:
        with open("/proc/self/stat", "rb") as file:  # noqa: PTH123  (any file)
            file.read()


@unusual
class StartsAThread(Receiver):
    """Leaves a thread behind at each receive, that waits for nothing."""

    def before(self) -> None:
        if threading.active_count() < 16:
            threading.Thread(target=threading.Event().wait, daemon=True).start()


@unusual
class RunsAProgram(Receiver):
    """Asks a program each time, as some do to resolve a name."""

    runs: ClassVar[int] = 0

    def before(self) -> None:
        if RunsAProgram.runs < 3:
            RunsAProgram.runs += 1
            subprocess.run(["/bin/true"], check=True)


@unusual
class ForksAndWaits(Receiver):
    """Has a child do a thing, and waits for it."""

    def before(self) -> None:
        pid = os.fork()
        if not pid:
            os._exit(0)
        os.waitpid(pid, 0)
