"""The seed among threads: one socket for many, and one buffer for many."""

from __future__ import annotations

import os
import random
import struct
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from ancfuzz import UsageError
from ancfuzz.ancillary import ScmRights, SocketAncillary
from ancfuzz.descriptors import open_numbers
from ancfuzz.sockets import UnixDatagram, UnixSeqpacket, UnixStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 60.0  # seconds, for all threads of a test
LABEL = struct.Struct("=ii")  # which sender, which of its messages
SENDERS = RECEIVERS = 4
MESSAGES = 150  # of each sender


@pytest.fixture(autouse=True)
def leaks_nothing() -> Iterator[None]:
    before = open_numbers()
    yield
    assert open_numbers() == before


@pytest.fixture
def hurried() -> Iterator[None]:
    """Have threads change places as often as can be."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def run(*targets: Callable[[], object]) -> None:
    """Run each in a thread, and raise what one of them raised."""
    raised: list[BaseException] = []

    def guarded(target: Callable[[], object]) -> None:
        try:
            target()
        except BaseException as error:  # noqa: BLE001  (raised below)
            raised.append(error)

    threads = [
        threading.Thread(target=guarded, args=(target,), daemon=True)
        for target in targets
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + PATIENCE
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    if raised:
        raise raised[0]
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("kind", [UnixStream, UnixDatagram, UnixSeqpacket])
@pytest.mark.parametrize("own", [True, False], ids=["a buffer each", "a fresh buffer"])
def test_many_send_and_many_receive_over_one_socket(kind: Any, own: bool) -> None:
    """Each message arrives once, whole, with its own descriptors and no other."""
    files = [os.memfd_create(f"file {index}") for index in range(SENDERS * 3)]
    inodes = [os.fstat(number).st_ino for number in files]
    assert len({*inodes}) == len(files)
    arrived: list[tuple[int, int]] = []
    ours, theirs = kind.pair()
    ours.socket.settimeout(PATIENCE)
    theirs.socket.settimeout(PATIENCE)

    def contents(sender: int, index: int) -> range:
        return range(sender * 3, sender * 3 + 1 + index % 3)

    def send(sender: int) -> None:
        ancillary = SocketAncillary(64)
        for index in range(MESSAGES):
            ancillary.clear()
            ancillary.add_fds([files[one] for one in contents(sender, index)])
            label = LABEL.pack(sender, index)
            assert ours.send_vectored_with_ancillary([label], ancillary) == LABEL.size

    def receive() -> None:
        data, ancillary = bytearray(LABEL.size), SocketAncillary(64)
        for _ in range(SENDERS * MESSAGES // RECEIVERS):
            if not own:
                ancillary = SocketAncillary(64)
            theirs.recv_vectored_with_ancillary([data], ancillary)
            sender, index = LABEL.unpack(data)
            numbers = ancillary.take_fds()
            found = [os.fstat(number).st_ino for number in numbers]
            assert found == [inodes[one] for one in contents(sender, index)]
            assert not ancillary.truncated
            arrived.append((sender, index))
            for number in numbers:
                os.close(number)

    with ours, theirs:
        senders = [lambda sender=sender: send(sender) for sender in range(SENDERS)]
        run(*senders, *[receive] * RECEIVERS)
    for number in files:
        os.close(number)
    assert sorted(arrived) == [
        (sender, index) for sender in range(SENDERS) for index in range(MESSAGES)
    ]


def test_a_buffer_that_is_receiving_is_not_to_be_touched() -> None:
    """Nor does asking disturb the receive."""
    ours, theirs = UnixStream.pair()
    with ours, theirs, SocketAncillary(64) as ancillary:
        waiting = threading.Thread(
            target=theirs.recv_vectored_with_ancillary,
            args=([bytearray(1)], ancillary),
            daemon=True,
        )
        waiting.start()
        deadline = time.monotonic() + PATIENCE
        while True:  # until it has begun to wait
            try:
                ancillary.clear()
            except UsageError:
                break
            assert time.monotonic() < deadline
        for touch in (
            ancillary.clear,
            ancillary.take_fds,
            ancillary.take_pidfds,
            lambda: ancillary.add_fds([0]),
            lambda: ancillary.add_creds([]),
            lambda: ours.send_vectored_with_ancillary([b"x"], ancillary),
            lambda: theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary),
        ):
            with pytest.raises(UsageError, match="another thread, or what this signal"):
                touch()
        assert ancillary.is_empty
        assert list(ancillary.messages()) == []
        one = SocketAncillary(64)
        one.add_fds([ours.fileno()])
        ours.send_vectored_with_ancillary([b"x"], one)
        waiting.join(PATIENCE)
        assert not waiting.is_alive()
        assert [
            len(item) for item in ancillary.messages() if isinstance(item, ScmRights)
        ] == [1]


def keep_watch(over: threading.Event, file: int) -> None:
    """Whoever closes a number twice closes one of these, sooner or later."""
    inode = os.fstat(file).st_ino
    while not over.is_set():
        mine = [os.dup(file) for _ in range(3)]
        time.sleep(0)
        for number in mine:
            assert os.fstat(number).st_ino == inode
            os.close(number)


@pytest.mark.usefixtures("hurried")
def test_threads_that_share_a_buffer_close_nothing_twice() -> None:
    """It is not meant to be shared; who does gets refusals, and no more harm."""
    ours, theirs = UnixStream.pair()
    file, other = os.memfd_create("sent"), os.memfd_create("not sent")
    inode = os.fstat(file).st_ino
    shared = SocketAncillary(64)
    over = threading.Event()
    taken: list[int] = []

    def send() -> None:
        ancillary = SocketAncillary(64)
        ancillary.add_fds([file] * 3)
        while not over.is_set():
            with suppress(TimeoutError):
                ours.send_vectored_with_ancillary([b"x"], ancillary)

    def use(seed: int) -> None:
        rng = random.Random(seed)
        room = bytearray(1)
        while not over.is_set():
            try:
                match rng.randrange(5):
                    case 0:
                        shared.clear()
                    case 2:
                        shared.add_fds([other] * 3)
                    case 1:
                        for number in shared.take_fds():
                            assert os.fstat(number).st_ino == inode
                            taken.append(number)
                            os.close(number)
                    case _:
                        theirs.recv_vectored_with_ancillary([room], shared)
            except UsageError:
                pass
            except BlockingIOError:
                time.sleep(0)

    theirs.socket.setblocking(False)
    ours.socket.settimeout(0.1)
    stop = threading.Timer(1.0, over.set)
    stop.start()
    with ours, theirs, shared:
        run(
            *[lambda seed=seed: use(seed) for seed in range(4)],
            send,
            partial(keep_watch, over, other),
        )
    stop.cancel()
    for number in (file, other):
        os.close(number)
    assert taken


@pytest.mark.usefixtures("hurried")
def test_of_all_who_take_at_once_one_gets_them() -> None:
    rounds, threads, count = 400, 4, 3
    ours, theirs = UnixStream.pair()
    sent, ancillary = SocketAncillary(64), SocketAncillary(64)
    sent.add_fds([ours.fileno()] * count)
    theirs.socket.settimeout(PATIENCE)

    def arrive() -> None:
        for number in taken[-1] if taken else ():
            os.close(number)
        taken.append([])
        ours.send_vectored_with_ancillary([b"x"], sent)
        theirs.recv_vectored_with_ancillary([bytearray(1)], ancillary)

    taken: list[list[int]] = []
    ready = threading.Barrier(threads, arrive, PATIENCE)

    def take() -> None:
        for _ in range(rounds):
            ready.wait()
            taken[-1].extend(ancillary.take_fds())

    with ours, theirs:
        run(*[take] * threads)
    for number in taken[-1]:
        os.close(number)
    assert [len(numbers) for numbers in taken] == [count] * rounds
