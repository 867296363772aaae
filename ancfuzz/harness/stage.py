"""What the steps of one case share.

A stage has two ends, an actor for each, and the book of the descriptor table.  Which
actor does a step is decided here and nowhere else: the implementation under test at its
own end and for what it overrides, the reference for all the rest.
"""

from __future__ import annotations

import socket
from functools import cache
from typing import TYPE_CHECKING, Any

from ancfuzz.case import (
    Message,
    NamedRights,
    payload_text,
)
from ancfuzz.harness.answers import ENDINGS, nonsense, raised, wrong_with
from ancfuzz.host import FLAGS
from ancfuzz.implementation import Received
from ancfuzz.implementations import CPython, Reference
from ancfuzz.names import names_endpoint
from ancfuzz.naming import control_message, sent_names
from ancfuzz.transcript import NO_FACTS, Answer, Facts, Got, Raised, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ancfuzz.accounts import Accounts
    from ancfuzz.canvas import Canvas
    from ancfuzz.case import Case, Flag, Table
    from ancfuzz.codec import ControlMessage
    from ancfuzz.descriptors import Stock
    from ancfuzz.errors import Refused
    from ancfuzz.implementation import Implementation
    from ancfuzz.implementations import Subject
    from ancfuzz.naming import Values

__all__ = ["Stage", "is_real"]

_REFERENCE = Reference()
_BY_METHODS = CPython()  # for simulated sockets, which have no number to call on


class Stage:
    """Sockets, actors and accounts of one case.

    Attributes:
        stock: descriptors by name.
        accounts: the book of the descriptor table.
        canvas: memory for a caller's buffer.
        values: what the case's names stand for in this process.
        sockets: the ends that are open, by name.
        numbers: of those that are sockets of this process, by name.
        shape: what the descriptor table is to look like at the next receive.
        sent: names of what was sent so far, in order.
        endpoints: of what the case sends, the ends of its own pair, and duplicates.
        others: the rest of what it sends, each once.
        sent_in_all: how many it sends, each as often as it does.
        may_shape: whether the descriptor table of this process may be shaped.
    """

    def __init__(
        self,
        case: Case,
        subject: Subject,
        end: str,
        *,
        stock: Stock,
        accounts: Accounts,
        canvas: Canvas,
        values: Values,
        may_shape: bool,
    ) -> None:
        self.stock = stock
        self.accounts = accounts
        self.canvas = canvas
        self.may_shape = may_shape
        sent = sent_names(case)
        once = dict.fromkeys(sent)
        self.endpoints = [name for name in once if names_endpoint(name)]
        self.others = [name for name in once if not names_endpoint(name)]
        self.sent_in_all = len(sent)
        self.sockets: dict[str, Any] = {}
        self.numbers: dict[str, int] = {}
        self._partners: dict[str, Implementation] = {}
        self.shape: Table | None = None
        self.sent: list[str] = []
        self.values = values
        self._end = end
        self._operations = subject.operations
        self._implementation: Implementation | None = None

    def hire(self, implementation: Implementation) -> None:
        """The implementation under test comes on stage."""
        self._implementation = implementation

    def dismiss(self) -> str:
        """Close the implementation and let go of it; what ``close()`` raised, if so."""
        implementation, self._implementation = self._implementation, None
        if implementation is None:
            return ""
        try:
            implementation.close()
        except BaseException as error:
            if not self.is_ending(error):
                raise
            return f"{type(error).__name__}: {error}"
        return ""

    def set_up(self, sockets: dict[str, Any]) -> None:
        """The pair is there."""
        self.sockets = sockets
        for name, end in sockets.items():
            if is_real(end):
                self.numbers[name] = end.fileno()
            else:
                self._partners[name] = _BY_METHODS

    def is_ending(self, error: BaseException) -> bool:
        """Whether an exception is an answer of the implementation's.

        Here a KeyboardInterrupt is somebody's Ctrl-C, for ours and CPython's raise
        none; in a worker, which hears no terminal, the implementation raised it.
        """
        return self.may_shape or isinstance(error, ENDINGS)

    def actor(self, at: str, operation: str) -> Implementation:
        """Who does an operation at an end."""
        if (
            at == self._end
            and operation in self._operations
            and self._implementation is not None
        ):
            return self._implementation
        return self._partners.get(at, _REFERENCE)

    def is_under_test(self, actor: Implementation) -> bool:
        """Whether it is the implementation that is judged."""
        return actor is self._implementation

    @property
    def own_pair(self) -> Implementation | None:
        """The implementation, if it brings sockets of its own."""
        return self._implementation if "pair" in self._operations else None

    def close_sockets(self) -> None:
        """Close what is still open of the pair, and duplicates of it."""
        self.stock.reclaim()
        for end in self.sockets.values():
            _close(end)
        self.sockets.clear()

    # -- values ------------------------------------------------------------------

    def messages(self, messages: Sequence[Message]) -> tuple[ControlMessage, ...]:
        """Messages of a case with live values in them, noted as sent."""
        for message in messages:
            if isinstance(message, NamedRights):
                self.sent += message.names()
        return tuple([control_message(message, self.values) for message in messages])

    def sent_by(self, actor: Implementation, messages: Sequence[Message]) -> None:
        """Look after descriptors that the implementation under test was given."""
        if actor is self._implementation:
            self.accounts.sent_by_a_stranger(
                name
                for message in messages
                if isinstance(message, NamedRights)
                for name in message.names()
            )

    # -- observing ---------------------------------------------------------------

    def held(
        self, actor: Implementation
    ) -> tuple[tuple[Message, ...] | None, Iterable[int]]:
        """What the actor would still hand out, and the new descriptors in it."""
        if actor is not self._implementation or "held" not in self._operations:
            return None, ()
        return self.accounts.named(actor.held(), self.sent, self.values)

    def stale(self, actor: Implementation) -> Facts | Raised:
        """The facts of a failed receive."""
        if actor is not self._implementation:
            return NO_FACTS
        try:
            return Facts(held=self.held(actor)[0])
        except ENDINGS as error:
            return raised(error)

    def refused(self, error: Refused, actor: Implementation) -> Answer:
        """A receive that was declined, and what it hands out all the same."""
        handed = Received(b"", error.messages, truncated=False)  # type: ignore[arg-type]  # looked at next
        wrong = wrong_with(handed)
        if wrong:
            return nonsense(error.messages, wrong)
        accounts = self.accounts
        messages, new = accounts.named(handed.messages, self.sent, self.values)
        accounts.close(new)
        facts = self.stale(actor)
        if isinstance(facts, Raised):
            return facts
        reason = "" if error.messages else str(error)
        return Refusal(reason, messages, facts)

    def observed(self, received: Received, actor: Implementation) -> Answer:
        """What a receive says, with its descriptors named and checked."""
        is_under_test = actor is self._implementation
        # A socket of an implementation may say anything through CPython's methods, too.
        wrong = "" if actor is _REFERENCE else wrong_with(received)
        if wrong:
            # Which descriptors it meant nobody can read: none of them is a leak.
            self.accounts.close_what_appeared(self.sent)
            return nonsense(received, wrong)
        accounts = self.accounts
        messages, new = accounts.named(received.messages, self.sent, self.values)
        try:
            held, held_numbers = self.held(actor)
        except BaseException as error:
            accounts.close(new)
            if not self.is_ending(error):
                raise
            return raised(error)
        # The reference reports all that it gets; what else came, a sender made.
        facts = Facts(
            accounts.unreported({*new, *held_numbers}, self.sent)
            if is_under_test
            else (),
            accounts.inheritable(new),
            held,
        )
        accounts.close(new)
        return Got(
            data=payload_text(bytes(received.data)),
            messages=messages,
            truncated=bool(received.truncated),
            flags=None if received.flags is None else _flag_names(received.flags),
            control_length=received.control_length,
            facts=facts,
        )


@cache
def _flag_names(shown: int) -> tuple[Flag, ...]:
    return tuple(name for name, bit in FLAGS.items() if shown & bit)


def _close(end: Any) -> None:
    try:
        end.close()
    except OSError:
        return  # somebody closed its number already


def is_real(sock: object) -> bool:
    """Whether an end is a socket of this process, and not a simulated one."""
    return isinstance(sock, socket.socket)
