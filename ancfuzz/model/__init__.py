"""What the kernel makes of a case: an executable model of AF_UNIX ancillary data.

The model is an acceptor.  Shown a step and what was observed, it answers with what it
accepts there, in the same words.  Where Linux leaves something open (how much of a
large stream write was taken, what a clock said) it takes what was observed and goes on;
everywhere else it knows the one right answer, whatever was observed.

    rules      what decides: one function for each rule, with id and source
    sending    a control buffer on its way in: the S rules
    receiving  control messages on their way out: the R rules
    sockets    two endpoints and what lies in their queues
    acceptor   a case and a transcript in, the accepted transcript out

The model is made of values: it imports nothing of the kernel floor, opens nothing, and
can be run on what was observed on another machine.
"""

from __future__ import annotations

from ancfuzz.model.acceptor import Acceptance, accept
from ancfuzz.model.rules import LINUX, RULES, Rule

__all__ = ["LINUX", "RULES", "Acceptance", "Rule", "accept"]
