"""Recording what real programs pass over Unix sockets.

A program runs with a small C library preloaded (``shim/``), which logs each ``sendmsg``
and ``recvmsg`` on an AF_UNIX socket as the kernel saw it: the control bytes before and
after, both capacities, the socket's options, and what each descriptor is.  The rooms,
in the order of the data:

    build       the C of shim/ -> a shared library in the user's cache
    folder      where the logs go, and that they do not stay
    processes   which processes are ours, and ending them
    run         programs under it, with a deadline -> a folder of logs
    obstacles   why a program made no log
    log         lines of JSON -> calls in the order of time: a Recording
    exchanges   which receive got which send
    symbols     live values -> names
    steps       an exchange -> steps, each with what was answered to it
    cases       a recording -> cases and transcripts, with nothing private in them

This package is of the kernel floor: it runs programs and reads what they did.  What
ought to have happened is for the judge, of the transcripts as they are, or when the
cases are performed again.
"""

from __future__ import annotations

from ancfuzz.recorder.build import build
from ancfuzz.recorder.cases import Recorded, cases, distinct, recorded, shape
from ancfuzz.recorder.exchanges import Exchange, Matching, match
from ancfuzz.recorder.log import (
    Call,
    Descriptor,
    Process,
    ReceiveCall,
    Recording,
    SendCall,
    read_logs,
)
from ancfuzz.recorder.obstacles import obstacle
from ancfuzz.recorder.run import Session, record
from ancfuzz.recorder.steps import concerns_control

__all__ = [
    "Call",
    "Descriptor",
    "Exchange",
    "Matching",
    "Process",
    "ReceiveCall",
    "Recorded",
    "Recording",
    "SendCall",
    "Session",
    "build",
    "cases",
    "concerns_control",
    "distinct",
    "match",
    "obstacle",
    "read_logs",
    "record",
    "recorded",
    "shape",
]
