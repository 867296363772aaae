"""``ancfuzz record``: real programs in, cases and a verdict out."""

from __future__ import annotations

import json
import os
import shlex
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ancfuzz import corpus
from ancfuzz.case import NamedRights, Open, Receive, Send
from tests.recordings import NEEDS, PASSES, compiled, is_running, python

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import CompletedProcess
    from typing import TypeAlias

    Run: TypeAlias = Callable[..., CompletedProcess[str]]

pytestmark = [*NEEDS, pytest.mark.usefixtures("logs")]

RECORDED = Path(".ancfuzz/recorded")
FINDINGS = Path(".ancfuzz/findings")
SILENCE = "not judged: no message on a Unix socket was seen"


def saved(folder: Path = RECORDED) -> list[Path]:
    return sorted(folder.glob("*"))


# -- what comes out ------------------------------------------------------------------


def test_a_program_runs_as_ever_and_becomes_cases(run: Run) -> None:
    done = run("record", *python(PASSES, "7"), given="its input")
    assert (done.returncode, done.stdout) == (0, "a secret its input\n")
    name = Path(sys.executable).name
    first, second, last = done.stderr.splitlines()
    assert first == f"{name} ended with status 7: 1 process, 2 messages, 1 exchange"
    assert second == f"1 case in {RECORDED}: 1 new"
    assert last == "nothing found"

    (path,) = saved()
    case = corpus.read(path)
    assert case.name.endswith("-rights2-cap24")
    assert case.steps == (
        Open(),
        Send("a", "00" * 8, (NamedRights(("pipe-read", "pipe-write")),)),
        Receive("b", 100, 24),
    )
    assert case.source.startswith(f"{name} | Recorded by ancfuzz ")
    assert case.source.count(" | ") == 3
    assert run("replay", str(RECORDED)).returncode == 0
    assert Path(".ancfuzz/.gitignore").read_text("utf-8") == "*\n"


def test_nothing_is_written_over(run: Run) -> None:
    run("record", "--output", "kept", *python(PASSES))
    (path,) = saved(Path("kept"))
    before = path.read_bytes()
    longer = PASSES.replace("a secret", "another secret")
    done = run("record", "--output", "kept", *python(longer))
    assert "1 case in kept: 0 new, 1 there before" in done.stderr
    assert (saved(Path("kept")), path.read_bytes()) == ([path], before)

    different = PASSES.replace("os.pipe()", "[os.memfd_create('') for _ in '12']")
    done = run("record", "--output", "kept", *python(different))
    assert "1 case in kept: 1 new" in done.stderr
    other = path.with_name(path.name.replace("-cap24", "-cap24-2"))
    assert saved(Path("kept")) == [other, path]
    assert corpus.read(other).name == other.name.removesuffix(corpus.SUFFIX)
    assert path.read_bytes() == before

    path.write_text("not a case", encoding="utf-8")
    run("record", "--output", "kept", *python(PASSES))
    assert path.read_text("utf-8") == "not a case"
    assert len(saved(Path("kept"))) == 3


def test_payloads_are_kept_only_if_asked_for(run: Run) -> None:
    arguments = "record", "--payloads", "--json", "report.json"
    run(*arguments, *python(PASSES))
    secret = b"a secret".hex()
    assert secret in saved()[0].read_text("utf-8")
    assert secret in Path("report.json").read_text("utf-8")
    run("record", "--output", "b", "--json", "report.json", *python(PASSES))
    assert secret not in saved(Path("b"))[0].read_text("utf-8")
    assert secret not in Path("report.json").read_text("utf-8")


def test_the_report_holds_cases_transcripts_and_verdicts(run: Run) -> None:
    done = run("record", "--json", "-", *python("import sys; sys.exit(3)\n"))
    assert done.returncode == 3
    assert json.loads(done.stdout)["recording"]["status"] == 3
    run("record", "--json", "report.json", *python(PASSES))
    told = json.loads(Path("report.json").read_bytes())
    assert told["ok"]
    assert told["judged"]["phase"] == {"recorded": 1}
    assert told["judged"]["family"].keys() >= {"FD", "TRUNC", "ERR"}
    recording = told["recording"]
    assert (recording["messages"], recording["matched"]) == (2, 1)
    assert recording["saved"] == [str(saved()[0])]
    (exchange,) = recording["exchanges"]
    assert exchange["violations"] == []
    answers = [one["answer"] for one in exchange["transcript"]["answers"]]
    assert answers == ["done", "sent", "got"]


def test_an_option_behind_the_program_is_its_own(run: Run) -> None:
    program = "import sys\nprint(sys.argv[1:])"
    done = run("record", *python(program)[1:], "--output", "x", "--", "-h")
    assert done.stdout == "['--output', 'x', '--', '-h']\n"


def test_descriptors_that_were_inherited_are_the_programs(run: Run) -> None:
    program = python("import os; print(os.read(9, 5), os.get_inheritable(9))")
    done = run("record", *program, redirection="9<two-messages.anc.json")
    assert done.stdout == "b'{\\n  \"' True\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_stay_closed(run: Run, closed: str) -> None:
    done = run(
        "record",
        *python("""
        import os
        for number in (0, 1, 2):
            try: os.fstat(number)
            except OSError: open(f"closed{number}", "w").close()
        """),
        redirection=closed,
    )
    assert done.returncode == 3
    names = {"<": "0", ">": "1", "2": "2"}
    expected = {names[word[0]] for word in closed.split()}
    assert {path.name[-1] for path in Path().glob("closed*")} == expected
    assert (SILENCE in done.stderr) == ("2>" not in closed)


# -- what is judged ------------------------------------------------------------------

# A library between the program and the kernel, which does not tell of truncation.
SILENCER = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/socket.h>
ssize_t recvmsg(int fd, struct msghdr *m, int flags) {
    ssize_t (*real)(int, struct msghdr *, int) = dlsym(RTLD_NEXT, "recvmsg");
    ssize_t got = real(fd, m, flags);
    m->msg_flags &= ~MSG_CTRUNC;
    return got;
}
"""
CUT = PASSES.replace("CMSG_SPACE(8)", "CMSG_LEN(4)").replace("os.pipe()", "(0, 1, 2)")


def preloaded(library: str, command: tuple[str, ...]) -> tuple[str, ...]:
    """A command behind a library of its own, which ancfuzz is not behind."""
    script = f'LD_PRELOAD="$LD_PRELOAD:{library}" exec "$@"'
    return ("--", "/bin/sh", "-c", script, "sh", *command[1:])


def test_what_breaks_a_rule_is_found_and_judged_again(run: Run, folder: Path) -> None:
    assert run("record", "--output", "good", *python(CUT)).returncode == 0
    library = compiled(SILENCER, folder, "-shared", "-fPIC", "-ldl")
    faulty = preloaded(library, python(CUT))
    done = run("record", "--json", "j", *faulty)
    assert done.returncode == 1
    assert "performed by the reference here it is not broken" in " ".join(
        done.stderr.split()
    )
    told = json.loads(Path("j").read_bytes())
    assert told["recording"]["exchanges"][0]["violations"]
    first, second = told["violations"]
    assert (first["invariant"], second["invariant"]) == ("TRUNC.flag", "TRUNC.flags")
    assert (first["phase"], first["reproducible"]) == ("recorded", False)

    case, transcript = saved(FINDINGS)[:2]
    assert transcript.name == case.name.replace(".anc.", ".transcript.")
    name, *words = shlex.split(done.stderr.splitlines()[-1])
    assert name == "ancfuzz"
    assert words == ["run", str(case), "--transcript", str(transcript)]
    again = run(*words)
    assert again.returncode == 1
    assert "TRUNC.flag (kernel)" in again.stdout
    assert shlex.split(again.stdout.splitlines()[-1]) == ["ancfuzz", *words]
    # And it is what it says: performed here it is not broken.
    assert run("run", str(case), "-i", "reference").returncode == 0
    assert json.loads(run(*words, "--json").stdout)["performances"][0]["violations"]

    # Where no file can be written, the command carries it all.
    done = run("record", "--findings", "j", *faulty)
    assert "j: cannot be written: File exists" in done.stderr
    _, *words = shlex.split(done.stderr.splitlines()[-1])
    assert run(*words).returncode == 1


def test_what_breaks_here_as_well_is_not_blamed_on_others(
    run: Run, folder: Path
) -> None:
    library = compiled(SILENCER, folder, "-shared", "-fPIC", "-ldl")
    # Now the reference is behind it as well.
    done = run("record", "--json", "j", *python(CUT), LD_PRELOAD=library)
    assert done.returncode == 1
    told = json.loads(Path("j").read_bytes())["violations"]
    assert [one["reproducible"] for one in told] == [True, True]
    assert "by the reference" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--transcript", "none"), "none: cannot be read: No such file"),
        (("--transcript", "{"), "TRANSCRIPT: "),
        (("--transcript", '{"answers": [{"answer": "x"}]}'), "answers[0]"),
        (("--transcript", "/dev/null"), "not a regular file"),
        (
            ("--transcript", json.dumps({"answers": [{"answer": "done"}] * 9})),
            "9 answers to 3 steps: the transcript is not of that case",
        ),
        (("--transcript", '{"answers": []}', "-i", "cpython"), "performs nothing"),
    ],
)
def test_a_transcript_that_cannot_be_is_a_usage_error(
    run: Run, arguments: tuple[str, ...], said: str
) -> None:
    done = run("run", "passes-two.anc.json", *arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_nothing_answered_is_nothing_judged(run: Run) -> None:
    done = run("run", "passes-two.anc.json", "--transcript", '{"answers": []}')
    assert done.returncode == 3


# -- what cannot be recorded ---------------------------------------------------------


def test_a_static_program(run: Run, folder: Path) -> None:
    program = compiled("int main(void) { return 4; }", folder, "-static")
    done = run("record", "--", program)
    assert done.returncode == 3
    assert done.stderr.splitlines() == [
        "program ended with status 4: 0 processes, 0 messages, 0 exchanges",
        f"{program}: made no log: it is linked statically",
        SILENCE,
        "nothing could be judged",
    ]
    assert not RECORDED.parent.exists()

    Path("script").write_text(f"#!{program}\n", encoding="utf-8")
    Path("script").chmod(0o755)
    done = run("record", "./script")
    assert done.returncode == 3
    assert "./script: made no log: it is linked statically" in done.stderr


def test_a_static_program_in_a_chain_is_said_and_ended(run: Run, folder: Path) -> None:
    source = '#include <unistd.h>\nint main(void) { write(1, "x", 1); pause(); }'
    program = compiled(source, folder, "-static")
    chain = (
        PASSES
        + f"""
import subprocess, time
child = subprocess.Popen([{program!r}], stdout=subprocess.PIPE)
child.stdout.read(1)
open("pid", "w").write(str(child.pid))
time.sleep(600)
"""
    )
    done = run("record", "--time", "2", *python(chain.replace("sys.exit", "int")))
    assert done.returncode == 0
    assert f"{program}: made no log: it is linked statically" in done.stderr
    assert "stopped after 2 seconds" in done.stderr
    assert len(saved()) == 1
    assert not is_running(int(Path("pid").read_text("ascii")))


def test_a_child_that_lost_its_environment_is_said(run: Run) -> None:
    program = """
        import subprocess, sys
        subprocess.run([sys.executable, "-ISc", "import time; time.sleep(1)"], env={})
    """
    done = run("record", *python(program))
    assert "made no log: somebody took LD_PRELOAD out of its environ" in done.stderr


# elf(5): 32 bits, exit(6) by the system call of i386.
CODE = bytes.fromhex("b801000000 bb06000000 cd80")
I386 = (
    b"\x7fELF\x01\x01\x01".ljust(16, b"\0")
    + struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, 0x8054, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    + struct.pack("<8I", 1, 0, 0x8000, 0x8000, 96, 96, 5, 4096)
    + CODE
)


def test_a_program_of_another_architecture(run: Run, folder: Path) -> None:
    program = folder / "other"
    program.write_bytes(I386)
    program.chmod(0o755)
    done = run("record", "--", str(program))
    said = "it is of another architecture than the recorder"
    # Either this kernel runs it, or it does not.
    assert (done.returncode, f"Exec format error: {said}" in done.stderr) in {
        (3, False),
        (2, True),
    }
    assert said in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make such a program")
def test_a_set_user_id_program(run: Run, folder: Path) -> None:
    program = compiled("int main(void) { return 0; }", folder)
    os.chown(program, 65534, 65534)
    Path(program).chmod(0o4755)
    done = run("record", "--", program)
    assert done.returncode == 3
    assert "made no log: it runs with more rights than its caller" in done.stderr


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("nonsuch",), "nonsuch cannot be started: No such file or directory"),
        (("./sown.py",), "./sown.py cannot be started: Permission denied"),
        (("/",), "/ cannot be started: Permission denied"),
        (("./text",), "./text cannot be started: Exec format error: it is not an ELF"),
    ],
)
def test_what_cannot_be_started(run: Run, command: tuple[str, ...], said: str) -> None:
    Path("text").write_text("hello", encoding="utf-8")
    Path("text").chmod(0o755)
    done = run("record", "--json", "report.json", "--", *command)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"ancfuzz: {said}")
    assert not RECORDED.parent.exists()
    assert not Path("report.json").exists()


@pytest.mark.parametrize("arguments", [(), ("--",), ("--time", "5")])
def test_a_command_is_needed(run: Run, arguments: tuple[str, ...]) -> None:
    done = run("record", *arguments)
    assert done.returncode == 2
    assert "Missing argument '[--] COMMAND...'" in done.stderr


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"CC": "false"}, "ended with status 1"),
        ({"PATH": "/nowhere"}, "needs a C compiler and found none"),
        ({"CC": "cc -include /no/such"}, "did not compile"),
        ({"CC": "cc -g", "XDG_CACHE_HOME": "/dev/null"}, "cannot write its cache"),
        ({"TMPDIR": "/no/where"}, "in /no/where: No such file or directory; name"),
        ({"TMPDIR": "/dev/null"}, "in /dev/null: Not a directory; name another"),
        ({"TMPDIR": "SPACED"}, "LD_PRELOAD has no way to name it"),
    ],
    ids=str,
)
def test_a_recorder_that_cannot_be_made(
    run: Run, folder: Path, environment: dict[str, str], said: str
) -> None:
    spaced = folder / "a b"
    spaced.mkdir()
    environment = {
        name: value.replace("SPACED", str(spaced))
        for name, value in environment.items()
    }
    done = run("record", *python("open('ran', 'w')"), **environment)
    assert (done.returncode, done.stdout) == (3, "")
    (line,) = done.stderr.splitlines()
    assert said in line
    assert line.endswith("; nothing was run")
    assert not Path("ran").exists()
    assert not list(spaced.iterdir())


def test_an_output_that_cannot_be_written(run: Run) -> None:
    Path("loop").symlink_to("loop")
    for output, said in (
        ("sown.py", "File exists"),
        ("sown.py/x", "Not a directory"),
        ("loop", "File exists"),
        ("loop/x", "Too many levels of symbolic links"),
        ("x" * 300, "File name too long"),
    ):
        done = run("record", "--output", output, *python("open('ran', 'w')"))
        assert done.returncode == 2
        assert done.stderr == f"ancfuzz: {output}: cannot be written: {said}\n"
    assert not Path("ran").exists()
