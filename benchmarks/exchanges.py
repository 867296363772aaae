"""How many random exchanges are performed and judged, per CPU second.

    python benchmarks/exchanges.py [CASES]

Exchanges of up to five descriptors, drawn before the clock starts: on the reference, in
this process; and on CPython's sockets, through a worker, per wall second, which is what
somebody else's implementation gets.  The best of four rounds; figures of one machine in
one hour, to be compared with nothing but each other.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from ancfuzz.case import Case, NamedRights, Send
from ancfuzz.choices import SeededChoices
from ancfuzz.grammar import draw_exchange
from ancfuzz.implementations import resolve
from ancfuzz.judging import Judge

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST = 5


def few_descriptors(case: Case) -> bool:
    """Whether a case sends at most five descriptors in all."""
    sent = sum(
        len(message.names())
        for step in case.steps
        if isinstance(step, Send)
        for message in step.messages
        if isinstance(message, NamedRights)
    )
    return sent <= _MOST


def draw(count: int) -> list[Case]:
    """So many exchanges, the same every time."""
    choices = SeededChoices(3)
    cases: list[Case] = []
    while len(cases) < count:
        case = draw_exchange(choices)
        if few_descriptors(case):
            cases.append(case)
    return cases


def rate(judge: Judge, cases: list[Case], clock: Callable[[], float]) -> float:
    """Performances per second of a clock, the best of four rounds."""
    best = 0.0
    for _ in range(4):
        count, start = 0, clock()
        for case in cases:
            for end in judge.ends(case):
                judge.perform(case, end)
                count += 1
        best = max(best, count / (clock() - start))
    return best


def main() -> None:
    """Print the rates."""
    cases = draw(int(sys.argv[1]) if len(sys.argv) > 1 else 5000)
    with Judge(resolve("reference")) as judge:
        figure = rate(judge, cases, time.process_time)
    sys.stdout.write(f"reference, in this process: {figure:,.0f} per CPU second\n")
    stranger = resolve("cpython")._replace(trusted=False)
    with Judge(stranger) as judge:
        figure = rate(judge, cases[: len(cases) // 4], time.perf_counter)
    sys.stdout.write(f"cpython, through a worker: {figure:,.0f} per second\n")


if __name__ == "__main__":
    main()
