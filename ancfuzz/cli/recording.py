"""The command that records, as its users see it: options and help, and nothing else.

The work is done in ``capture``, which is imported when the command runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ancfuzz.cli.judging import DEFAULT_FINDINGS, seconds_above_zero

if TYPE_CHECKING:
    from ancfuzz.cli.status import Verdict

__all__ = ["record"]

DEFAULT_OUTPUT = ".ancfuzz/recorded"


# What follows the first word that is no option is the command's own.
@click.command(context_settings={"allow_interspersed_args": False})
@click.argument(
    "command",
    metavar="[--] COMMAND...",
    nargs=-1,
    required=True,
    type=click.UNPROCESSED,
)
@click.option(
    "--output",
    metavar="DIR",
    default=DEFAULT_OUTPUT,
    show_default=True,
    help="Where to save the cases.  What is there stays as it is.",
)
@click.option(
    "--time",
    "seconds",
    metavar="SECONDS",
    type=seconds_above_zero,
    help="End the program and its children after so long; what it leaves running is "
    "recorded until then, too.  [default: until it ends, and 2 seconds for what it "
    "leaves]",
)
@click.option(
    "--payloads",
    is_flag=True,
    help="Keep the bytes that were sent.  By default zeros stand for them: nothing "
    "private is saved.",
)
@click.option(
    "--findings",
    metavar="DIR",
    default=DEFAULT_FINDINGS,
    show_default=True,
    help="Where to save each finding, with what the program saw.",
)
@click.option(
    "--json",
    "json_file",
    metavar="FILE",
    help="Write cases, transcripts and verdicts as JSON; - is standard output, behind "
    "the program's own.",
)
@click.pass_obj
def record(verdict: Verdict, /, **options: Any) -> None:
    """Record what a program passes over Unix sockets, as cases.

    The program runs as ever, its standard streams untouched, with a library preloaded
    that writes down each sendmsg, recvmsg, sendmmsg and recvmmsg on a Unix socket, in
    all its children.  Each exchange is judged as it was, and each that is different
    from all others is saved as a case, for `ancfuzz replay`.  Ctrl-C ends the program
    and keeps what was seen.

    Not seen: programs that are linked statically, set-user-id, or of another
    architecture; calls that do not go through libc (Go, io_uring); bytes that go
    through read, write, send or recv.  A C compiler is needed.

    The program's exit status is told; that of ancfuzz says what was found.
    """
    from ancfuzz.cli import capture

    capture.record(verdict, capture.Options(**options))
