"""The shim writes down exactly what a program did, and the program does not notice.

Each test runs a small program whose every call is known beforehand, and compares the
log with it.  A program that sees a wrong result of one of its own calls under the
recorder fails by itself, and so does the test.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from pathlib import Path

from ancfuzz.recorder import ReceiveCall, Recording, SendCall, record
from tests.recordings import DEADLINE, NEEDS, compiled, recording_of

pytestmark = list(NEEDS)

H = socket.CMSG_LEN(0)


def header(length: int, kind: int = socket.SCM_RIGHTS) -> bytes:
    return struct.pack("@nii", length, socket.SOL_SOCKET, kind)


def sends(recording: Recording) -> list[SendCall]:
    return [call for call in recording.calls if isinstance(call, SendCall)]


def receives(recording: Recording) -> list[ReceiveCall]:
    return [call for call in recording.calls if isinstance(call, ReceiveCall)]


def test_both_sides_of_an_exchange_are_seen_as_they_were() -> None:
    recording = recording_of("""
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
    recording = recording_of("""
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
    recording = recording_of("""
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
    recording = recording_of("""
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
    recording = recording_of("""
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
    recording = recording_of("""
        a = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        a.bind(("127.0.0.1", 0))
        a.sendmsg([b"x"], [], 0, a.getsockname())
        assert a.recvmsg(10, 100)[0] == b"x"
    """)
    assert recording.calls == ()
    assert len(recording.processes) == 1


def test_threads_and_forks_write_whole_lines_of_their_own() -> None:
    threads, messages = 4, 60
    recording = recording_of(f"""
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
    recording = recording_of(
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
    recording = record([str(compiled(VECTORS, tmp_path))], timeout=DEADLINE)
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
