"""What ancfuzz wants to reach, as a table, and whether it did.

Nothing fails by these: a figure of a shared machine is no assertion.  A run says for
each what was found, and leaves it to the reader.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from coding import OURS, SHAPES
from exchanges import COLUMN as EXCHANGES
from exchanges import REFERENCE
from native import CLOSE_EACH
from pairing import Cell, Estimate, difference, rate, ratio
from rivals import BARE, PAYLOADS, TUNED, label
from startup import BARE as BARE_PYTHON
from startup import COLUMN as CPU
from trips import AGAINST, KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pairing import Table


class Target(NamedTuple):
    """Something to reach.

    Attributes:
        table: the table that shows it.
        columns: where it is to be reached.
        row: whose figures.
        against: compared with whose; "" where it is a rate.
        sense: from which side.
        bound: as the table shows things: a ratio, milliseconds more, or a rate.
    """

    table: str
    columns: tuple[str, ...]
    row: str
    against: str
    sense: Literal["at most", "at least"]
    bound: float


_FEW, _MANY = ("0", "1", "8"), ("64", "253")
_ENDED_BY_WITH = ("ours, with", "ours, with, unread")

TARGETS = (
    *(
        Target("decode", shapes, ours, bare.name, "at most", bound)
        for shapes, bound in ((("1x1", "1x8"), 1.6), (("1x253", "10x1", "100x1"), 1.0))
        for bare in (BARE, TUNED)
        for ours in OURS
    ),
    *(
        Target("decode", tuple(SHAPES), label(who, payload), "ancfuzz", "at least", 20)
        for payload in PAYLOADS
        for who in ("construct", "dissect.cstruct", "scapy")
    ),
    *(
        Target(kind, _FEW, ours, AGAINST, "at most", 1.6)
        for kind in KINDS
        for ours in (*_ENDED_BY_WITH, "ours, take_fds, close()")
    ),
    *(
        Target(kind, _MANY, ours, AGAINST, "at most", 1.0)
        for kind in KINDS
        for ours in _ENDED_BY_WITH
    ),
    *(
        Target(kind, ("253",), ours, CLOSE_EACH, "at most", 1.0)
        for kind in KINDS
        for ours in _ENDED_BY_WITH
    ),
    Target("exchanges", (EXCHANGES,), REFERENCE, "", "at least", 8000),
    Target("startup", (CPU,), "import ancfuzz", BARE_PYTHON, "at most", 25),
)


class Outcome(NamedTuple):
    """A target, and what was found in each of its columns; none if it was not measured.

    Attributes:
        target: what was to be reached.
        found: the figure of each column.
    """

    target: Target
    found: dict[str, Estimate]

    def reached_in(self, column: str) -> bool:
        """Whether the target is reached in a column."""
        median = self.found[column].median
        if self.target.sense == "at most":
            return median <= self.target.bound
        return median >= self.target.bound

    @property
    def reached(self) -> bool | None:
        """Whether it is in all of them; None if it was not measured."""
        return all(map(self.reached_in, self.found)) if self.found else None


def outcomes(tables: Sequence[Table]) -> list[Outcome]:
    """What became of each target that these tables are concerned with."""
    by_name = {table.name: table for table in tables}
    return [
        Outcome(target, _found(target, by_name[target.table]))
        for target in TARGETS
        if target.table in by_name
    ]


def _found(target: Target, table: Table) -> dict[str, Estimate]:
    mine = table.rows.get(target.row)
    theirs = table.rows.get(target.against, {})
    if mine is None or bool(target.against) != bool(theirs):
        return {}
    measure = {"ratio": ratio, "difference": difference, "rate": rate}[table.shown]
    return {
        column: measure(
            Cell(mine[column].samples, theirs[column].samples if theirs else ())
        )
        for column in target.columns
    }
