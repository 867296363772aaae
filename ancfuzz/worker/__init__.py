"""Other people's code, in a process of its own that may be lost.

A :class:`Worker` performs cases like a performer does, in a child: the child has the
implementation, the sockets and the descriptor table, which it may shape; the parent has
the clock.  A case that is not answered in time, a child that dies or talks nonsense,
end in a transcript like any other, and the next case gets a new child.

Cases and transcripts go over a socket pair as length-prefixed MessagePack.  The child's
standard output goes to a file of its own and is part of the transcript; its standard
error is kept to be quoted when it dies.  The child dies with its parent.

This room must not know what ought to happen.

    channel  what parent and child say to each other
    process  the child as the parent sees it
    child    what runs in it
    scratch  files without a name
"""

from __future__ import annotations

from ancfuzz.worker.parent import DEADLINE, Worker

__all__ = ["DEADLINE", "Worker"]
