"""Bugs that do not come to an end, wherever they are called."""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from typing import Any

from ancfuzz import Implementation, Received

from .registry import RIGHT, Receiver, plant


@plant("TIME.hang")
class Waits(Implementation):
    """Takes the socket to be a blocking one."""

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        while True:
            try:
                return RIGHT.receive(sock, data_capacity, control_capacity, flags)
            except BlockingIOError:
                select.select([sock], [], [])


@plant("TIME.hang")
class WaitsForever(Receiver):
    """Ignores every signal that can be ignored, and sleeps."""

    def spoil(self, got: Received) -> Received:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        while True:
            time.sleep(3600)


@plant("TIME.hang")
class HangsInClose(Receiver):
    def close(self) -> None:
        threading.Event().wait()


@plant("TIME.hang")
class HangsAtFirst(Receiver):
    def __init__(self) -> None:
        threading.Event().wait()


@plant("TIME.hang")
class HangsInPair(Implementation):
    def pair(self, kind: str) -> tuple[Any, Any]:
        threading.Event().wait()
        return socket.socketpair()


@plant("TIME.hang")
class FloodsUntilKilled(Receiver):
    """A loop that prints: the flood ends with the deadline."""

    def spoil(self, got: Received) -> Received:
        while True:
            os.write(1, b"y\n")


@plant("TIME.hang")
class LeavesAChild(Receiver):
    """Starts a process that outlives it, and hangs."""

    def spoil(self, got: Received) -> Received:
        if not os.fork():
            while True:
                time.sleep(3600)
        while True:
            time.sleep(3600)
