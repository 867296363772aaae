"""A case performed: real sockets, real descriptors, and what came of each step.

    performer  a case from its first step to its end
    stage      what the steps of one case share: sockets, actors, the table's book
    exchanging steps on sockets
    coding     steps on bytes
    answers    what an implementation returned or raised, as an answer

A :class:`Performer` owns a stock of descriptors and performs case after case in its own
process.  For each case it makes a fresh instance of the implementation under test, lets
it hold one end of the pair (the subject's), holds the other itself through the
reference, and writes a transcript.

It takes nobody's word: what a receive installed is counted and asked of the kernel, and
at the end the table has to be as it was (``accounts``).

This room performs and observes.  It must not know what ought to happen.
"""

from __future__ import annotations

from ancfuzz.harness.performer import NO_ROOM, Performer, ends_to_hold

__all__ = ["NO_ROOM", "Performer", "ends_to_hold"]
