"""Bugs that end a case early: raised, exited, killed, or answered with nonsense.

Some do worse to the process that they are in: they take its memory, close what it has
open, write into its sockets, or go on as two.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from typing import TYPE_CHECKING, Any

from ancfuzz import Implementation, Received

from .registry import (
    RIGHT,
    Encoder,
    Messages,
    Receiver,
    changed,
    close,
    numbers_in,
    plant,
)

if TYPE_CHECKING:
    import socket

    from ancfuzz.codec import ControlMessage


@plant("CRASH.exception")
class Raises(Receiver):
    def spoil(self, got: Received) -> Received:
        close(numbers_in(got.messages))
        raise ValueError("that came as a surprise")


@plant("CRASH.exception")
class RaisesAtFirst(Receiver):
    """It cannot even be made."""

    def __init__(self) -> None:
        raise RuntimeError("no configuration found")


@plant("CRASH.exception")
class CallsExit(Receiver):
    def spoil(self, got: Received) -> Received:
        close(numbers_in(got.messages))
        sys.exit("goodbye")


@plant("CRASH.exception")
class TakesAllMemory(Receiver):
    def spoil(self, got: Received) -> Received:
        close(numbers_in(got.messages))
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123  (a line is enough)
            pages = int(file.read().split()[0])
        most = pages * resource.getpagesize() + (64 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
        try:
            bytearray(1 << 40)
        finally:
            infinity = resource.RLIM_INFINITY
            resource.setrlimit(resource.RLIMIT_AS, (infinity, infinity))
        return got


@plant("CRASH.exception")
class HeldRaises(Receiver):
    def held(self) -> Messages:
        raise ValueError("nothing was ever kept")


@plant("CRASH.exception")
class PairRaises(Implementation):
    def pair(self, kind: str) -> tuple[Any, Any]:
        raise ValueError(f"{kind}: no such thing")


@plant("CRASH.exception")
class Interrupts(Receiver):
    def spoil(self, got: Received) -> Received:
        raise KeyboardInterrupt


@plant("CRASH.process")
class Exits(Receiver):
    def spoil(self, got: Received) -> Received:
        os._exit(3)


@plant("CRASH.process")
class IsKilled(Receiver):
    def spoil(self, got: Received) -> Received:
        os.kill(os.getpid(), signal.SIGSEGV)
        raise AssertionError("alive")


@plant("CRASH.process")
class ClosesEverything(Receiver):
    def spoil(self, got: Received) -> Received:
        os.closerange(3, 4096)
        return got


@plant("CRASH.process")
class WritesEverywhere(Receiver):
    """Garbage into whatever is open, the way home included."""

    def spoil(self, got: Received) -> Received:
        for number in range(3, 64):
            try:
                os.write(number, b"\xff\xff\xff\xff garbage")
            except OSError:
                continue
        return got


@plant("CRASH.process")
class TwoReturn(Receiver):
    """Forks, and both processes go on with the case."""

    def spoil(self, got: Received) -> Received:
        os.fork()
        return got


@plant("CRASH.answer")
class ReturnsNone(Implementation):
    def receive(  # type: ignore[override]  # that is what is wrong
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> None:
        close(numbers_in(RIGHT.receive(sock, data_capacity, 0, flags).messages))


@plant("CRASH.answer")
class ReturnsText(Encoder):
    def encode(self, messages: Messages, capacity: int) -> bytes | None:
        return "no bytes"  # type: ignore[return-value]  # that is what is wrong


@plant("CRASH.answer")
class DecodesToNumbers(Implementation):
    def decode(self, control: bytes) -> list[ControlMessage]:
        return [1, 2, 3]  # type: ignore[list-item]  # that is what is wrong


@plant("CRASH.answer")
class CountsInText(Implementation):
    def send(
        self, sock: socket.socket, data: bytes, messages: Messages, flags: int = 0
    ) -> int:
        return str(RIGHT.send(sock, data, messages, flags))  # type: ignore[return-value]


@plant("CRASH.answer")
class MessagesAreTuples(Receiver):
    """The type that ``recvmsg`` gives, handed on."""

    def spoil(self, got: Received) -> Received:
        close(numbers_in(got.messages))
        plain = [(m.level, m.type, m.data) for m in got.messages] or [(0, 0, b"")]
        return changed(got, plain)  # type: ignore[arg-type]


@plant("CRASH.answer")
class FlagsAreText(Receiver):
    def spoil(self, got: Received) -> Received:
        close(numbers_in(got.messages))
        return changed(got, (), flags="MSG_CTRUNC", control_length="many")


@plant("CRASH.answer")
class PairIsNone(Implementation):
    def pair(self, kind: str) -> None:  # type: ignore[override]  # that is what is wrong
        return None


@plant("CRASH.close")
class CloseRaises(Receiver):
    def close(self) -> None:
        raise RuntimeError("not open")


@plant("CRASH.output", "policy")
class Prints(Receiver):
    def spoil(self, got: Received) -> Received:
        print("debug:", len(got.messages))  # noqa: T201  (that is what is wrong)
        return got


@plant("CRASH.output", "policy")
class FloodsOutput(Receiver):
    """Sixteen megabytes on each of the two streams."""

    def spoil(self, got: Received) -> Received:
        for stream in (1, 2):
            for _ in range(16):
                os.write(stream, b"\0garbage" * (1 << 17))
        return got
