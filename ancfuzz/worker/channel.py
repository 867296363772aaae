"""What parent and child say to each other, and that it ends.

Requests and transcripts go over a socket pair as length-prefixed MessagePack.  Every
wait of the parent has a deadline; the child waits for its next request as long as the
parent lives.

This room must not know what a case is for.
"""

from __future__ import annotations

import socket
import struct
import time
from typing import TYPE_CHECKING

import msgspec

from ancfuzz.case import Case
from ancfuzz.transcript import Environment, Transcript

if TYPE_CHECKING:
    import socket

__all__ = [
    "TWIN",
    "Gone",
    "Late",
    "Ready",
    "Request",
    "decode_ready",
    "decode_request",
    "decode_transcript",
    "encode",
    "receive",
    "send",
]

_MOST_REPLY = 64 << 20  # bytes: no transcript is as long
_LENGTH = struct.Struct("<I")

TWIN = slice(8, 16)
"""In the shared page: the token of a request that two processes came back from."""


class Request(msgspec.Struct, frozen=True):
    """A case to perform, the end that the implementation holds, and a token."""

    case: Case
    end: str
    token: bytes


class Ready(msgspec.Struct, frozen=True):
    """The child can begin, or why it cannot."""

    environment: Environment | None = None
    error: str = ""


encode = msgspec.msgpack.Encoder().encode
decode_request = msgspec.msgpack.Decoder(Request).decode
decode_ready = msgspec.msgpack.Decoder(Ready).decode
decode_transcript = msgspec.msgpack.Decoder(Transcript).decode


class Gone(Exception):
    """The other side is gone, or what it said is no message."""


class Late(Exception):
    """The other side did not answer in time."""


def send(sock: socket.socket, message: bytes, deadline: float | None = None) -> None:
    """Send one message.

    Args:
        sock: our end.
        message: its bytes.
        deadline: on the monotonic clock; None to wait as long as the other side lives.

    Raises:
        Gone: the other side is.
        Late: the deadline has passed, and the other side has not read it all.
    """
    if deadline is not None:
        sock.settimeout(max(deadline - time.monotonic(), 0.001))
    try:
        sock.sendall(_LENGTH.pack(len(message)) + message)
    except TimeoutError:
        raise Late from None
    except OSError as error:
        raise Gone(str(error)) from error


def _exactly(sock: socket.socket, size: int, deadline: float | None) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        if deadline is not None:
            wait = deadline - time.monotonic()
            if wait <= 0:
                raise Late
            sock.settimeout(wait)
        try:
            part = sock.recv(size - len(parts))
        except TimeoutError:
            raise Late from None
        except OSError as error:
            raise Gone(str(error)) from error
        if not part:
            raise Gone("end of file")
        parts += part
    return bytes(parts)


def receive(sock: socket.socket, deadline: float | None) -> bytes:
    """Receive one message.

    Args:
        sock: our end.
        deadline: on the monotonic clock; None to wait as long as the other side lives.

    Raises:
        Gone: the other side is, or talks nonsense.
        Late: the deadline has passed.
    """
    (size,) = _LENGTH.unpack(_exactly(sock, _LENGTH.size, deadline))
    if size > _MOST_REPLY:
        raise Gone(f"a message of {size} bytes")
    return _exactly(sock, size, deadline)
