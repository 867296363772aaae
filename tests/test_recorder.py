"""The recorder writes down exactly what a program did, and the program does not notice.

Each test runs a small program whose every call is known beforehand, and compares the
log with it.  A program that sees a wrong result of one of its own calls under the
recorder fails by itself, and so does the test.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ancfuzz.errors import EnvironmentUnsupported, UsageError
from ancfuzz.recorder import (
    ReceiveCall,
    Recording,
    SendCall,
    Session,
    build,
    obstacle,
    read_logs,
    record,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

CC = shutil.which("cc")
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the recorder is for Linux"),
    pytest.mark.skipif(CC is None, reason="the recorder needs a C compiler"),
]

SECONDS = 30.0
H = socket.CMSG_LEN(0)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of our own, so that nothing is written to a home."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        patch.delenv("CC", raising=False)
        yield folder / "ancfuzz"


def run_python(source: str, *, seconds: float = SECONDS) -> Recording:
    """Records a Python program that has to end well."""
    program = textwrap.dedent(PRELUDE) + textwrap.dedent(source)
    # -I -S: no site, no environment: nothing but the program makes calls.
    recording = record([sys.executable, "-ISc", program], timeout=seconds)
    assert recording.status == 0
    assert recording.notes == ()
    return recording


PRELUDE = """
import array, os, socket, struct, sys, threading
def rights(*fds): return socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds)
def pair(kind=socket.SOCK_STREAM): return socket.socketpair(socket.AF_UNIX, kind)
"""


def compile_c(source: str, folder: Path, *flags: str) -> Path:
    """Compiles a C program; None of the tests expects that to fail."""
    assert CC is not None
    program = folder / "program"
    subprocess.run(
        [CC, "-xc", "-", "-O1", "-pthread", *flags, "-o", str(program)],
        input=source.encode(),
        check=True,
        timeout=SECONDS,
    )
    return program


def header(length: int, kind: int = socket.SCM_RIGHTS) -> bytes:
    return struct.pack("@nii", length, socket.SOL_SOCKET, kind)


def sends(recording: Recording) -> list[SendCall]:
    return [call for call in recording.calls if isinstance(call, SendCall)]


def receives(recording: Recording) -> list[ReceiveCall]:
    return [call for call in recording.calls if isinstance(call, ReceiveCall)]


def test_both_sides_of_an_exchange_are_seen_as_they_were() -> None:
    recording = run_python("""
        a, b = pair()
        b.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        r, w = os.pipe()
        a.sendmsg([b"hello", b"", b" world"], [rights(r, w)], socket.MSG_NOSIGNAL)
        b.recvmsg_into([bytearray(6), bytearray(64)], 100, socket.MSG_CMSG_CLOEXEC)
    """)
    (process,) = recording.processes
    assert process.name == Path(sys.executable).name[:15]
    assert process.parent == os.getpid()
    sent, got = recording.calls
    assert isinstance(sent, SendCall)
    assert isinstance(got, ReceiveCall)

    assert (sent.name, sent.index) == ("sendmsg", 0)
    assert (sent.pid, sent.tid) == (process.pid, process.pid)
    assert (sent.uid, sent.gid) == (os.getuid(), os.getgid())
    assert sent.type == socket.SOCK_STREAM
    assert sent.flags == socket.MSG_NOSIGNAL
    assert (sent.passcred, got.passcred) == (0, 1)
    assert (sent.iovecs, sent.size) == ((5, 0, 6), 11)
    assert (sent.result, sent.errno, sent.data) == (11, 0, b"hello world")
    assert sent.has_control
    assert sent.capacity == len(sent.control) == socket.CMSG_SPACE(8)
    assert sent.control == header(H + 8) + struct.pack("@ii", *(d.fd for d in sent.fds))
    assert [d.kind for d in sent.fds] == ["pipe-read", "pipe-write"]

    assert got.name == "recvmsg"
    assert (sent.peer, got.peer) == (got.inode, sent.inode)
    assert got.flags == socket.MSG_CMSG_CLOEXEC
    # 32 of the 100 are CMSG_SPACE of the credentials, CPython asks for all of them.
    assert (got.capacity, got.iovecs, got.size) == (100, (6, 64), 70)
    assert (got.result, got.data) == (11, b"hello world")
    assert got.msg_flags == socket.MSG_CMSG_CLOEXEC
    assert got.out == len(got.control) == socket.CMSG_SPACE(12) + socket.CMSG_SPACE(8)
    assert got.control[:28] == header(H + 12, socket.SCM_CREDENTIALS) + struct.pack(
        "@iII", process.pid, os.getuid(), os.getgid()
    )
    assert [d.identity for d in got.fds] == [d.identity for d in sent.fds]
    assert {d.flags for d in got.fds} == {1}  # FD_CLOEXEC
    assert sent.began < sent.ended <= got.ended
    assert sent.at < got.at


def test_every_kind_of_descriptor_is_named() -> None:
    recording = run_python("""
        import select
        a, b = pair()
        epoll = select.epoll()
        sent = [
            *os.pipe(), os.memfd_create("x"), os.eventfd(0), a.fileno(),
            os.open(sys.executable, os.O_RDONLY), os.open("/", os.O_RDONLY),
            os.open("/", os.O_PATH), epoll.fileno(), os.pidfd_open(os.getpid()),
            os.open("/dev/null", os.O_RDWR), os.openpty()[1],
        ]
        a.sendmsg([b"x"], [rights(*sent)])
        b.recvmsg(1, socket.CMSG_SPACE(4 * len(sent)))
    """)
    kinds = [
        *("pipe-read", "pipe-write", "memfd", "eventfd", "socket", "file"),
        *("directory", "path", "epoll", "pidfd", "device", "terminal"),
    ]
    for call in recording.calls:
        assert [d.kind for d in call.fds] == kinds
    sent, got = recording.calls
    assert (sent.fds[4].domain, sent.fds[4].type) == (socket.AF_UNIX, 1)
    assert sent.fds[4].inode == got.fds[4].inode == sent.inode


def test_what_the_kernel_cut_is_seen_as_it_was_cut() -> None:
    recording = run_python("""
        a, b = pair(socket.SOCK_DGRAM)
        fds = os.pipe()
        for capacity in (0, 19, 20, 24):
            a.sendmsg([b"long"], [rights(*fds)])
            b.recvmsg(2, capacity)
        b.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        a.send(b"x")
        b.recvmsg(2, 24)
    """)
    cut = socket.MSG_TRUNC | socket.MSG_CTRUNC
    assert [
        (call.capacity, call.msg_flags, call.out, len(call.fds), call.data, call.result)
        for call in receives(recording)
    ] == [
        (0, cut, 0, 0, b"lo", 2),
        (19, cut, 0, 0, b"lo", 2),
        (20, cut, 20, 1, b"lo", 2),
        (24, socket.MSG_TRUNC, 24, 2, b"lo", 2),
        (24, socket.MSG_CTRUNC, 24, 0, b"x", 1),
    ]
    # The kernel writes the part of the credentials for which there is room.
    assert receives(recording)[-1].control == header(24, socket.SCM_CREDENTIALS) + (
        struct.pack("@iI", recording.processes[0].pid, os.getuid())
    )
    assert all(call.type == socket.SOCK_DGRAM for call in recording.calls)
    assert not receives(recording)[0].has_control


def test_a_failed_call_keeps_its_error_and_nothing_else() -> None:
    recording = run_python("""
        import errno
        def fails(number, call, *arguments):
            try:
                call(*arguments)
            except OSError as error:
                assert error.errno == number, error
            else:
                raise AssertionError(call)
        a, b = pair(socket.SOCK_SEQPACKET)
        b.setblocking(False)
        fails(errno.EAGAIN, b.recvmsg, 10, 50)
        fails(errno.EBADF, a.sendmsg, [b"x"], [rights(12345)])
        fails(errno.EINVAL, a.sendmsg, [b"x"], [(socket.SOL_SOCKET, 77, b"")])
        b.close()
        fails(errno.EPIPE, a.sendmsg, [b"x"])
    """)
    assert [
        (call.name, call.result, os.strerror(call.errno), [d.kind for d in call.fds])
        for call in recording.calls
    ] == [
        ("recvmsg", -1, os.strerror(11), []),
        ("sendmsg", -1, os.strerror(9), ["closed"]),
        ("sendmsg", -1, os.strerror(22), []),
        ("sendmsg", -1, os.strerror(32), []),
    ]
    (got,) = receives(recording)
    assert (got.capacity, got.out, got.msg_flags, got.control) == (50, 0, 0, b"")
    assert got.status & os.O_NONBLOCK
    assert sends(recording)[1].control[:H] == header(H, 77)


def test_long_things_are_bounded_and_counted() -> None:
    recording = run_python("""
        a, b = pair()
        data = bytes(range(256)) * 40
        a.sendmsg([data[i:i + 10] for i in range(0, len(data), 10)],
                  [rights(*[a.fileno()] * 253)])
        b.recvmsg(20000, 1 << 20)
    """)
    data = bytes(range(256)) * 40
    for call in recording.calls:
        assert call.result == len(data)
        assert call.data == data[:4096]
        assert len(call.fds) == 253
    sent, got = recording.calls
    assert (sent.size, sent.iovecs) == (len(data), (10,) * 64)
    assert (got.size, got.capacity) == (20000, 1 << 20)


def test_sockets_of_other_families_are_left_alone() -> None:
    recording = run_python("""
        a = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        a.bind(("127.0.0.1", 0))
        a.sendmsg([b"x"], [], 0, a.getsockname())
        assert a.recvmsg(10, 100)[0] == b"x"
    """)
    assert recording.calls == ()
    assert len(recording.processes) == 1


def test_threads_and_forks_write_whole_lines_of_their_own() -> None:
    threads, messages = 4, 60
    recording = run_python(f"""
        def work():
            a, b = pair()
            for i in range({messages}):
                a.sendmsg([b"%d" % i], [rights(a.fileno())])
                os.close(array.array("i", b.recvmsg(9, 20)[1][0][2])[0])
        def crowd():
            workers = [threading.Thread(target=work) for _ in range({threads})]
            for worker in workers: worker.start()
            for worker in workers: worker.join()
        child = os.fork()
        crowd()
        if child == 0:
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    """)
    by_thread: dict[tuple[int, int], list[bytes]] = {}
    for call in receives(recording):
        by_thread.setdefault((call.pid, call.tid), []).append(call.data)
        assert [d.kind for d in call.fds] == ["socket"]
    assert len({pid for pid, _ in by_thread}) == 2
    assert len(by_thread) == 2 * threads
    # Equal within a thread: lines of one socket keep their order.
    assert {*map(tuple, by_thread.values())} == {
        tuple(b"%d" % i for i in range(messages))
    }
    assert len(sends(recording)) == 2 * threads * messages


def test_a_program_may_close_everything_and_forget_its_environment() -> None:
    recording = run_python(
        """
        os.environ.clear()
        import ctypes
        ctypes.CDLL(None).clearenv()
        os.closerange(3, 4096)
        # Numbers that were the log's are now the program's: none may be written to.
        files = [os.memfd_create("mine") for _ in range(1100)] if LIMIT > 1200 else []
        a, b = pair()
        a.sendmsg([b"before"])
        if os.fork() == 0:
            a.sendmsg([b"child"])
            os._exit(0)
        os.wait()
        assert all(os.fstat(file).st_size == 0 for file in files)
    """.replace("LIMIT", "__import__('resource').getrlimit(7)[0]")
    )
    assert [(call.data, call.pid) for call in recording.calls[:1]] == [
        (b"before", recording.processes[0].pid)
    ]
    assert recording.calls[1].data == b"child"
    assert recording.calls[1].pid != recording.calls[0].pid


VECTORS = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(what) \
    do if (!(what)) { perror(#what); return __LINE__ % 255; } while (0)

int main(void) {
    int s[2], p[2], room = CMSG_LEN(sizeof(int));
    char out[3] = "abc", in[3][8], sent[3][64] = {{0}}, got[3][64];
    struct iovec oi[3], ii[3];
    struct mmsghdr om[3] = {{{0}}}, im[4] = {{{0}}};
    CHECK(!socketpair(AF_UNIX, SOCK_DGRAM, 0, s) && !pipe(p));
    for (int i = 0; i < 3; i++) {
        struct cmsghdr *c = (void *)sent[i];
        oi[i] = (struct iovec){out + i, 1};
        ii[i] = (struct iovec){in[i], sizeof in[i]};
        *c = (struct cmsghdr){CMSG_LEN(4 * i), SOL_SOCKET, SCM_RIGHTS};
        for (int k = 0; k < i; k++)
            memcpy(CMSG_DATA(c) + 4 * k, &p[k], sizeof(int));
        om[i].msg_hdr = (struct msghdr){0, 0, &oi[i], 1, sent[i], CMSG_LEN(4 * i), 0};
        im[i].msg_hdr = (struct msghdr){0, 0, &ii[i], 1, got[i], room + 4 * i, 0};
    }
    /* The third of the messages is refused, so two are sent. */
    ((struct cmsghdr *)sent[2])->cmsg_len = 1;
    CHECK(sendmmsg(s[0], om, 3, 0) == 2 && om[1].msg_len == 1);
    errno = 77;
    CHECK(recvmmsg(s[1], im, 3, MSG_DONTWAIT, NULL) == 2 && errno == 77);
    CHECK(im[0].msg_hdr.msg_controllen == 0 && im[1].msg_hdr.msg_controllen == 24);
    CHECK(recvmmsg(s[1], im, 3, MSG_DONTWAIT, NULL) == -1 && errno == EAGAIN);
    /* A bad pointer is the kernel's to refuse. */
    CHECK(sendmsg(s[0], (void *)8, 0) == -1 && errno == EFAULT);
    om[0].msg_hdr.msg_iov = (void *)8;
    CHECK(sendmsg(s[0], &om[0].msg_hdr, 0) == -1 && errno == EFAULT);
    om[1].msg_hdr.msg_control = (void *)8;
    CHECK(sendmsg(s[0], &om[1].msg_hdr, 0) == -1 && errno == EFAULT);
    CHECK(sendmsg(-1, &om[1].msg_hdr, 0) == -1 && errno == EBADF);
    CHECK(recvmsg(s[1], NULL, MSG_DONTWAIT) == -1 && errno == EFAULT);
    /* A length that leads out of the buffer. */
    ((struct cmsghdr *)sent[2])->cmsg_len = CMSG_LEN(12);
    CHECK(sendmsg(s[0], &om[2].msg_hdr, 0) == -1 && errno == EINVAL);
    return 0;
}
"""


def test_vectors_of_messages_and_bad_pointers(tmp_path: Path) -> None:
    recording = record([str(compile_c(VECTORS, tmp_path))], timeout=SECONDS)
    assert (recording.status, recording.notes) == (0, ())
    assert [
        (call.name, call.index, call.data, call.result, call.errno, call.capacity)
        for call in recording.calls[:5]
    ] == [
        ("sendmmsg", 0, b"a", 1, 0, H),
        ("sendmmsg", 1, b"b", 1, 0, H + 4),
        ("recvmmsg", 0, b"a", 1, 0, H + 4),
        ("recvmmsg", 1, b"b", 1, 0, H + 8),
        ("recvmmsg", 0, b"", -1, 11, 0),
    ]
    assert [d.kind for d in recording.calls[1].fds] == ["pipe-read"]
    assert [d.kind for d in recording.calls[3].fds] == ["pipe-read"]
    assert receives(recording)[1].out == H + 8
    # Of a header that cannot be read there is nothing to log, of the others the error.
    assert [(call.name, call.errno, call.data) for call in recording.calls[5:]] == [
        ("sendmsg", 14, b""),
        ("sendmsg", 14, b"b"),
        ("sendmsg", 22, b"c"),
    ]
    assert recording.calls[-1].fds == ()


DAEMON = """
import os, socket, time
a, b = socket.socketpair()
ready, done = os.pipe()
if os.fork() == 0:
    os.setsid()
    a.sendmsg([b"from the daemon"])
    os.write(1, b"%d" % os.getpid())
    os.write(done, b"x")
    time.sleep(600)
os.read(ready, 1)
"""


def test_what_is_left_running_is_ended_and_said() -> None:
    read, write = os.pipe()
    with os.fdopen(read) as said:
        recording = record(
            [sys.executable, "-ISc", DAEMON], timeout=SECONDS, linger=0.1, stdout=write
        )
        os.close(write)
        daemon = int(said.read())
    assert recording.status == 0
    (note,) = recording.notes
    assert note.endswith(f"left processes that were ended: {daemon}")
    assert [call.data for call in recording.calls] == [b"from the daemon"]
    assert not runs(daemon)


def runs(pid: int) -> bool:
    """Whether a process is there and not a zombie that nobody has waited for."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in {"Z", "X"}


@pytest.mark.parametrize("ignored", [(), (signal.SIGTERM,)])
def test_the_deadline_holds(ignored: tuple[signal.Signals, ...]) -> None:
    program = "import signal, time\n"
    program += "".join(f"signal.signal({int(n)}, signal.SIG_IGN)\n" for n in ignored)
    began = time.monotonic()
    recording = record(
        [sys.executable, "-ISc", program + "time.sleep(600)"], timeout=1.0
    )
    assert time.monotonic() - began < SECONDS
    assert recording.status is None
    (note,) = recording.notes
    assert note.endswith("stopped after 1 seconds")
    assert not runs(recording.processes[0].pid)


def test_a_session_records_programs_that_talk_to_each_other(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    server = f"""
        s = socket.socket(socket.AF_UNIX)
        s.bind({path!r} + "~")
        s.listen()
        os.rename({path!r} + "~", {path!r})
        print(s.accept()[0].recvmsg(10, 20))
    """
    client = f"""
        c = socket.socket(socket.AF_UNIX)
        c.connect({path!r})
        c.sendmsg([b"x"], [rights(0)])
    """
    with Session(timeout=SECONDS) as session:
        commands = [
            [sys.executable, "-ISc", PRELUDE + textwrap.dedent(source)]
            for source in (server, client)
        ]
        serving = session.start(commands[0], stdout=subprocess.DEVNULL)
        while not Path(path).exists():
            assert session.left > 0
            time.sleep(0.01)
        assert session.wait(session.start(commands[1])) == 0
        assert session.wait(serving) == 0
        recording = session.recording()
    assert not session.folder.exists()
    assert [process.pid for process in recording.processes][:1] == [serving.pid]
    sent, got = recording.calls
    assert isinstance(sent, SendCall)
    assert isinstance(got, ReceiveCall)
    assert sent.fds[0].identity == got.fds[0].identity


def test_a_static_program_is_said_to_make_no_log(tmp_path: Path) -> None:
    program = compile_c("int main(void) { return 3; }", tmp_path, "-static")
    recording = record([str(program)], timeout=SECONDS)
    assert recording.status == 3
    assert recording.notes == (f"{program}: made no log: it is linked statically",)


def test_why_a_program_cannot_be_recorded(tmp_path: Path) -> None:
    def program(name: str, content: bytes) -> str:
        path = tmp_path / name
        path.write_bytes(content)
        path.chmod(0o755)
        return str(path)

    ours = Path(sys.executable).resolve().read_bytes()
    other = ours[:18] + bytes([ours[18] ^ 0x10]) + ours[19:]
    assert obstacle(sys.executable) is None
    assert obstacle(program("script", b"#! /bin/sh -e\n")) is None
    assert obstacle(program("text", b"hello")) == "it is not an ELF program"
    assert obstacle(program("torn", b"\x7fELF\x02\x01")) is not None
    assert (
        obstacle(program("other", other))
        == "it is of another architecture than the recorder"
    )
    assert obstacle(str(tmp_path / "none")) == "there is no such program"
    assert "cannot be read" in str(obstacle(program("lost", b"#!/no/where\n")))
    assert "cannot be read" in str(obstacle(program("bare", b"#!\n")))


@pytest.mark.parametrize("command", [[], ["/no/such/program"], [os.fspath(__file__)]])
def test_what_cannot_be_started_is_a_usage_error(command: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        record(command, timeout=SECONDS)
    assert "\n" not in str(caught.value)


def test_a_line_cut_short_is_left_out_and_said(tmp_path: Path) -> None:
    line = b'{"event":"start","began":1,"pid":2,"parent":3,"program":"7878"}\n'
    (tmp_path / "xx.2.log").write_bytes(line + line[:20])
    (tmp_path / "yy.3.log").symlink_to(tmp_path / "xx.2.log")
    os.mkfifo(tmp_path / "zz.4.log")
    read = read_logs(tmp_path)
    assert [(p.name, p.pid, p.parent, p.began) for p in read.processes] == [
        ("xx", 2, 3, 1)
    ]
    assert read.notes == (
        "xx.2.log: 1 call logged only in part: left out",
        "yy.3.log: is not a log: left out",
        "zz.4.log: is not a log: left out",
    )


def test_the_shim_is_compiled_once_and_without_warnings(cache: Path) -> None:
    first = build()
    assert first.parent == cache
    before = first.stat()
    assert build() == first
    assert first.stat().st_mtime_ns == before.st_mtime_ns
    assert [path.name for path in cache.iterdir() if path.suffix != ".so"] == []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CC", "cc -Wall -Wextra -Werror -std=gnu11 -fanalyzer -O1")
        assert build() != first


@pytest.mark.parametrize(
    ("compiler", "said"),
    [
        ("/no/such/compiler", "needs a C compiler and found none"),
        ("false", "ended with status 1"),
        ("cc -include /no/such/header", "did not compile: cc .*No such file"),
    ],
)
def test_a_compiler_that_fails_is_said_in_one_line(
    compiler: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", compiler)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(EnvironmentUnsupported, match=said) as caught:
        build()
    assert "\n" not in str(caught.value)
    assert "apt install gcc" in str(caught.value)
    assert not list(tmp_path.rglob("*.so"))


def test_a_cache_that_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(EnvironmentUnsupported, match="XDG_CACHE_HOME"):
        build()
