"""The command line: what people and CI see of ancfuzz.

Commands are declared in modules that import click and nothing heavy (``judging``,
``recording``, ``showing``, ``listing``), so that ``--help`` answers at once; what a
command needs is imported when it runs.

    judging       check, replay, run: options and nothing else
    session       check and replay: from names to reports, files, a verdict
    single        run: one case
    recording     record: its options
    capture       record: from a command to cases, a verdict on what it did
    shelf         the folder that recorded cases go to
    showing       show
    listing       abi, invariants, implementations
    inputs        cases and bytes, from arguments, files and standard input
    destinations  --json and --junit files, proven writable before the run
    findings      a file for each finding, and the command that shows it again
    summary       the table and the findings, in words and pictures
    screen        a console that fits the terminal
    progress      a live line on it
    streams       standard output that cannot end a run
    interruption  SIGINT and SIGTERM, in order
    status        the exit status

:func:`main` keeps one promise for all of them: whatever happens, the exit status is
that of the verdict, and an error of the user's is one line and not a traceback.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING

import click

import ancfuzz
from ancfuzz.cli import judging, listing, recording, showing
from ancfuzz.cli.interruption import Interruption
from ancfuzz.cli.status import Status, Verdict, complain
from ancfuzz.cli.streams import guarded
from ancfuzz.errors import EnvironmentUnsupported, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["commands", "main"]

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}  # a limit of the process
_COMPLETION = "_ANCFUZZ_COMPLETE"  # click's variable for a shell that asks


def _print_version(context: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        click.echo(f"ancfuzz {ancfuzz.__version__}")
        context.exit()


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status: 0 nothing found; 1 a violation; 2 usage; 3 nothing that was "
    "asked for could be judged.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def commands() -> None:
    """Fuzz what passes descriptors and credentials over Unix sockets."""


for _command in (
    judging.check,
    judging.replay,
    judging.run,
    recording.record,
    showing.show,
    listing.abi,
    listing.invariants,
    listing.implementations,
):
    commands.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what follows the program's name; ``sys.argv`` by default.

    Returns:
        The exit status.
    """
    if _COMPLETION in os.environ:
        commands.main(prog_name="ancfuzz", complete_var=_COMPLETION)
    verdict = Verdict()
    last = arguments is None
    arguments = sys.argv[1:] if arguments is None else arguments
    with guarded() as (out, _), Interruption(verdict, last=last) as interruption:
        with suppress(KeyboardInterrupt), interruption.armed():
            _run(list(arguments), verdict)
        out.flush()
        if out.error is not None:
            verdict.misuse(f"standard output: {out.error.strerror}: output was lost")
    return verdict.status


def _run(arguments: list[str], verdict: Verdict) -> None:
    # Not commands.main(): that ends with status 1 when nobody reads any more, and 1 is
    # a violation here.
    try:
        with commands.make_context("ancfuzz", arguments, obj=verdict) as context:
            commands.invoke(context)
    except click.exceptions.Exit as end:
        verdict.misused = verdict.misused or end.exit_code == Status.USAGE
    except click.ClickException as error:
        verdict.misused = True
        error.show()
    except UsageError as error:
        verdict.misuse(error)
    except EnvironmentUnsupported as error:
        verdict.asked = True
        complain(str(error))
    except (KeyboardInterrupt, click.Abort):
        verdict.signal = verdict.signal or signal.SIGINT
        complain("interrupted")
    except OSError as error:
        if error.errno not in _EXHAUSTED:
            _tell_defect(verdict)
            return
        verdict.asked = True
        complain(f"{error.strerror}: give this process more of them, see `ulimit`")
    except Exception:  # noqa: BLE001  (told in full, and the status says so)
        _tell_defect(verdict)


def _tell_defect(verdict: Verdict) -> None:
    # Left to Python it would end with status 1, and 1 is a violation.
    verdict.crashed = True
    traceback.print_exc()
    complain("this is a defect in ancfuzz, not a finding: please report it")
