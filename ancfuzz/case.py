"""A case: what is to be done, step by step, and nothing of how.

A case is a small frozen value that prints, compares and is plain JSON that a reviewer
can read in a diff.  It never holds a live descriptor, a pid or a pointer: descriptors
are named by what they are (``names``), the sender's own pid is ``"self"``, bytes are
hex, and a long payload is short (``"61*300000"`` is 300,000 times the byte 0x61).

One case can be performed by any implementation, at either end, on any kernel; what must
come of it is not said here but judged by the model.

This room knows what can be said.  It must not know how anything is run or judged.  The
JSON Schema that ships in ``corpora/schema`` is made from these very classes.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from ancfuzz.errors import UsageError
from ancfuzz.names import expand, is_sendable

__all__ = [
    "Case",
    "Close",
    "Decode",
    "Encode",
    "EncodeInto",
    "Hex",
    "Message",
    "NamedCredentials",
    "NamedPidfd",
    "NamedRights",
    "Open",
    "Payload",
    "PlainMessage",
    "Receive",
    "Send",
    "SendAll",
    "SendRaw",
    "SetOption",
    "Shutdown",
    "SocketKind",
    "Step",
    "Table",
    "check",
    "control_tokens",
    "payload_bytes",
    "payload_text",
]

_MOST_BYTES = 1 << 20  # of one payload or buffer, once a repetition is written out
_MOST_STEPS = 256
_SHORT = 16  # bytes that are read as easily one by one as counted

Hex: TypeAlias = Annotated[
    str, Meta(pattern=r"^([0-9a-f]{2})*$(?!\n)", max_length=1 << 18)
]
"""Bytes as lower-case hexadecimal."""

Payload: TypeAlias = Annotated[
    str, Meta(pattern=r"^([0-9a-f]{2})*(\*[1-9][0-9]{0,6})?$(?!\n)", max_length=1 << 18)
]
"""Hex, optionally with ``*N`` behind it: the whole of it N times over."""

ControlTemplate: TypeAlias = Annotated[
    str, Meta(pattern=r"^([0-9a-f]{2}|\{[^{}]{1,40}\})*$(?!\n)", max_length=1 << 18)
]
"""Hex in which ``{memfd}`` stands for the four bytes of a live descriptor number, and
``{pid}``, ``{uid}``, ``{gid}`` for those of the sender."""

Endpoint: TypeAlias = Annotated[str, Meta(pattern=r"^[a-z]$(?!\n)")]
SocketKind: TypeAlias = Literal["stream", "dgram", "seqpacket"]
Flag: TypeAlias = Literal[
    "MSG_PEEK",
    "MSG_DONTWAIT",
    "MSG_WAITALL",
    "MSG_TRUNC",
    "MSG_CTRUNC",
    "MSG_EOR",
    "MSG_CMSG_CLOEXEC",
]
Option: TypeAlias = Literal[
    "SO_PASSCRED",
    "SO_PASSPIDFD",
    "SO_PASSRIGHTS",
    "SO_TIMESTAMP",
    "SO_TIMESTAMPNS",
    "SO_INQ",
]
CInt: TypeAlias = Annotated[int, Meta(ge=-(2**31), lt=2**31)]
UserId: TypeAlias = Annotated[int, Meta(ge=0, lt=2**32)]
Size: TypeAlias = Annotated[int, Meta(ge=0, le=_MOST_BYTES)]


class _Message(
    Struct,
    frozen=True,
    tag_field="kind",
    omit_defaults=True,
    forbid_unknown_fields=True,
    gc=False,
):
    """What all messages share: how they are told apart in JSON."""


class _Step(
    Struct,
    frozen=True,
    tag_field="do",
    omit_defaults=True,
    forbid_unknown_fields=True,
    gc=False,
):
    """What all steps share: how they are told apart in JSON."""


class NamedRights(_Message, frozen=True, tag="rights"):
    """An SCM_RIGHTS message whose descriptors are named.

    Attributes:
        descriptors: items of :func:`ancfuzz.names.expand`.
        stray: up to three bytes behind the last whole descriptor number.
    """

    descriptors: tuple[str, ...] = ()
    stray: Hex = ""

    def names(self) -> tuple[str, ...]:
        """One name for each descriptor, in order."""
        return _expand_all(self.descriptors)


@lru_cache(maxsize=4096)
def _expand_all(items: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for item in items for name in expand(item))


class NamedCredentials(_Message, frozen=True, tag="credentials"):
    """An SCM_CREDENTIALS message; ``"self"`` is the sending process's own value.

    ``"none"`` as a pid is a number that no process has.
    """

    pid: CInt | Literal["self", "none"] = "self"
    uid: UserId | Literal["self"] = "self"
    gid: UserId | Literal["self"] = "self"


class NamedPidfd(_Message, frozen=True, tag="pidfd"):
    """A received SCM_PIDFD; ``"none"`` is a negative number, and no descriptor."""

    of: Literal["self", "none", "other"] = "self"


class PlainMessage(_Message, frozen=True, tag="message"):
    """A control message as it is: nothing in it is live."""

    level: CInt
    type: CInt
    data: Hex = ""


Message: TypeAlias = NamedRights | NamedCredentials | NamedPidfd | PlainMessage


class Encode(_Step, frozen=True, tag="encode"):
    """Lay messages out in at most ``capacity`` bytes."""

    messages: tuple[PlainMessage, ...]
    capacity: Size


class EncodeInto(_Step, frozen=True, tag="encode_into"):
    """Lay messages out in a caller's buffer that holds ``fill`` bytes before.

    ``misaligned`` is how many bytes behind an aligned address the buffer begins.
    """

    messages: tuple[PlainMessage, ...]
    capacity: Size
    misaligned: Annotated[int, Meta(ge=0, le=15)] = 0
    fill: Annotated[int, Meta(ge=0, le=255)] = 0


class Decode(_Step, frozen=True, tag="decode"):
    """Read the messages that these bytes hold."""

    control: Hex


class Open(_Step, frozen=True, tag="open"):
    """Make a connected pair of endpoints, ``a`` and ``b``."""

    kind: SocketKind = "stream"


class SetOption(_Step, frozen=True, tag="option"):
    """Set a SOL_SOCKET option of an endpoint."""

    at: Endpoint
    option: Option
    value: CInt = 1


class Send(_Step, frozen=True, tag="send"):
    """One ``sendmsg``."""

    at: Endpoint
    data: Payload = "78"
    messages: tuple[Message, ...] = ()
    flags: tuple[Flag, ...] = ()


class SendAll(_Step, frozen=True, tag="send_all"):
    """Send all of the data, however many writes it takes, and the messages once.

    The socket's send buffer is made small, so that one write is not enough; the other
    end is drained while it goes on.
    """

    at: Endpoint
    data: Payload
    messages: tuple[Message, ...] = ()


class SendRaw(_Step, frozen=True, tag="send_raw"):
    """One ``sendmsg`` of control bytes as they are, well-formed or not.

    No implementation is asked to do this: it is the reference that does.
    """

    at: Endpoint
    control: ControlTemplate
    data: Payload = "78"
    flags: tuple[Flag, ...] = ()


class Receive(_Step, frozen=True, tag="receive"):
    """One ``recvmsg`` with so many bytes for data and so many for control."""

    at: Endpoint
    data_capacity: Size = 64
    control_capacity: Size = 0
    flags: tuple[Flag, ...] = ()


class Table(_Step, frozen=True, tag="table"):
    """Shape the descriptor table of the process that performs the case.

    Attributes:
        free: numbers left to be given out under the soft limit; None for plenty.
        holes: whether the free numbers are scattered between used ones.
        above: free numbers are all greater than this one.
    """

    free: Annotated[int, Meta(ge=0, le=512)] | None = None
    holes: bool = False
    above: Annotated[int, Meta(ge=0, le=4096)] | None = None


class Shutdown(_Step, frozen=True, tag="shutdown"):
    """``shutdown(2)`` of an endpoint."""

    at: Endpoint
    how: Literal["read", "write", "both"] = "write"


class Close(_Step, frozen=True, tag="close"):
    """Close an endpoint."""

    at: Endpoint


Step: TypeAlias = (
    Encode
    | EncodeInto
    | Decode
    | Open
    | SetOption
    | Send
    | SendAll
    | SendRaw
    | Receive
    | Table
    | Shutdown
    | Close
)


class Case(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A script of steps, and what a reader should know about it.

    Attributes:
        steps: in the order in which they are performed.
        name: how reports call it; for a file, that of the file.
        note: why it is here, in a sentence or two.
        source: where it comes from: a URL, a man page, a program and its version.
        flags: keys of the table of flags in ``corpora/vectors/README.md``.
        format: the version of this format.
    """

    steps: tuple[Step, ...]
    name: str = ""
    note: str = ""
    source: str = ""
    flags: tuple[str, ...] = ()
    format: Literal["ancfuzz-case-1"] = "ancfuzz-case-1"


@lru_cache(maxsize=1024)
def payload_bytes(payload: Payload) -> bytes:
    """The bytes that a payload stands for.

    Raises:
        UsageError: they are more than a case may hold.
    """
    text, _, times = payload.partition("*")
    count = int(times) if times else 1
    if len(text) // 2 * count > _MOST_BYTES:
        raise UsageError(f"payload {payload[:40]!r} is longer than {_MOST_BYTES} bytes")
    return bytes.fromhex(text) * count


def payload_text(data: bytes) -> Payload:
    """The one way to write a payload: hex, or one byte repeated if that is shorter."""
    if len(data) > _SHORT and data.count(data[0]) == len(data):
        return f"{data[:1].hex()}*{len(data)}"
    return data.hex()


_TOKEN = re.compile(r"\{([^{}]*)\}|((?:[0-9a-f]{2})+)")


@lru_cache(maxsize=1024)
def control_tokens(template: ControlTemplate) -> tuple[bytes | str, ...]:
    """A control template in pieces: bytes as they are, and names of live values.

    Raises:
        UsageError: a name is none.
    """
    tokens: list[bytes | str] = []
    for match in _TOKEN.finditer(template):
        name = match[1]
        if name is None:
            tokens.append(bytes.fromhex(match[2]))
        elif name in ("pid", "uid", "gid"):
            tokens.append(name)
        else:
            tokens.extend(expand(name))
    return tuple(tokens)


def check(case: Case) -> None:
    """Refuse a case that is well-formed JSON and still makes no sense.

    Raises:
        UsageError: with the step, and what was expected of it.
    """
    if len(case.steps) > _MOST_STEPS:
        raise UsageError(
            f"{len(case.steps)} steps: at most {_MOST_STEPS} are performed"
        )
    stage = _Stage()
    for number, step in enumerate(case.steps):
        try:
            stage.take(step)
        except UsageError as error:
            raise UsageError(f"$.steps[{number}]: {error}") from None


class _Stage:
    """What a case has opened, closed and sent so far, for :func:`check`."""

    def __init__(self) -> None:
        self._kind: SocketKind | None = None
        self._open: set[str] = set()
        self._sent: set[str] = set()

    def take(self, step: Step) -> None:
        """Refuse a step that makes no sense here."""
        match step:
            case Open():
                if self._kind is not None:
                    raise UsageError("a case opens its pair once")
                self._kind = step.kind
                self._open = {"a", "b"}
            case Encode() | EncodeInto() | Decode() | Table():
                pass
            case _:
                self._needs(step.at)
        match step:
            case Send() | SendAll():
                if isinstance(step, SendAll):
                    self._sends_all(step)
                payload_bytes(step.data)
                _check_messages(step.messages)
                self._sent.add(step.at)
            case SendRaw():
                payload_bytes(step.data)
                control_tokens(step.control)
                self._sent.add(step.at)
            case Close():
                self._open.remove(step.at)
            case _:
                pass

    def _needs(self, at: str) -> None:
        if at not in self._open:
            raise UsageError(f"endpoint {at!r} is not open, or not any more")

    def _sends_all(self, step: SendAll) -> None:
        if self._kind != "stream":
            raise UsageError(f"send_all on a {self._kind}: expected a stream")
        if step.at in self._sent or len(self._open) < len("ab"):
            raise UsageError(
                "send_all drains the other end: expected it to be open, and this step "
                "to be the first that sends to it"
            )


def _check_messages(messages: tuple[Message, ...]) -> None:
    for message in messages:
        if isinstance(message, NamedRights):
            for name in message.names():
                if not is_sendable(name):
                    raise UsageError(f"{name!r} cannot be sent")
        elif isinstance(message, NamedPidfd):
            raise UsageError("a pidfd message is received, never sent")
