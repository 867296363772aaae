"""What is live in a message gets a name, and the layout is kept."""

from __future__ import annotations

import socket
import struct
from typing import Any

import msgspec

from ancfuzz.case import NamedCredentials, NamedRights
from ancfuzz.recorder import Descriptor, SendCall
from ancfuzz.recorder.symbols import (
    control_template,
    descriptor_names,
    sender_ids,
    sent_messages,
)
from tests.recordings import NEEDS

pytestmark = list(NEEDS)


def a_send(control: bytes, *fds: Descriptor, result: int = 1) -> SendCall:
    numbers: dict[str, Any] = dict.fromkeys(SendCall.__struct_fields__, 0)
    said: dict[str, Any] = {
        "name": "sendmsg",
        "pid": 77,
        "has_control": True,
        "capacity": len(control),
        "iovecs": (1,),
        "size": 1,
        "result": result,
        "data": b"x",
        "control": control,
        "fds": fds,
    }
    return SendCall(**(numbers | said))


def test_a_layout_of_its_own_is_kept_and_what_is_live_is_named() -> None:
    def message(kind: int, data: bytes) -> bytes:
        length = socket.CMSG_LEN(len(data))
        return struct.pack("@nii", length, socket.SOL_SOCKET, kind) + data

    one, two = struct.pack("@i", 5), struct.pack("@iII", 77, 0, 0)
    first = message(socket.SCM_RIGHTS, one)
    garbage = b"\xaa" * (socket.CMSG_SPACE(4) - len(first))
    second = message(socket.SCM_CREDENTIALS, two)
    sent = a_send(first + garbage + second, Descriptor(5, mode=0o100600))
    assert control_template(sent, {}) == (
        f"{first[:-4].hex()}{{file}}{'00' * len(garbage)}"
        f"{second[:-12].hex()}{{pid}}{{uid}}{{gid}}"
    )
    assert sent_messages(sent, {}) == (NamedRights(("file",)), NamedCredentials())
    tail = a_send(first + garbage + b"secret", Descriptor(5, mode=0o100600))
    assert control_template(tail, {}).endswith("00" * (len(garbage) + 6))


def test_credentials_of_others_are_named_only_where_they_did_not_go() -> None:
    control = struct.pack(
        "@niiiII", socket.CMSG_LEN(12), socket.SOL_SOCKET, 2, 78, 1000, 0
    )
    went, refused = (sent_messages(a_send(control, result=r), {}) for r in (1, -1))
    assert went == (NamedCredentials(),)
    assert sender_ids(a_send(control)) == (78, 1000, 0)
    assert sender_ids(a_send(control, result=-1)) == (77, 0, 0)
    assert refused == (NamedCredentials("none", 1000),)
    assert "ffffff7fe8030000{gid}" in control_template(a_send(control, result=-1), {})


def test_descriptors_are_numbered_within_their_kind() -> None:
    def pipe(fd: int, inode: int, status: int) -> Descriptor:
        return Descriptor(fd, mode=0o010600, inode=inode, status=status)

    anonymous = Descriptor(9, link=type(Descriptor(0).link)(b"anon_inode:[eventfd]"))
    several = [pipe(n, 1, 0) for n in range(20, 32)]
    assert descriptor_names(
        [
            *(pipe(3, 1, 0), pipe(4, 1, 1), pipe(5, 2, 0), pipe(6, 2, 0)),
            *(pipe(3, 1, 0), anonymous, msgspec.structs.replace(anonymous, fd=10)),
            *(Descriptor(11, errno=9), Descriptor(-1, errno=9)),
        ],
        {},
    ) == (
        *("pipe-read", "pipe-write", "pipe-read#2", "dup:pipe-read#2"),
        *("pipe-read", "eventfd", "eventfd#2"),
        *("closed", "negative"),
    )
    # There are no names for more than nine duplicates.
    assert descriptor_names(several, {})[8:] == (
        *("dup8:pipe-read", "dup9:pipe-read", "pipe-read#2", "pipe-read#3"),
    )
