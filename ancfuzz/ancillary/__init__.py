"""Control messages to send and as they came: Rust's ``SocketAncillary``, in Python.

The shape, the arithmetic and the results are those of Rust's standard library (feature
``unix_socket_ancillary_data``), and what is wrong there is right here: docs/seed.md has
the list.  The largest difference is that somebody owns what arrives.

:mod:`~ancfuzz.ancillary.buffer` has the buffer, with the account of what it owns;
:mod:`~ancfuzz.ancillary.items` the values that it is read as;
:mod:`~ancfuzz.ancillary.credentials` who a process is.

This room must not know which kind of socket the messages go over (``sockets``), nor
what ought to arrive.
"""

from __future__ import annotations

from ancfuzz.ancillary.buffer import SocketAncillary
from ancfuzz.ancillary.credentials import SocketCred
from ancfuzz.ancillary.items import Item, ScmCredentials, ScmRights, UnknownMessage

__all__ = [
    "Item",
    "ScmCredentials",
    "ScmRights",
    "SocketAncillary",
    "SocketCred",
    "UnknownMessage",
]
