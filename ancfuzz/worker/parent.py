"""The parent's side: a case in, a transcript out, whatever becomes of the child."""

from __future__ import annotations

import mmap
import os
import socket
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

import msgspec

from ancfuzz.errors import EnvironmentUnsupported, UsageError
from ancfuzz.transcript import (
    Answer,
    Died,
    Environment,
    Hung,
    Transcript,
    Untold,
)
from ancfuzz.worker import scratch
from ancfuzz.worker.channel import (
    TWIN,
    Gone,
    Late,
    Request,
    decode_ready,
    decode_transcript,
    encode,
    receive,
    send,
)
from ancfuzz.worker.process import Child

if TYPE_CHECKING:
    from ancfuzz.case import Case
    from ancfuzz.implementations import Subject

__all__ = ["DEADLINE", "Worker"]

DEADLINE = 2.0
"""Seconds that one case may take; one on a non-blocking socket takes milliseconds."""

_START = 30.0  # seconds for a child to import what it has to


def _unstartable(error: OSError) -> EnvironmentUnsupported:
    return EnvironmentUnsupported(f"a worker cannot be started: {error.strerror}")


class Worker:
    """A child that performs cases of one implementation, replaced when it is lost.

    A context manager.  Nothing is started before the first case.

    Args:
        subject: the implementation.
        deadline: seconds for one case.
    """

    def __init__(self, subject: Subject, *, deadline: float = DEADLINE) -> None:
        self._subject = subject
        self.deadline = deadline
        self._channel: socket.socket | None = None
        self._child: Child | None = None
        self._environment = Environment()
        self._was_ready = False
        # One byte that the child writes and the parent reads, with no word exchanged:
        # the index of the step that is being performed.
        try:
            with ExitStack() as undo:
                file = undo.enter_context(scratch.page())
                self._position = mmap.mmap(file.fileno(), mmap.PAGESIZE)
                undo.pop_all()
        except OSError as error:
            raise _unstartable(error) from None
        self._position_file = file
        self.started = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def perform(self, case: Case, end: str) -> Transcript:
        """Perform a case in the child.

        Raises:
            UsageError: the child cannot be started with this implementation.
            EnvironmentUnsupported: there is no process to be had, or no descriptor.
        """
        try:
            channel = self._start()
        except UsageError as error:
            if not self._was_ready:
                raise
            # It could be started before: what was found is worth a report.
            self._position[0] = 0
            return self._lost(case, end, Died(f"cannot be started again: {error}"))
        started = time.monotonic()
        token = os.urandom(8)  # nothing that garbage in the page would be
        try:
            self._position[0] = 0
            request = encode(Request(case, end, token))
            send(channel, request, started + self.deadline)
            reply = receive(channel, started + self.deadline)
            transcript = decode_transcript(reply)
        except Late:
            lost = self._lost(case, end, Hung(self.deadline))
            self.renew()
            return lost
        except (Gone, msgspec.DecodeError) as error:
            return self._lost(case, end, self._death(error))
        if self._position[TWIN] == token:
            self.renew()
            return self._lost(case, end, Died("forked, and both processes came back"))
        if transcript.lost:
            # Somebody closes what is not theirs: what else is gone, nobody knows.
            self.renew()
        return transcript

    def _lost(self, case: Case, end: str, last: Answer) -> Transcript:
        """A transcript of a case whose answers are lost but for how it ended."""
        index = min(self._position[0], len(case.steps) - 1)
        answers: list[Answer] = [Untold()] * index
        return Transcript((*answers, last), end, self._environment)

    def _death(self, error: Exception) -> Died:
        child, self._child = self._child, None
        how = f"broke off the conversation ({error})"
        stderr = ""
        if child is not None:
            how = child.reap() or how
            stderr = child.stderr_tail()
            child.close()
        self._drop_channel()
        return Died(how, stderr)

    def _drop_channel(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def renew(self) -> None:
        """End the child; the next case gets a new one."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.close()
        self._drop_channel()

    def close(self) -> None:
        """End the child."""
        self.renew()
        self._position.close()
        self._position_file.close()

    def _start(self) -> socket.socket:
        if self._channel is not None:
            return self._channel
        try:
            ours, theirs = socket.socketpair()
            with theirs:
                self._channel = ours
                self._child = Child(self._subject, theirs, self._position_file.fileno())
                self.started += 1
        except OSError as error:
            self._drop_channel()
            raise _unstartable(error) from None
        try:
            ready = decode_ready(receive(ours, time.monotonic() + _START))
        except Late:
            self.renew()
            raise UsageError(
                f"{self._subject.name}: its process was not ready within {_START:g} s"
            ) from None
        except (Gone, msgspec.DecodeError) as error:
            died = self._death(error)
            raise UsageError(
                f"{self._subject.name}: its process {died.how} before it was ready"
                f"{': ' if died.stderr else ''}{died.stderr[-300:].strip()}"
            ) from None
        if ready.error:
            self.renew()
            raise UsageError(ready.error)
        self._environment = ready.environment or Environment()
        self._was_ready = True
        return ours
