"""Two connected endpoints and what lies in their queues.

An :class:`Endpoint` holds what ``struct unix_sock`` holds that anybody can observe: its
options, whether it can still send and receive, and a queue of messages.  On a stream a
message is one ``sk_buff``: several may be read at once, and one in parts.

Sending and receiving are each one function over this state; what they decide by are the
rules.  The state is changed by what the model accepts, never by what was observed,
except where Linux leaves the amount open.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec import Struct

from ancfuzz.case import payload_text
from ancfuzz.model.receiving import Writer
from ancfuzz.transcript import Failed, Got

if TYPE_CHECKING:
    from ancfuzz.abi import Abi
    from ancfuzz.case import Flag, Receive
    from ancfuzz.model.rules import Decide
    from ancfuzz.model.sending import Parcel

__all__ = ["Endpoint", "Reader", "pair"]

_Ids = tuple[int, int, int]
_CLOCK_SIZE = 16  # struct timeval and struct timespec of a 64-bit Linux


@dataclass(slots=True)
class Queued:
    """One message in a queue; ``data`` shrinks as a stream is read."""

    data: bytes
    rights: tuple[str, ...]
    credentials: _Ids | None


@dataclass(slots=True)
class Endpoint:
    """One end of a pair, as far as anybody can observe it."""

    kind: str
    peer: Endpoint | None = None
    queue: deque[Queued] = field(default_factory=deque)
    options: dict[str, int] = field(default_factory=dict)
    clock: str | None = None
    closed: bool = False
    sends: bool = True
    receives: bool = True
    error: str | None = None
    is_unsure: bool = False

    def option(self, name: str) -> bool:
        """Whether an option is on; SO_PASSRIGHTS is, unless turned off."""
        return bool(self.options.get(name, name == "SO_PASSRIGHTS"))

    def set_option(self, name: str, value: int) -> None:
        """``setsockopt(2)`` at SOL_SOCKET."""
        if name.startswith("SO_TIMESTAMP"):
            # One setting under several names: the last call replaces it.
            self.clock = name.replace("SO_", "SCM_") if value else None
        else:
            self.options[name] = value

    @property
    def asks_credentials(self) -> bool:
        """Whether what is sent to or from here gets credentials (unix_may_passcred)."""
        options = self.options
        return bool(options.get("SO_PASSCRED") or options.get("SO_PASSPIDFD"))

    # -- sending ----------------------------------------------------------------

    def send_errno(self, parcel: Parcel, rule: Decide, *, queues: bool) -> str | None:
        """The error that a send ends in before anything is queued, if any.

        Args:
            parcel: what its control bytes came to.
            rule: lets a rule decide.
            queues: whether it is to queue anything (S14).
        """
        if self.kind == "seqpacket" and self.error:
            errno, self.error = self.error, None  # unix_seqpacket_sendmsg looks first
            return errno
        if parcel.errno:
            return parcel.errno
        peer = self.peer
        if peer is None:
            return str(rule("S17", self.kind, first=False))
        if not self.sends and self.kind == "dgram":
            return "EPIPE"  # sock_alloc_send_pskb looks at its own end first
        if peer.closed and self.kind == "dgram":
            self.peer = None
            self.queue.clear()  # unix_dgram_disconnected: what was queued is lost
            return str(rule("S17", self.kind, first=True))
        if not self.sends or not peer.receives or peer.closed:
            return (
                "EPIPE" if self.kind == "dgram" else rule("S17", self.kind, first=True)
            )
        if not queues:
            return None
        passrights = peer.option("SO_PASSRIGHTS")
        refused: str | None = rule("S22", len(parcel.rights), passrights=passrights)
        return refused

    def enqueue(self, parcel: Parcel, data: bytes, own: _Ids, rule: Decide) -> None:
        """Queue what a send sent at the peer."""
        peer = self.peer
        if peer is None:
            return
        asked = self.asks_credentials or peer.asks_credentials
        credentials = rule("C1", parcel.credentials, own, asked=asked)
        peer.queue.append(Queued(data, parcel.rights, credentials))

    # -- the end ----------------------------------------------------------------

    def shut(self, how: str) -> None:
        """``shutdown(2)``: streams and seqpackets take the peer with them."""
        together = self.kind != "dgram" and self.peer is not None
        if how in ("write", "both"):
            self.sends = False
            if together and self.peer:
                self.peer.receives = False
        if how in ("read", "both"):
            self.receives = False
            if together and self.peer:
                self.peer.sends = False

    def close(self) -> None:
        """Close this end; unread bytes are an error at the other."""
        self.closed = True
        if self.peer and self.kind != "dgram":
            self.peer.sends = self.peer.receives = False
            if self.queue:
                self.peer.error = "ECONNRESET"
                # Whether packets of no bytes count as unread depends on the kernel.
                self.peer.is_unsure = not any(queued.data for queued in self.queue)
        self.queue.clear()


def pair(kind: str) -> tuple[Endpoint, Endpoint]:
    """Two endpoints connected to each other."""
    one, other = Endpoint(kind), Endpoint(kind)
    one.peer, other.peer = other, one
    return one, other


class Taken(Struct, frozen=True, gc=False):
    """What a read took from a queue."""

    data: bytes
    rights: tuple[str, ...]
    credentials: _Ids | None
    at_end: bool = False
    cut: bool = False
    ends_packets: bool = False  # nothing is written: __unix_dgram_recvmsg returns early


class Reader:
    """One ``recvmsg`` on an endpoint."""

    def __init__(
        self,
        endpoint: Endpoint,
        step: Receive,
        rule: Decide,
        abi: Abi,
        own: _Ids,
        root: tuple[int, int],
    ) -> None:
        self._endpoint = endpoint
        self._step = step
        self._rule = rule
        self._abi = abi
        self._own = own
        self._root = root
        self._peek = "MSG_PEEK" in step.flags

    def read(
        self, free: int | None, *, control_capacity: int | None = None
    ) -> Got | Failed:
        """What the call returns, descriptors that the table has room for included."""
        stream = self._endpoint.kind == "stream"
        taken = self._stream() if stream else self._packet()
        if isinstance(taken, Failed):
            return taken
        capacity = self._step.control_capacity
        if control_capacity is not None:
            capacity = control_capacity
        return self._deliver(taken, capacity, free)

    def _packet(self) -> Taken | Failed:
        endpoint, rule = self._endpoint, self._rule
        if endpoint.error:
            errno, endpoint.error = endpoint.error, None
            return Failed(errno)
        if not endpoint.queue:
            if endpoint.kind == "seqpacket" and not endpoint.receives:
                return Taken(b"", (), None, at_end=True, ends_packets=True)
            return Failed("EAGAIN")
        first = endpoint.queue[0] if self._peek else endpoint.queue.popleft()
        capacity = self._step.data_capacity
        cut = rule("R11", len(first.data), capacity)
        return Taken(first.data[:capacity], first.rights, first.credentials, cut=cut)

    def _stream(self) -> Taken | Failed:
        # unix_stream_read_generic, with the queue as a list and no clock.
        endpoint, rule, peek = self._endpoint, self._rule, self._peek
        room = self._step.data_capacity
        parts: list[bytes] = []
        rights: tuple[str, ...] = ()
        first: Queued | None = None
        check = False
        index = 0
        while index < len(endpoint.queue):
            queued = endpoint.queue[index]
            if first is None:
                first = queued
            elif rule("R13", queued.credentials, first.credentials, check=check):
                break
            check = endpoint.asks_credentials
            part = queued.data[:room]
            parts.append(part)
            room -= len(part)
            # With the first byte that is read; or with none, if none is asked for.
            carried = queued.rights if part or rule("R14") else ()
            if carried:
                rights = carried
            rest = len(queued.data) - len(part)
            if peek:
                index += 1
                if carried:
                    break
            else:
                if rest:
                    queued.data = queued.data[len(part) :]
                    queued.rights = () if carried else queued.rights
                else:
                    endpoint.queue.popleft()
                if rule("R12", carried_rights=bool(carried), rest=rest):
                    break
            if not rule("R15", peek=peek, room=room):
                break
        if first is None:
            return self._nothing()
        if "MSG_WAITALL" in self._step.flags and room and not peek:
            endpoint.error = None  # it asked for more, and sock_error() cleared it
        return Taken(b"".join(parts), rights, first.credentials)

    def _nothing(self) -> Taken | Failed:
        """A stream with nothing in it: an error, the end, or nothing yet."""
        endpoint = self._endpoint
        if endpoint.error:
            errno, endpoint.error = endpoint.error, None
            return Failed(errno)
        if endpoint.receives:
            return Failed("EAGAIN")
        return Taken(b"", (), None, at_end=True)

    def _deliver(self, taken: Taken, capacity: int, free: int | None) -> Got:
        endpoint, rule = self._endpoint, self._rule
        writer = Writer(capacity, free=free, abi=self._abi, rule=rule, own=self._own)
        if not taken.ends_packets:
            if capacity == 0:
                writer.absent(
                    len(taken.rights),
                    credentials=endpoint.option("SO_PASSCRED"),
                    pidfd=endpoint.option("SO_PASSPIDFD"),
                )
            self._write(taken, writer, in_full=capacity > 0)
        flags: list[Flag] = []
        if taken.cut:
            flags.append("MSG_TRUNC")
        if writer.truncated:
            flags.append("MSG_CTRUNC")
        flags += rule("R9", ("MSG_CMSG_CLOEXEC",))
        return Got(
            data=payload_text(taken.data),
            messages=tuple(writer.messages),
            truncated=writer.truncated,
            flags=tuple(flags),
            control_length=writer.length,
        )

    def _write(self, taken: Taken, writer: Writer, *, in_full: bool) -> None:
        """Write what the endpoint asks for and the message brings, in the order of R1.

        Without a buffer only put_cmsg itself says what was lost: of a timestamp and of
        a queue length; the rest never gets there (``__scm_recv_common``).
        """
        endpoint, rule = self._endpoint, self._rule
        clock = endpoint.clock
        if not (taken.rights or endpoint.options or clock):
            return  # nothing was brought, nothing is asked for
        for part in rule("R1"):
            match part:
                case "timestamp" if clock and rule("R17", endpoint.kind):
                    writer.plain(clock, bytes(_CLOCK_SIZE))
                case "credentials" if in_full and endpoint.option("SO_PASSCRED"):
                    at_end = taken.at_end
                    writer.credentials(
                        rule("C3", *self._root)
                        if at_end
                        else rule("C2", taken.credentials)
                    )
                case "rights" if in_full and taken.rights:
                    writer.rights(taken.rights)
                case "pidfd" if in_full and endpoint.option("SO_PASSPIDFD"):
                    writer.pidfd(taken.credentials[0] if taken.credentials else None)
                case "inq" if endpoint.kind == "stream" and endpoint.option("SO_INQ"):
                    unread = sum(len(queued.data) for queued in endpoint.queue)
                    writer.plain("SCM_INQ", unread.to_bytes(4, self._abi.byte_order))
                case _:
                    pass
