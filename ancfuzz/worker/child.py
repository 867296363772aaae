"""What runs in the child: take a request, perform it, answer.

The child shapes its own descriptor table, catches its standard output, and dies with
its parent.
"""

from __future__ import annotations

import gc
import mmap
import os
import resource
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ancfuzz import implementations
from ancfuzz.descriptors import IS_LISTED
from ancfuzz.errors import UsageError
from ancfuzz.harness import Performer
from ancfuzz.lifeline import die_with_parent, hear_no_terminal
from ancfuzz.table import allow_in_this_process
from ancfuzz.worker.channel import (
    TWIN,
    Gone,
    Ready,
    decode_request,
    encode,
    receive,
    send,
)
from ancfuzz.worker.scratch import long_scratch

if TYPE_CHECKING:
    from ancfuzz.implementations import Subject

__all__ = ["main", "serve"]


def main(settings: dict[str, Any]) -> None:
    """What a spawned child runs."""
    die_with_parent(settings["parent"])  # before anything of a stranger's is imported
    if "" not in sys.path:
        sys.path.insert(0, "")  # for what the implementation imports late
    channel = socket.socket(fileno=settings["channel"])
    channel.set_inheritable(False)
    try:
        subject = implementations.resolve(settings["name"], probe=False)
    except UsageError as error:
        with suppress(Gone):
            send(channel, encode(Ready(error=str(error))))
        return
    serve(channel, subject, settings["parent"], settings["position"])


_SMALL_TABLE = 1024  # numbers: what most systems begin with


def _make_table_small() -> None:
    """Let there be few numbers to ask for: a limit of a million takes a second."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft > _SMALL_TABLE:
        resource.setrlimit(resource.RLIMIT_NOFILE, (_SMALL_TABLE, hard))


def serve(channel: socket.socket, subject: Subject, parent: int, position: int) -> None:
    """Answer requests until the other side is gone.

    Args:
        channel: where requests come from and transcripts go.
        subject: the implementation.
        parent: the pid of the other side.
        position: a descriptor of the page whose first byte is the step's index, and
            whose second says that the implementation forked and came back twice.
    """
    die_with_parent(parent)
    hear_no_terminal()
    allow_in_this_process()
    if not IS_LISTED:
        _make_table_small()
    page = mmap.mmap(position, mmap.PAGESIZE)
    os.close(position)  # a number that anybody writes to must not lead there

    token = bytes(8)

    def end_twin() -> None:
        page[TWIN] = token
        os._exit(0)

    performer = Performer(
        may_shape=True, output=_Output().taken, position=page, on_twin=end_twin
    )
    # What is there now stays: collecting garbage after a leak need not look at it.
    gc.collect()
    gc.freeze()
    ready = encode(Ready(performer.environment))
    try:
        send(channel, ready)
        while True:
            request = decode_request(receive(channel, None))
            token = request.token
            transcript = performer.perform(request.case, subject, request.end)
            send(channel, encode(transcript))
    except Gone:
        pass
    finally:
        performer.close()


class _Output:
    """Standard output, caught in a file, a case at a time."""

    _MOST = 4096

    def __init__(self) -> None:
        self._file = long_scratch()  # as long as we live
        self._number = self._file.fileno()
        os.dup2(self._number, 1)
        # A fork may have come with another sys.stdout, of pytest or a notebook.
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)

    def taken(self) -> str:
        """What was written since this was last asked; the file is emptied."""
        with suppress(Exception):  # its own stdout may be closed, or no file at all
            sys.stdout.flush()
        if not os.fstat(self._number).st_size:
            return ""
        text = os.pread(self._number, self._MOST, 0)
        os.ftruncate(self._number, 0)
        os.lseek(self._number, 0, os.SEEK_SET)
        return text.decode("utf-8", "backslashreplace")
