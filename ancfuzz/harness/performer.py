"""A case from its first step to its end.

Descriptors that the case names are opened before anything is counted; the
implementation is made, asked, closed and dropped; the table is settled while the
sockets are still open; then the sockets go.
"""

from __future__ import annotations

import errno
import os
import resource
from typing import TYPE_CHECKING, Any

from ancfuzz import case as script
from ancfuzz.abi import NATIVE
from ancfuzz.accounts import Accounts
from ancfuzz.canvas import Canvas
from ancfuzz.descriptors import Stock, open_count
from ancfuzz.errors import EnvironmentUnsupported, Unsupported, UsageError
from ancfuzz.harness import coding, exchanging
from ancfuzz.harness.answers import ENDINGS, raised
from ancfuzz.harness.stage import Stage
from ancfuzz.host import environment
from ancfuzz.naming import Values
from ancfuzz.transcript import Answer, Done, NotPerformed, Transcript

if TYPE_CHECKING:
    from collections.abc import Callable
    from mmap import mmap

    from ancfuzz.case import Case, Step
    from ancfuzz.implementations import Subject

__all__ = ["NO_ROOM", "Performer", "ends_to_hold"]

_STEPS: dict[type, Callable[[Stage, Any], Answer]] = {
    script.Encode: coding.encode,
    script.EncodeInto: coding.encode_into,
    script.Decode: coding.decode,
    script.Open: exchanging.open_pair,
    script.SetOption: exchanging.set_option,
    script.Send: exchanging.send,
    script.SendAll: exchanging.send_all,
    script.SendRaw: exchanging.send_raw,
    script.Receive: exchanging.receive,
    script.Table: exchanging.shape,
    script.Shutdown: exchanging.shut,
    script.Close: exchanging.close,
}
_OPERATIONS: dict[type, str] = {
    script.Encode: "encode",
    script.EncodeInto: "encode_into",
    script.Decode: "decode",
    script.Send: "send",
    script.SendAll: "send_all",
    script.Receive: "receive",
}
"""The operation that a step asks of an implementation."""


def ends_to_hold(case: Case, operations: frozenset[str]) -> tuple[str, ...]:
    """The ends of a case at which an implementation with these operations is tested.

    ``""`` is a case without a pair, or one whose pair alone is the implementation's.
    Nothing at all means that the case does not concern it.
    """
    ends: dict[str, None] = {}
    for step in case.steps:
        if _OPERATIONS.get(type(step)) in operations:
            ends[getattr(step, "at", "")] = None
    if not ends and "pair" in operations:
        has_pair = any(isinstance(step, script.Open) for step in case.steps)
        return ("",) if has_pair else ()
    return tuple(ends)


_NUMBERS_EACH = 2
_RESERVE = 16  # numbers for a pair, a listing, an import
_FOR_A_RUNTIME = 32  # more, for what a stranger opens and keeps: loops, logs, pipes
NO_ROOM = NotPerformed(
    "RLIMIT_NOFILE is too low for so many descriptors: start with a higher one, see "
    "`ulimit -n`"
)
"""The only answer to a case for which this process's table has no room."""


def _end_twin() -> None:
    os._exit(1)


class Performer:
    """Performs cases, one at a time, in this process.

    Args:
        may_shape: whether this is a worker: the descriptor table may be shaped, and who
            is performed may do anything.
        output: returns what was written to standard output since it was last asked.
        position: its first item is set to the index of the step being performed, for
            whoever watches from outside.
        on_twin: called in a process that a step came back in and that is not this one.
    """

    def __init__(
        self,
        *,
        may_shape: bool = False,
        output: Callable[[], str] = str,
        position: bytearray | mmap | None = None,
        on_twin: Callable[[], None] = _end_twin,
    ) -> None:
        self._pid = os.getpid()
        self._on_twin = on_twin
        self._may_shape = may_shape
        self._position = bytearray(1) if position is None else position
        self._output = output
        self._stock = Stock()
        self._accounts = Accounts(self._stock, vigilant=may_shape)
        self._canvas = Canvas()
        self.environment = environment()
        own = (self._pid, self.environment.uid, self.environment.gid)
        self._values = Values(self._stock.number, own, NATIVE)
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._room = soft - open_count() - _RESERVE

    def close(self) -> None:
        """Close the descriptors that it kept."""
        self._stock.close()
        self._canvas.close()

    def perform(self, case: Case, subject: Subject, end: str) -> Transcript:
        """Perform a case with the subject at one end.

        Args:
            case: what to do.
            subject: the implementation under test.
            end: ``a`` or ``b``; ``""`` for a case without a pair.
        """
        stage = Stage(
            case,
            subject,
            end,
            stock=self._stock,
            accounts=self._accounts,
            canvas=self._canvas,
            values=self._values,
            may_shape=self._may_shape,
        )
        self._position[0] = 0
        answers = self._prepare(stage, subject, case) or self._answers(stage, case)
        closing = stage.dismiss()
        balance = self._accounts.settle(stage.sent)
        stage.close_sockets()
        return Transcript(
            answers=tuple(answers),
            subject=end,
            environment=self.environment,
            leaked=balance.leaked,
            lost=balance.lost,
            grown=balance.grown,
            closing=closing,
            output=self._output(),
        )

    def _prepare(self, stage: Stage, subject: Subject, case: Case) -> list[Answer]:
        """Open what the case names, make the implementation; nothing if all is well."""
        names = stage.others
        # The stock holds two numbers for each name, and must leave room for the rest.
        kept = self._stock.numbers
        room = self._room - (0 if subject.trusted else _FOR_A_RUNTIME)
        room -= stage.sent_in_all  # all may be received
        if _NUMBERS_EACH * (len(names) + len(kept)) > room and (
            _NUMBERS_EACH * len({*names, *kept}) > room
        ):
            self._empty_stock()
        if _NUMBERS_EACH * len(names) > room and script.Open in map(type, case.steps):
            self._accounts.begin()
            return [NO_ROOM]
        try:
            for name in names:
                self._stock.number(name)
        except OSError as error:
            self._empty_stock()
            self._accounts.begin()
            full = error.errno in (errno.EMFILE, errno.ENFILE)
            return [NO_ROOM if full else NotPerformed(str(error))]
        except EnvironmentUnsupported as error:
            self._empty_stock()
            self._accounts.begin()
            return [NotPerformed(str(error))]
        self._accounts.begin()
        try:
            stage.hire(subject.make())
        except BaseException as error:
            if not stage.is_ending(error):
                raise
            return [raised(error)]
        return []

    def _empty_stock(self) -> None:
        self._stock.close()
        self._accounts.emptied()

    def _answers(self, stage: Stage, case: Case) -> list[Answer]:
        answers: list[Answer] = []
        position = self._position
        for index, step in enumerate(case.steps):
            position[0] = index
            answer = _answer(stage, step)
            if self._may_shape and os.getpid() != self._pid:
                self._on_twin()  # it forked, and both processes came back
            answers.append(answer)
            kind = type(answer)
            if kind is NotPerformed or (kind is not Done and type(step) is script.Open):
                break
        return answers


def _answer(stage: Stage, step: Step) -> Answer:
    try:
        return _STEPS[type(step)](stage, step)
    except Unsupported as error:
        return NotPerformed(str(error) or "not supported", "implementation")
    except (EnvironmentUnsupported, UsageError) as error:
        return NotPerformed(str(error))
    except ENDINGS as error:
        if stage.own_pair is not None:
            return raised(error)  # by a method of its own sockets
        if isinstance(error, OSError):
            # Not the implementation's, which are answers by now: a sandbox, a limit.
            return NotPerformed(f"{type(step).__name__}: {error.strerror or error}")
        raise
    except BaseException as error:
        if not stage.is_ending(error):
            raise
        return raised(error)
