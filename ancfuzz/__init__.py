"""ancfuzz: a fuzzer for descriptors and credentials passed over Unix sockets.

The names below are the public face; each is loaded when it is first used (PEP 562), so
that ``import ancfuzz`` costs next to nothing and works on every platform.
"""

from __future__ import annotations

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ancfuzz import abi as abi
    from ancfuzz import corpora as corpora
    from ancfuzz import strategies as strategies
    from ancfuzz.abi import Abi as Abi
    from ancfuzz.ancillary import ScmCredentials as ScmCredentials
    from ancfuzz.ancillary import ScmRights as ScmRights
    from ancfuzz.ancillary import SocketAncillary as SocketAncillary
    from ancfuzz.ancillary import SocketCred as SocketCred
    from ancfuzz.ancillary import UnknownMessage as UnknownMessage
    from ancfuzz.checking import check as check
    from ancfuzz.checking import replay as replay
    from ancfuzz.codec import ControlMessage as ControlMessage
    from ancfuzz.codec import decode as decode
    from ancfuzz.codec import encode as encode
    from ancfuzz.errors import AncfuzzError as AncfuzzError
    from ancfuzz.errors import EnvironmentUnsupported as EnvironmentUnsupported
    from ancfuzz.errors import MalformedControl as MalformedControl
    from ancfuzz.errors import Refused as Refused
    from ancfuzz.errors import Unsupported as Unsupported
    from ancfuzz.errors import UsageError as UsageError
    from ancfuzz.implementation import Implementation as Implementation
    from ancfuzz.implementation import Promise as Promise
    from ancfuzz.implementation import Received as Received
    from ancfuzz.report import Report as Report
    from ancfuzz.report import Violation as Violation
    from ancfuzz.sockets import UnixDatagram as UnixDatagram
    from ancfuzz.sockets import UnixSeqpacket as UnixSeqpacket
    from ancfuzz.sockets import UnixStream as UnixStream

__all__ = [
    "Abi",
    "AncfuzzError",
    "ControlMessage",
    "EnvironmentUnsupported",
    "Implementation",
    "MalformedControl",
    "Promise",
    "Received",
    "Refused",
    "Report",
    "ScmCredentials",
    "ScmRights",
    "SocketAncillary",
    "SocketCred",
    "UnixDatagram",
    "UnixSeqpacket",
    "UnixStream",
    "UnknownMessage",
    "Unsupported",
    "UsageError",
    "Violation",
    "abi",
    "check",
    "corpora",
    "decode",
    "encode",
    "replay",
    "strategies",
]

_ROOMS = {
    "abi": ("Abi",),
    "ancillary": (
        "ScmCredentials",
        "ScmRights",
        "SocketAncillary",
        "SocketCred",
        "UnknownMessage",
    ),
    "checking": ("check", "replay"),
    "codec": ("ControlMessage", "decode", "encode"),
    "errors": (
        "AncfuzzError",
        "EnvironmentUnsupported",
        "MalformedControl",
        "Refused",
        "Unsupported",
        "UsageError",
    ),
    "implementation": ("Implementation", "Promise", "Received"),
    "report": ("Report", "Violation"),
    "sockets": ("UnixDatagram", "UnixSeqpacket", "UnixStream"),
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}
_MODULES = ("abi", "corpora", "strategies")


def __getattr__(name: str) -> object:
    value: object
    if name in _HOME:
        value = getattr(_import_module(f"ancfuzz.{_HOME[name]}"), name)
    elif name in _MODULES:
        value = _import_module(f"ancfuzz.{name}")
    elif name == "__version__":
        value = _version()
    else:
        raise AttributeError(f"module 'ancfuzz' has no attribute {name!r}")
    globals()[name] = value
    return value


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("ancfuzz")
    except PackageNotFoundError:
        return "unknown (a checkout that is not installed)"


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
