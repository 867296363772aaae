"""What the tests of the seed need processes of its own for: forks, and other programs.

Started as ``python seed_family.py SCENARIO``; prints one line of JSON.  A process with
threads, as one that runs tests may be, must not fork.
"""

from __future__ import annotations

import errno
import importlib
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ancfuzz.ancillary import ScmRights, SocketAncillary
from ancfuzz.descriptors import is_open, open_numbers
from ancfuzz.sockets import UnixDatagram, UnixStream

if TYPE_CHECKING:
    from collections.abc import Callable

NOTHING = SocketAncillary(0)
SOMEBODY = 65534


def forked(child: Callable[[], object]) -> Any:
    """What this returns in a child, which ends without further ado."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.alarm(60)
            os.write(writer, json.dumps(child()).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        told = answer.read()
    assert os.waitpid(pid, 0)[1] == 0
    return json.loads(told)


def send(sock: UnixStream, *fds: int) -> None:
    ancillary = SocketAncillary(64)
    ancillary.add_fds(fds)
    sock.send_vectored_with_ancillary([b"x"], ancillary)


def receive(sock: UnixStream, ancillary: SocketAncillary) -> int:
    return sock.recv_vectored_with_ancillary([bytearray(1)], ancillary)


def numbers_in(ancillary: SocketAncillary) -> list[int]:
    found = [one for one in ancillary.messages() if isinstance(one, ScmRights)]
    return [number for message in found for number in message]


def owned() -> Any:
    """Fork with descriptors that were received and not taken."""
    answers: dict[str, Any] = {}
    numbers: list[int] = []
    ancillary = SocketAncillary(0)
    ours, theirs = UnixStream.pair()
    before = open_numbers()
    with ours, theirs:

        def clear() -> Any:
            ancillary.clear()
            return sorted(number for number in numbers if is_open(number))

        def take() -> Any:
            taken = ancillary.take_fds()
            for number in taken:
                os.close(number)
            return [taken == numbers, ancillary.take_fds()]

        def drop() -> Any:
            nonlocal ancillary
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                del ancillary
            return [
                [one.category.__name__ for one in warned],
                [number for number in numbers if is_open(number)],
            ]

        def receive_more() -> Any:
            receive(theirs, ancillary)
            fresh = ancillary.take_fds()
            gone = {*numbers} - {*fresh}
            return [len(fresh), sorted(filter(is_open, gone))]

        for child in (clear, take, drop, receive_more):
            ancillary = SocketAncillary(64)
            send(ours, ours.fileno(), theirs.fileno())
            receive(theirs, ancillary)
            numbers[:] = numbers_in(ancillary)
            if child is receive_more:
                send(ours, ours.fileno())
            answers[child.__name__] = {
                "child": forked(child),
                "open here": [is_open(number) for number in numbers],
                "taken here": ancillary.take_fds() == numbers,
            }
            for number in numbers:
                os.close(number)
    answers["leaked"] = sorted(open_numbers() - before)
    return answers


def sockets() -> Any:
    """Both processes use a pair; closing it in one is nothing to the other."""
    ours, theirs = UnixStream.pair()
    with ours, theirs, SocketAncillary(64) as ancillary:

        def child() -> Any:
            reader, writer = os.pipe()
            send(theirs, reader)
            os.close(reader)
            ours.close()
            theirs.close()
            return os.write(writer, b"from the child")  # and it ends

        written = forked(child)
        receive(ours, ancillary)
        (number,) = ancillary.take_fds()
        with os.fdopen(number, "rb") as file:  # it outlives who sent it
            outlived = file.read().decode()
        send(ours, 0)
        still = receive(theirs, ancillary)
        return {"written": written, "outlived": outlived, "still": still}


def _answer(stream: UnixStream) -> None:
    """In a process of another start method: send back what was asked for."""
    signal.alarm(60)
    with stream, SocketAncillary(64) as ancillary:
        receive(stream, ancillary)
        (number,) = ancillary.take_fds()
        os.write(number, b"written by another program")
        os.close(number)
        reader, writer = os.pipe()
        os.write(writer, b"piped")
        send(stream, reader)
        os.close(reader)
        os.close(writer)


def answer_by_number(number: int) -> None:
    import socket

    _answer(UnixStream.from_socket(socket.socket(fileno=number)))


def multiprocesses() -> Any:
    """A socket as an argument of ``multiprocessing``, by each start method."""
    answers: dict[str, Any] = {}
    for method in multiprocessing.get_all_start_methods():
        context: Any = multiprocessing.get_context(method)
        ours, theirs = UnixStream.pair()
        reader, writer = os.pipe()
        with ours, SocketAncillary(64) as ancillary:
            process = context.Process(target=_answer, args=(theirs,))
            process.start()
            theirs.close()
            send(ours, writer)
            os.close(writer)
            receive(ours, ancillary)
            (number,) = ancillary.take_fds()
            process.join(60)
            answers[method] = [
                process.exitcode,
                os.read(reader, 64).decode(),
                os.read(number, 64).decode(),
            ]
            os.close(number)
            os.close(reader)
    return answers


def inherited() -> Any:
    """A socket by its number, in a program that was executed."""
    import subprocess

    ours, theirs = UnixStream.pair()
    reader, writer = os.pipe()
    with ours, SocketAncillary(64) as ancillary:
        program = f"import seed_family as f; f.answer_by_number({theirs.fileno()})"
        with subprocess.Popen(
            [sys.executable, "-c", program], pass_fds=[theirs.fileno()]
        ) as process:
            theirs.close()
            send(ours, writer)
            os.close(writer)
            receive(ours, ancillary)
            (number,) = ancillary.take_fds()
            status = process.wait(60)
        return [status, os.read(reader, 64).decode(), os.read(number, 64).decode()]


def denied() -> Any:
    """Send to a path, as somebody who may not."""
    folder = Path(tempfile.mkdtemp())
    answers: dict[str, str] = {}
    try:
        folder.chmod(0o755)
        closed = folder / "closed"
        closed.mkdir()
        (folder / "open").mkdir()
        paths = {
            "a socket": folder / "socket",
            "below a folder": closed / "socket",
            "allowed": folder / "open" / "socket",
        }
        servers = [UnixDatagram.bind(path) for path in paths.values()]
        for path in paths.values():
            path.chmod(0o777)
        paths["a socket"].chmod(0o555)  # to send takes the right to write (unix(7))
        closed.chmod(0)

        def child() -> Any:
            if os.getuid() == 0:
                os.setgroups([])
                os.setresgid(SOMEBODY, SOMEBODY, SOMEBODY)
                os.setresuid(SOMEBODY, SOMEBODY, SOMEBODY)
            with UnixDatagram.bind("") as client:
                for name, path in paths.items():
                    for how in ("send", "connect"):
                        try:
                            if how == "send":
                                client.send_vectored_with_ancillary_to(
                                    [b"x"], NOTHING, path
                                )
                            else:
                                UnixDatagram.connect(path).close()
                        except OSError as error:
                            said = errno.errorcode[error.errno or 0]
                        else:
                            said = "done"
                        answers[f"{name}: {how}"] = said
                try:
                    UnixDatagram.bind(closed / "mine")
                except OSError as error:
                    answers["bind"] = errno.errorcode[error.errno or 0]
            return answers

        told = forked(child)
        for server in servers:
            server.close()
        closed.chmod(0o755)
        return told
    finally:
        import shutil

        shutil.rmtree(folder)


SCENARIOS = {
    scenario.__name__: scenario
    for scenario in (owned, sockets, multiprocesses, inherited, denied)
}


if __name__ == "__main__":
    # By its name, so that what is pickled is found in other processes.
    named = importlib.import_module("seed_family")
    sys.stdout.write(json.dumps(named.SCENARIOS[sys.argv[1]]()))
