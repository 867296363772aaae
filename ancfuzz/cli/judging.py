"""The commands that judge: check, replay and run, as their users see them.

Here are options and help, and nothing else: each command hands its options to
``session``, which is imported when the command runs and not before.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from ancfuzz.cli.status import Verdict

__all__ = ["DEFAULT_FINDINGS", "check", "replay", "run", "seconds_above_zero"]

_Command = TypeVar("_Command", bound="Callable[..., Any]")

DEFAULT_IMPLEMENTATIONS = ("reference", "cpython")
DEFAULT_FINDINGS = ".ancfuzz/findings"


def seconds_above_zero(text: str) -> float:
    """A finite number of seconds above zero, as click converts an option."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise click.BadParameter(f"{text!r} is not a number of seconds above 0.")
    return seconds


def _implementations(command: _Command) -> _Command:
    return click.option(
        "--implementation",
        "-i",
        "names",
        metavar="NAME",
        multiple=True,
        default=DEFAULT_IMPLEMENTATIONS,
        help="What to judge: reference, cpython or MODULE:ATTR, where ATTR is an "
        "instance, a subclass or a callable without arguments.  Repeatable.  "
        f"[default: {' and '.join(DEFAULT_IMPLEMENTATIONS)}]",
    )(command)


def _judging_options(command: _Command) -> _Command:
    """The options that check and replay share."""
    for option in (
        click.option(
            "--findings",
            metavar="DIR",
            default=DEFAULT_FINDINGS,
            show_default=True,
            help="Where to save the case of each finding.",
        ),
        click.option(
            "--junit",
            metavar="FILE",
            help="Write a JUnit XML report; - is standard output.",
        ),
        click.option(
            "--json",
            "json_file",
            metavar="FILE",
            help="Write the report as JSON; - is standard output.",
        ),
        click.option(
            "--exclude-invariant",
            "exclude",
            metavar="PATTERN",
            multiple=True,
            help="Leave these invariants out.  Repeatable.",
        ),
        click.option(
            "--invariant",
            "invariants",
            metavar="PATTERN",
            multiple=True,
            help="Judge these invariants only: FAMILY, FAMILY.NAME, or a pattern with "
            "* in it.  Repeatable.",
        ),
        _implementations,
    ):
        command = option(command)
    return command


@click.command()
@_judging_options
@click.option(
    "--time",
    "seconds",
    metavar="SECONDS",
    type=seconds_above_zero,
    help="Wall time for each implementation; shrinking included.  [default: 20, or "
    "without bound if --cases is given]",
)
@click.option(
    "--cases",
    metavar="N",
    type=click.IntRange(min=1),
    help="Stop after so many cases.  The same seed and count give the same result.",
)
@click.option(
    "--seed",
    metavar="N",
    type=click.IntRange(min=0, max=2**64 - 1),
    help="Draw the same cases again.  [default: a new one]",
)
@click.option(
    "--max-findings",
    metavar="N",
    type=click.IntRange(min=1),
    help="Stop after so many findings.",
)
@click.pass_obj
def check(verdict: Verdict, /, **options: Any) -> None:
    """Judge implementations: the main job.

    Replays the shipped corpus, sweeps the boundaries and draws cases at random,
    interleaved in an order that the seed decides.  Everything is performed over real
    sockets, and judged by what the kernel's rules and the implementation's own promises
    say.

    The last line of a run that found something is the one command that shows the first
    finding again.
    """
    from ancfuzz.cli import session

    session.check(verdict, session.CheckOptions(**options))


@click.command()
@click.argument("paths", metavar="[PATH]...", nargs=-1)
@_judging_options
@click.pass_obj
def replay(
    verdict: Verdict,
    /,
    paths: tuple[str, ...],
    **options: Any,
) -> None:
    """Judge implementations on a corpus, without fuzzing.

    PATH is a case file, or a folder with case files (*.anc.json) in it or below it;
    the shipped corpus by default.  A file that is not a case is told in one line, and
    the others are still replayed.
    """
    from ancfuzz.cli import session

    session.replay(verdict, paths, session.Options(**options))


@click.command()
@click.argument("case", metavar="CASE")
@_implementations
@click.option(
    "--transcript",
    metavar="FILE",
    help="Judge what was answered elsewhere, as `record` saves it; perform nothing.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
@click.pass_context
def run(
    context: click.Context,
    /,
    case: str,
    names: tuple[str, ...],
    transcript: str | None,
    *,
    as_json: bool,
) -> None:
    """Perform one case: accepted and observed, step by step.

    CASE is a file, - for standard input, or the JSON itself.  The case is performed for
    each end of the sockets that the implementation can hold.
    """
    from ancfuzz.cli import single

    if transcript is not None:
        if context.get_parameter_source("names") is not ParameterSource.DEFAULT:
            raise click.UsageError(
                "--transcript performs nothing: no --implementation."
            )
        single.judge(context.obj, case, transcript, as_json=as_json)
        return
    single.run(context.obj, case, names, as_json=as_json)
