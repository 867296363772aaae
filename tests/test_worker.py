"""Other people's code in a process of its own: lost, replaced, and no loss of ours."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import ancfuzz
from ancfuzz import Implementation, Received, UsageError
from ancfuzz.case import Case, NamedRights, Open, Receive, Send, Table
from ancfuzz.descriptors import open_numbers
from ancfuzz.implementations import Subject, resolve, subject
from ancfuzz.transcript import Died, Got, Hung, NotPerformed, Raised, Sent, Untold
from ancfuzz.worker import Worker

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

EXCHANGE = Case(
    (Open(), Send("a", "78", (NamedRights(("memfd",)),)), Receive("b", 9, 64))
)
TESTS = Path(__file__).parent


@pytest.fixture(autouse=True)
def nothing_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", [str(TESTS), *sys.path])
    before = open_numbers(), resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    assert (open_numbers(), resource.getrlimit(resource.RLIMIT_NOFILE)) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def planted(name: str) -> Subject:
    return resolve(f"planted:{name}")


def child_of(worker: Worker) -> int:
    """The pid of a worker's child, as the system knows it."""
    own = Path(f"/proc/{os.getpid()}/task")
    pids = [int(p) for t in own.iterdir() for p in (t / "children").read_text().split()]
    (pid,) = pids
    return pid


def test_nothing_is_started_before_the_first_case() -> None:
    with Worker(resolve("reference")) as worker:
        assert worker.started == 0


def test_one_child_serves_many_cases() -> None:
    with Worker(resolve("cpython")) as worker:
        for _ in range(50):
            answers = worker.perform(EXCHANGE, "b").answers
            assert answers[1] == Sent(1)
            assert isinstance(answers[2], Got)
            assert answers[2].messages == (NamedRights(("memfd",)),)
        assert worker.started == 1


def test_it_answers_as_this_process_does() -> None:
    from ancfuzz.judging import Judge

    with Worker(resolve("reference")) as worker, Judge(resolve("reference")) as here:
        assert worker.perform(EXCHANGE, "") == here.perform(EXCHANGE, "").transcript


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("Exits", Died("exited with status 3")),
        ("IsKilled", Died("was killed by SIGSEGV")),
        ("WaitsForever", Hung(0.3)),
    ],
)
def test_a_lost_child_is_an_answer_and_is_replaced(
    name: str, answer: Died | Hung
) -> None:
    with Worker(planted(name), deadline=0.3) as worker:
        for count in (1, 2):
            transcript = worker.perform(EXCHANGE, "b")
            assert transcript.answers[:2] == (Untold(), Untold())
            last = transcript.answers[2]
            if isinstance(last, Died):
                last = Died(last.how)
            assert last == answer
            assert worker.started == count
        # What does not concern the bug is performed as if nothing had been.
        assert worker.perform(EXCHANGE, "a").answers[1] == Sent(1)


def test_the_end_of_standard_error_is_quoted() -> None:
    class Local(Marked):
        def receive(
            self,
            sock: socket.socket,
            data_capacity: int,
            control_capacity: int,
            flags: int = 0,
        ) -> Received:
            os.write(2, b"its last words")
            os._exit(3)

    with Worker(subject(Local), deadline=5) as worker:
        last = worker.perform(EXCHANGE, "b").answers[-1]
    assert last == Died("exited with status 3", "its last words")


def test_an_interrupt_that_nobody_sent_is_a_crash() -> None:
    with Worker(planted("Interrupts"), deadline=5) as worker:
        for _ in range(2):
            last = worker.perform(EXCHANGE, "b").answers[-1]
            assert isinstance(last, Raised)
            assert last.type == "KeyboardInterrupt"
        assert worker.started == 1


def test_a_child_that_is_killed_between_two_cases_is_replaced() -> None:
    with Worker(planted("Prints"), deadline=5) as worker:
        worker.perform(EXCHANGE, "a")
        os.kill(child_of(worker), signal.SIGKILL)
        lost = worker.perform(EXCHANGE, "a").answers[-1]
        assert lost == Sent(1) or isinstance(lost, Died | Got)
        assert isinstance(worker.perform(EXCHANGE, "a").answers[-1], Got)
        assert worker.started == 2


def test_output_is_of_its_case() -> None:
    with Worker(planted("Prints")) as worker:
        assert worker.perform(EXCHANGE, "b").output == "debug: 1\n"
        assert worker.perform(EXCHANGE, "a").output == ""


def test_a_flood_is_cut() -> None:
    with Worker(planted("FloodsOutput"), deadline=10) as worker:
        transcript = worker.perform(EXCHANGE, "b")
    assert 0 < len(transcript.output) < 1 << 16


def test_a_table_is_shaped_there_and_not_here() -> None:
    full = Case((*EXCHANGE.steps[:2], Table(free=0), EXCHANGE.steps[2]))
    with Worker(resolve("cpython")) as worker:
        last = worker.perform(full, "b").answers[-1]
        assert isinstance(last, Got)
        assert (last.truncated, last.messages) == (True, ())
        again = worker.perform(EXCHANGE, "b").answers[-1]
        assert isinstance(again, Got)
        assert again.messages == (NamedRights(("memfd",)),)


def test_here_a_table_is_not_shaped() -> None:
    from ancfuzz.harness import Performer

    performer = Performer()
    try:
        steps = (*EXCHANGE.steps[:2], Table(free=0), EXCHANGE.steps[2])
        transcript = performer.perform(Case(steps), resolve("cpython"), "b")
    finally:
        performer.close()
    assert isinstance(transcript.answers[-1], NotPerformed)


# -- what cannot be imported --------------------------------------------------------


class Marked(Implementation):
    """Raises what it finds in its class: a fork has it, an import would not."""

    mark = "as imported"

    def receive(
        self,
        sock: socket.socket,
        data_capacity: int,
        control_capacity: int,
        flags: int = 0,
    ) -> Received:
        raise ValueError(self.mark)


def test_a_class_of_a_function_is_forked_with_what_it_knows() -> None:
    known = "only here"

    class Local(Marked):
        mark = known

    with Worker(subject(Local)) as worker:
        last = worker.perform(EXCHANGE, "b").answers[-1]
    assert last == Raised("ValueError", "only here")


def test_a_fork_holds_nothing_of_its_parents() -> None:
    mine = os.memfd_create("the parent's")
    parents = os.fstat(mine).st_ino

    class Looks(Marked):
        def receive(
            self,
            sock: socket.socket,
            data_capacity: int,
            control_capacity: int,
            flags: int = 0,
        ) -> Received:
            found = [n for n in open_numbers() if os.fstat(n).st_ino == parents]
            raise ValueError(f"{len(found)} numbers lead to it")

    try:
        with Worker(subject(Looks)) as worker:
            last = worker.perform(EXCHANGE, "b").answers[-1]
    finally:
        os.close(mine)
    assert last == Raised("ValueError", "0 numbers lead to it")


def test_a_process_with_threads_is_not_forked() -> None:
    class Local(Marked):
        pass

    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        with (
            Worker(subject(Local)) as worker,
            pytest.raises(UsageError, match="thread"),
        ):
            worker.perform(EXCHANGE, "b")
    finally:
        stop.set()
        thread.join()


def test_what_can_only_be_imported_here_is_an_error() -> None:
    found = subject(Marked, name="gone:Marked", import_name="no_such_module:Marked")
    with Worker(found) as worker, pytest.raises(UsageError, match="no_such_module"):
        worker.perform(EXCHANGE, "b")


def test_the_child_dies_with_its_parent(tmp_path: Path) -> None:
    """Killed with SIGKILL, a parent cannot tidy up: the children have to."""
    program = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "import os, time\n"
        "from ancfuzz.case import Case, Open\n"
        "from ancfuzz.implementations import resolve\n"
        "from ancfuzz.worker import Worker\n"
        "worker = Worker(resolve('planted:Prints'))\n"
        "worker.perform(Case((Open(),)), '')\n"
        "children = '/proc/self/task/%d/children' % os.getpid()\n"
        "print(open(children).read(), flush=True); time.sleep(60)\n"
    )
    root = Path(ancfuzz.__file__).parent.parent
    with subprocess.Popen(
        [sys.executable, "-c", program, str(root), str(TESTS)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    ) as parent:
        assert parent.stdout is not None
        (pid,) = map(int, parent.stdout.readline().split())
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and not is_zombie(pid):
        assert time.monotonic() < deadline, "the child outlives its parent"
        time.sleep(0.01)


def is_zombie(pid: int) -> bool:
    """Whether it has ended, and nobody has asked how."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return status.rpartition(")")[2].split()[0] == "Z"
