"""What the recorder saw, as values: the one reader of the lines that the shim writes.

A line is an event: a process begins, or one message is sent or received.  Numbers
arrive raw and bytes as hexadecimal; here they get their types, and nothing is
interpreted but what a descriptor *is* (``Descriptor.kind``), for which the table below
is the only definition.

The invariant is the order: in a :class:`Recording` a receive stands after the send that
it got, whichever process was quicker to write its line.  A send may be seen by its peer
as soon as it has begun, and a receive has surely not happened before it ended, so
``Call.at`` is the beginning of the one and the end of the other, on CLOCK_MONOTONIC,
which all processes of a machine share.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Annotated, Final, Literal, NamedTuple, TypeAlias

import msgspec

from ancfuzz.picture.lines import quantity

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "Call",
    "Descriptor",
    "Process",
    "ReceiveCall",
    "Recording",
    "SendCall",
    "read_logs",
]


class Octets(bytes):
    """Bytes that are written as hexadecimal."""

    __slots__ = ()


# A log may be anybody's (see _read), so a number is one that a kernel says.
Natural: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Pid: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
Word: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
Size: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]  # a size_t: -1 is 2**64 - 1


class Descriptor(msgspec.Struct, frozen=True):
    """What one descriptor was, in the process and at the moment of the call.

    Attributes:
        fd: its number.
        mode: st_mode of fstat(2).
        device: st_dev.
        inode: st_ino; alone it names a pipe or a socket, for an anonymous inode
            (eventfd, epoll...) it is the same for all.
        status: the status flags, fcntl(F_GETFL).
        flags: the descriptor flags, fcntl(F_GETFD).
        domain: of a socket, SO_DOMAIN.
        type: of a socket, SO_TYPE.
        link: where /proc/self/fd pointed; the first hundred bytes.
        errno: why fstat failed; then nothing else is known.
    """

    fd: int
    mode: Word = 0
    device: int = 0
    inode: int = 0
    status: int = 0
    flags: int = 0
    domain: int = 0
    type: int = 0
    link: Octets = Octets()
    errno: int = 0

    @property
    def kind(self) -> str:
        """What it is, in a word or two: ``pipe-read``, ``memfd``, ``socket``..."""
        if self.errno:
            return "closed"
        if self.status & os.O_PATH:
            return "path"
        for prefix, kind in _LINKS:
            if self.link.startswith(prefix):
                return kind
        if stat.S_ISFIFO(self.mode):
            # Another thread may have closed it before its status was asked.
            return _PIPE_ENDS.get(self.status & os.O_ACCMODE, "fifo")
        return _MODES.get(stat.S_IFMT(self.mode), "other")

    @property
    def identity(self) -> tuple[int, int, int]:
        """Equal for two descriptors of one file; a pipe's two ends differ."""
        return self.device, self.inode, self.status & os.O_ACCMODE


_LINKS: Final = (
    (b"/memfd:", "memfd"),
    (b"anon_inode:[eventfd]", "eventfd"),
    (b"anon_inode:[eventpoll]", "epoll"),
    (b"anon_inode:[timerfd]", "timerfd"),
    (b"anon_inode:[signalfd]", "signalfd"),
    (b"anon_inode:[pidfd]", "pidfd"),
    (b"pidfd:", "pidfd"),  # pidfs, since Linux 6.9
    (b"anon_inode:inotify", "inotify"),
    (b"anon_inode:", "anonymous"),
    (b"/dev/pts/", "terminal"),
    (b"/dev/tty", "terminal"),
    (b"/dev/ptmx", "terminal"),
)
_PIPE_ENDS: Final = {
    os.O_RDONLY: "pipe-read",
    os.O_WRONLY: "pipe-write",
    os.O_RDWR: "fifo",
}
_MODES: Final = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "block-device",
}


class Process(msgspec.Struct, frozen=True, tag="start", tag_field="event"):
    """A process that the recorder was loaded into; one more for each exec.

    A fork is one only if the child sends or receives something.

    Attributes:
        began: nanoseconds of CLOCK_MONOTONIC.
        pid: its process id.
        parent: its parent's.
        program: the last component of its name, as bytes.
    """

    began: Natural
    pid: Pid
    parent: Pid
    program: Octets

    @property
    def name(self) -> str:
        """The program's name, for people."""
        return self.program.decode(errors="backslashreplace")


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """One message of one call, on an AF_UNIX socket.

    Attributes:
        name: the function: sendmsg, recvmsg, sendmmsg or recvmmsg.
        index: which message of the vector; 0 for the calls that take one.
        pid, tid, uid, gid: who called; the ids are the real ones.
        fd: the socket's number, there and then.
        inode: the socket's identity on this machine.
        peer: the identity of the socket at the other end; 0 if it is not known: an
            unconnected datagram socket, a connection that nobody has accepted yet.
        status: the socket's status flags, fcntl(F_GETFL); O_NONBLOCK is one of them.
        flags: the call's.
        type: SO_TYPE.
        passcred, passpidfd, passsec, passrights, timestamp, timestampns: the socket's
            options when the call began; -1 if this kernel lacks it.
        has_control: msg_control was not NULL.
        capacity: msg_controllen as the program gave it.
        iovecs: their lengths; the first 64.
        size: the sum of all of them.
        began, ended: nanoseconds of CLOCK_MONOTONIC.
        result: bytes moved, or -1.
        errno: why not; 0 if it went well.
        data: the first 4096 bytes sent or received.
        control: the control bytes; sent, or received (msg_controllen as it came back).
        fds: what each SCM_RIGHTS descriptor of ``control`` was, in order.
    """

    name: str
    index: Natural
    pid: Pid
    tid: Pid
    uid: Word
    gid: Word
    fd: int
    inode: Natural
    peer: Natural
    status: int
    flags: int
    type: int
    passcred: int
    passpidfd: int
    passsec: int
    passrights: int
    timestamp: int
    timestampns: int
    has_control: bool
    capacity: Size
    iovecs: tuple[Size, ...]
    size: Size
    began: Natural
    ended: Natural
    result: int
    errno: int
    data: Octets = Octets()
    control: Octets = Octets()
    fds: tuple[Descriptor, ...] = ()


class SendCall(_Message, frozen=True, kw_only=True, tag="send"):
    """One message sent, or refused. The fields are those of every message."""

    __doc__ = (_Message.__doc__ or "").replace("One message", "One message sent", 1)

    @property
    def at(self) -> int:
        """The earliest moment at which it can have happened."""
        return self.began


class ReceiveCall(_Message, frozen=True, kw_only=True, tag="receive"):
    """One message received, or the failure to; with two more fields.

    Attributes:
        msg_flags: as they came back; 0 after an error.
        out: msg_controllen as it came back; after an error it means nothing.
    """

    msg_flags: int = 0
    out: Size = 0

    @property
    def at(self) -> int:
        """The latest moment at which it can have happened."""
        return self.ended


Call = SendCall | ReceiveCall


class Recording(msgspec.Struct, frozen=True):
    """All that was seen of some programs.

    Attributes:
        processes: in the order in which they began.
        calls: in the order of time; a receive after its send.
        notes: what could not be recorded, and why: a line each.
        status: the command's exit status; negative, the signal that ended it; None if
            it had to be stopped, or if there was no one command.
        stopped: why the command was stopped: at the deadline, or by a signal to the
            recorder; "" if it was not.
    """

    processes: tuple[Process, ...]
    calls: tuple[Call, ...]
    notes: tuple[str, ...] = ()
    status: int | None = None
    stopped: Literal["", "time", "interrupted"] = ""


def _octets(wanted: type, value: object) -> object:
    if wanted is Octets and isinstance(value, str):
        return Octets.fromhex(value)
    raise NotImplementedError(wanted)


_decoder = msgspec.json.Decoder(Process | SendCall | ReceiveCall, dec_hook=_octets)


def read_logs(folder: Path) -> Recording:
    """Reads every log in a folder.

    A line that a killed process left unfinished, or that a full disk cut, is left out
    and said in the notes.

    Raises:
        OSError: the folder or a log cannot be read.
    """
    events: list[Process | Call] = []
    notes: list[str] = []
    for path in sorted(folder.glob("*.log")):
        log = _read(path)
        if log is None:
            notes.append(f"{path.name}: is not a log: left out")
            continue
        lines, lacks_some = log
        if lacks_some:
            notes.append(f"{path.name}: lacks calls: it could not be written")
        cut = 0
        for line in lines:
            try:
                events.append(_decoder.decode(line))
            except ValueError:  # not JSON, not an event, or not hexadecimal
                cut += 1
        if cut:
            part = quantity(cut, "call")
            notes.append(f"{path.name}: {part} logged only in part: left out")
    processes = [event for event in events if isinstance(event, Process)]
    calls = [event for event in events if not isinstance(event, Process)]
    processes.sort(key=lambda process: process.began)
    calls.sort(key=lambda call: call.at)
    return Recording(tuple(processes), tuple(calls), tuple(notes))


class _Log(NamedTuple):
    """A log: its lines, and whether the shim says that some are lost."""

    lines: list[bytes]
    lacks_some: bool


def _read(path: Path) -> _Log | None:
    # A recording as root leaves the folder open to other users' processes, which need
    # not be friends: never a link, never a FIFO that blocks.
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            return None
        raise
    with os.fdopen(fd, "rb") as log:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            return None
        return _Log(log.read().splitlines(), bool(mode & stat.S_IXUSR))
