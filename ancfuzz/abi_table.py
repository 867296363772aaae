"""What the headers of 65 targets say, as tables.

Each row names a target and picks one of six layouts, one set of constants and one byte
order; nothing about a target is said twice.  The values were read by compiling a probe
against the target's real headers; the provenance of every row says with which compiler.

Two things are no header's and are marked so where they stand: constants of the Linux
kernel that older libcs do not name yet (``SCM_PIDFD``), and the most descriptors in one
message, which is read from kernel sources.

This room holds values and picks among them.  What they mean is ``abi``'s business.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Layout(NamedTuple):
    """``struct cmsghdr``, in bytes; the fields are those of :class:`ancfuzz.Abi`."""

    header_size: int
    length_offset: int
    length_size: int
    level_offset: int
    type_offset: int
    alignment: int
    data_offset: int


LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        # size_t cmsg_len; the kernel's own struct
        "lp64": Layout(16, 0, 8, 8, 12, 8, 16),
        "ilp32": Layout(12, 0, 4, 4, 8, 4, 12),
        # socklen_t cmsg_len beside four bytes of padding, so that both make a size_t
        "musl64le": Layout(16, 0, 4, 8, 12, 8, 16),
        "musl64be": Layout(16, 4, 4, 8, 12, 8, 16),
        # socklen_t cmsg_len, and an alignment of the CPU's own
        "bsd8": Layout(12, 0, 4, 4, 8, 8, 16),
        "bsd16": Layout(12, 0, 4, 4, 8, 16, 16),
    }
)

_ZIG = "headers bundled with ziglang 0.17.0, compiled"
_GCC = "headers of Debian 12, compiled with its gcc"
_GCC32 = f"{_GCC} -m32"
_GCCX32 = f"{_GCC} -mx32"
_MUSL_GCC = "headers of Debian 12, compiled with its musl-gcc"


class Row(NamedTuple):
    """One target: names into the other tables of this module."""

    target: str
    layout: str
    byte_order: Literal["little", "big"]
    os: Literal["linux", "freebsd", "netbsd", "openbsd", "macos"]
    variant: str
    provenance: str = _ZIG


ROWS: tuple[Row, ...] = (
    Row("x86_64-linux-gnu", "lp64", "little", "linux", "generic"),
    Row("x86-linux-gnu", "ilp32", "little", "linux", "generic"),
    Row("x86_64-linux-gnux32", "ilp32", "little", "linux", "x32"),
    Row("aarch64-linux-gnu", "lp64", "little", "linux", "generic"),
    Row("aarch64_be-linux-gnu", "lp64", "big", "linux", "generic"),
    Row("arm-linux-gnueabihf", "ilp32", "little", "linux", "generic"),
    Row("armeb-linux-gnueabi", "ilp32", "big", "linux", "generic"),
    Row("riscv64-linux-gnu", "lp64", "little", "linux", "generic"),
    Row("riscv32-linux-gnu", "ilp32", "little", "linux", "time64"),
    Row("s390x-linux-gnu", "lp64", "big", "linux", "generic"),
    Row("powerpc64le-linux-gnu", "lp64", "little", "linux", "powerpc"),
    Row("mips-linux-gnueabihf", "ilp32", "big", "linux", "mips"),
    Row("mipsel-linux-gnueabihf", "ilp32", "little", "linux", "mips"),
    Row("mips64-linux-gnuabi64", "lp64", "big", "linux", "mips"),
    Row("mips64-linux-gnuabin32", "ilp32", "big", "linux", "mips"),
    Row("mips64el-linux-gnuabi64", "lp64", "little", "linux", "mips"),
    Row("sparc64-linux-gnu", "lp64", "big", "linux", "sparc64"),
    Row("sparc-linux-gnu", "ilp32", "big", "linux", "sparc"),
    Row("loongarch64-linux-gnu", "lp64", "little", "linux", "generic"),
    Row("x86_64-linux-musl", "musl64le", "little", "linux", "generic"),
    Row("x86-linux-musl", "ilp32", "little", "linux", "time64"),
    Row("x86_64-linux-muslx32", "ilp32", "little", "linux", "x32"),
    Row("aarch64-linux-musl", "musl64le", "little", "linux", "generic"),
    Row("aarch64_be-linux-musl", "musl64be", "big", "linux", "generic"),
    Row("arm-linux-musleabihf", "ilp32", "little", "linux", "time64"),
    Row("armeb-linux-musleabi", "ilp32", "big", "linux", "time64"),
    Row("riscv64-linux-musl", "musl64le", "little", "linux", "generic"),
    Row("riscv32-linux-musl", "ilp32", "little", "linux", "time64"),
    Row("s390x-linux-musl", "musl64be", "big", "linux", "generic"),
    # Big-endian by experiment: so says the compiler, and a header that it wrote.
    Row("powerpc-linux-musleabihf", "ilp32", "big", "linux", "powerpc-time64"),
    Row("powerpc64-linux-musl", "musl64be", "big", "linux", "powerpc"),
    Row("powerpc64le-linux-musl", "musl64le", "little", "linux", "powerpc"),
    Row("mips-linux-musleabihf", "ilp32", "big", "linux", "mips-time64"),
    Row("mipsel-linux-musleabihf", "ilp32", "little", "linux", "mips-time64"),
    Row("mips64-linux-muslabi64", "musl64be", "big", "linux", "mips"),
    Row("mips64-linux-muslabin32", "ilp32", "big", "linux", "mips-time64"),
    Row("loongarch64-linux-musl", "musl64le", "little", "linux", "generic"),
    Row("x86_64-freebsd-none", "bsd8", "little", "freebsd", "generic"),
    Row("aarch64-freebsd-none", "bsd8", "little", "freebsd", "generic"),
    Row("x86-freebsd-none", "ilp32", "little", "freebsd", "generic"),
    Row("arm-freebsd-eabihf", "ilp32", "little", "freebsd", "generic"),
    Row("powerpc64-freebsd-none", "bsd8", "big", "freebsd", "generic"),
    Row("powerpc64le-freebsd-none", "bsd8", "little", "freebsd", "generic"),
    Row("riscv64-freebsd-none", "bsd8", "little", "freebsd", "generic"),
    Row("x86_64-netbsd-none", "bsd8", "little", "netbsd", "generic"),
    Row("aarch64-netbsd-none", "bsd16", "little", "netbsd", "generic"),
    Row("aarch64_be-netbsd-none", "bsd16", "big", "netbsd", "generic"),
    Row("x86-netbsd-none", "ilp32", "little", "netbsd", "generic"),
    Row("arm-netbsd-eabihf", "bsd8", "little", "netbsd", "generic"),
    Row("sparc64-netbsd-none", "bsd16", "big", "netbsd", "generic"),
    Row("mips-netbsd-eabihf", "bsd8", "big", "netbsd", "generic"),
    Row("powerpc-netbsd-eabihf", "bsd8", "big", "netbsd", "generic"),
    Row("x86_64-openbsd-none", "bsd8", "little", "openbsd", "generic"),
    Row("aarch64-openbsd-none", "bsd8", "little", "openbsd", "generic"),
    Row("x86-openbsd-none", "ilp32", "little", "openbsd", "generic"),
    Row("arm-openbsd-eabi", "bsd8", "little", "openbsd", "generic"),
    Row("sparc64-openbsd-none", "bsd16", "big", "openbsd", "generic"),
    Row("mips64-openbsd-none", "bsd8", "big", "openbsd", "generic"),
    Row("powerpc-openbsd-eabihf", "bsd8", "big", "openbsd", "generic"),
    Row("x86_64-macos-none", "ilp32", "little", "macos", "generic"),
    Row("aarch64-macos-none", "ilp32", "little", "macos", "generic"),
    Row("native gcc x86_64-linux-gnu", "lp64", "little", "linux", "generic", _GCC),
    Row(
        "native gcc -m32 i386-linux-gnu", "ilp32", "little", "linux", "generic", _GCC32
    ),
    Row("native gcc -mx32", "ilp32", "little", "linux", "x32", _GCCX32),
    Row("musl-gcc x86_64", "musl64le", "little", "linux", "generic", _MUSL_GCC),
)

_LINUX: Mapping[str, int] = MappingProxyType(
    {
        "AF_UNIX": 1,
        "SOCK_STREAM": 1,
        "SOCK_DGRAM": 2,
        "SOCK_SEQPACKET": 5,
        "SOL_SOCKET": 1,
        "SCM_RIGHTS": 1,
        "SCM_CREDENTIALS": 2,
        # From here to SCM_INQ: uapi.  No musl and no glibc of Debian 12 names them; the
        # kernel delivers them all the same.
        "SCM_SECURITY": 3,
        "SCM_PIDFD": 4,
        "SO_PASSPIDFD": 76,
        "SO_PASSRIGHTS": 83,
        "SO_INQ": 84,
        "SCM_INQ": 84,
        "SCM_TIMESTAMP": 29,
        "SCM_TIMESTAMPNS": 35,
        "SO_TIMESTAMP": 29,
        "SO_PASSCRED": 16,
        "SO_PASSSEC": 34,
        "SO_PEERCRED": 17,
        "MSG_PEEK": 0x2,
        "MSG_CTRUNC": 0x8,
        "MSG_TRUNC": 0x20,
        "MSG_DONTWAIT": 0x40,
        "MSG_EOR": 0x80,
        "MSG_WAITALL": 0x100,
        "MSG_NOSIGNAL": 0x4000,
        "MSG_CMSG_CLOEXEC": 0x40000000,
    }
)

_BSD: Mapping[str, int] = MappingProxyType(
    {
        "AF_UNIX": 1,
        "SOCK_STREAM": 1,
        "SOCK_DGRAM": 2,
        "SOCK_SEQPACKET": 5,
        "SOL_SOCKET": 0xFFFF,
        "SCM_RIGHTS": 1,
        "MSG_PEEK": 0x2,
        "MSG_EOR": 0x8,
        "MSG_TRUNC": 0x10,
        "MSG_CTRUNC": 0x20,
        "MSG_WAITALL": 0x40,
        "MSG_DONTWAIT": 0x80,
    }
)

_TIME64 = {"SCM_TIMESTAMP": 63, "SCM_TIMESTAMPNS": 64, "SO_TIMESTAMP": 63}
_POWERPC = {"SO_PASSCRED": 20, "SO_PEERCRED": 21}
_MIPS = {
    "SOL_SOCKET": 0xFFFF,
    "SOCK_STREAM": 2,
    "SOCK_DGRAM": 1,
    "SO_PASSCRED": 17,
    "SO_PEERCRED": 18,
}
_SPARC = {
    "SOL_SOCKET": 0xFFFF,
    "SCM_TIMESTAMPNS": 33,
    "SO_PASSCRED": 2,
    "SO_PASSSEC": 31,
    "SO_PEERCRED": 64,
    "SO_PASSPIDFD": 85,
    "SO_PASSRIGHTS": 92,
    "SO_INQ": 93,
    "SCM_INQ": 93,
}

_VARIANTS: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "generic": {},
        "time64": _TIME64,
        "powerpc": _POWERPC,
        "powerpc-time64": _POWERPC | _TIME64,
        "mips": _MIPS,
        "mips-time64": _MIPS | _TIME64,
        "sparc": _SPARC,
        "sparc64": _SPARC,
        "x32": {},
    }
)

_OS_CONSTANTS: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "linux": _LINUX,
        "freebsd": {
            **_BSD,
            "SCM_TIMESTAMP": 2,
            "SCM_CREDS": 3,
            "SCM_BINTIME": 4,
            "SCM_REALTIME": 5,
            "SCM_MONOTONIC": 6,
            "SCM_TIME_INFO": 7,
            "SCM_CREDS2": 8,
            "SO_TIMESTAMP": 0x400,
            "SOL_LOCAL": 0,
            "LOCAL_PEERCRED": 1,
            "LOCAL_CREDS": 2,
            "LOCAL_CREDS_PERSISTENT": 3,
            "MSG_NOSIGNAL": 0x20000,
            "MSG_CMSG_CLOEXEC": 0x40000,
            "MSG_CMSG_CLOFORK": 0x400000,
            "CMGROUP_MAX": 16,
        },
        "netbsd": {
            **_BSD,
            "SCM_TIMESTAMP": 8,
            "SCM_CREDS": 16,
            "SO_TIMESTAMP": 0x2000,
            "SOL_LOCAL": 0,
            "LOCAL_CONNWAIT": 2,
            "LOCAL_PEEREID": 3,
            "LOCAL_CREDS": 4,
            "MSG_NOSIGNAL": 0x400,
            "MSG_CMSG_CLOEXEC": 0x800,
            "MSG_CMSG_CLOFORK": 0x8000,
        },
        "openbsd": {
            **_BSD,
            "SCM_TIMESTAMP": 4,
            "SO_TIMESTAMP": 0x800,
            "SO_PEERCRED": 0x1022,
            "MSG_NOSIGNAL": 0x400,
            "MSG_CMSG_CLOEXEC": 0x800,
            "MSG_CMSG_CLOFORK": 0x2000,
        },
        "macos": {
            **_BSD,
            "SCM_TIMESTAMP": 2,
            "SCM_CREDS": 3,
            "SCM_TIMESTAMP_MONOTONIC": 4,
            "SO_TIMESTAMP": 0x400,
            "SOL_LOCAL": 0,
            "LOCAL_PEERCRED": 1,
            "LOCAL_PEERPID": 2,
            "LOCAL_PEEREPID": 3,
            "LOCAL_PEERUUID": 4,
            "LOCAL_PEERTOKEN": 6,
            "MSG_NOSIGNAL": 0x80000,
        },
    }
)

# The fixed part of each structure as a struct format; what follows are group ids,
# except in cmsgcred, whose sixteen are part of it.  ``messages`` names the fields.
STRUCTS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "linux": MappingProxyType({"ucred": "iII"}),
        "freebsd": MappingProxyType(
            {"cmsgcred": "iIIIh2x16I", "sockcred": "IIIIi", "sockcred2": "iiIIIIi"}
        ),
        "netbsd": MappingProxyType({"sockcred": "iIIIIi"}),
        "openbsd": MappingProxyType({}),
        "macos": MappingProxyType({}),
    }
)

# What Linux delivers as SCM_TIMESTAMP and SCM_TIMESTAMPNS: two longs, except that x32
# and the option numbers of a time64 libc have 64 bits (net/compat.c, put_cmsg_compat).
# The width is the target's and never the payload's: half of a truncated 16-byte time
# is 8 bytes long.  Left out, for nobody has verified them: sparc64, whose microseconds
# are an int, and every other system.
_INTS = {"timeval": "ii", "timespec": "ii"}
_LONGS = {"timeval": "qq", "timespec": "qq"}
_LAYOUT_TIMES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {"ilp32": _INTS, "lp64": _LONGS, "musl64le": _LONGS, "musl64be": _LONGS}
)
_VARIANT_TIMES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "time64": _LONGS,
        "powerpc-time64": _LONGS,
        "mips-time64": _LONGS,
        "x32": _LONGS,
        "sparc64": {"timespec": "qq"},
    }
)

# SCM_MAX_FD (net/core/scm.c); FreeBSD and OpenBSD turn each int into a pointer, or a
# pointer and flags, and the message has to fit one 2048-byte mbuf cluster
# (uipc_usrreq.c, by reading); XNU has UIPC_MAX_CMSG_FD; NetBSD's was never verified.
_MAX_DESCRIPTORS: Mapping[tuple[str, str], int] = MappingProxyType(
    {
        ("freebsd", "bsd8"): 254,
        ("freebsd", "ilp32"): 508,
        ("openbsd", "bsd8"): 127,
        ("openbsd", "bsd16"): 127,
        ("macos", "ilp32"): 512,
    }
)
_LINUX_MAX_DESCRIPTORS = 253

# What a Linux CPython calls its own target, where that is not the name of a row.
MULTIARCH: Mapping[str, str] = MappingProxyType(
    {
        "i386-linux-gnu": "x86-linux-gnu",
        "i386-linux-musl": "x86-linux-musl",
        "x86_64-linux-gnux32": "x86_64-linux-gnux32",
        "mips64el-linux-gnuabi64": "mips64el-linux-gnuabi64",
        "armv7-linux-musleabihf": "arm-linux-musleabihf",
        "arm-linux-gnueabi": "arm-linux-gnueabihf",
        "arm-linux-musleabi": "arm-linux-musleabihf",
    }
)

# (sys.platform without its digits, machine) elsewhere.
MACHINES: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("darwin", "arm64"): "aarch64-macos-none",
        ("darwin", "x86_64"): "x86_64-macos-none",
        ("freebsd", "amd64"): "x86_64-freebsd-none",
        ("freebsd", "arm64"): "aarch64-freebsd-none",
        ("freebsd", "i386"): "x86-freebsd-none",
        ("netbsd", "amd64"): "x86_64-netbsd-none",
        ("netbsd", "evbarm"): "aarch64-netbsd-none",
        ("openbsd", "amd64"): "x86_64-openbsd-none",
        ("openbsd", "arm64"): "aarch64-openbsd-none",
        ("openbsd", "i386"): "x86-openbsd-none",
    }
)


def constants(row: Row) -> Mapping[str, int]:
    """The constants of a target: its system's, with its CPU's own numbers laid over."""
    return MappingProxyType({**_OS_CONSTANTS[row.os], **_VARIANTS[row.variant]})


def structs(row: Row) -> Mapping[str, str]:
    """The structures of a target's payloads, as formats without byte order."""
    if row.os != "linux":
        return STRUCTS[row.os]
    times = _VARIANT_TIMES.get(row.variant, _LAYOUT_TIMES[row.layout])
    return MappingProxyType({**STRUCTS[row.os], **times})


def max_descriptors(row: Row) -> int | None:
    """Most descriptors in one ``sendmsg``, or None where nobody has verified it."""
    if row.os == "linux":
        return _LINUX_MAX_DESCRIPTORS
    return _MAX_DESCRIPTORS.get((row.os, row.layout))
