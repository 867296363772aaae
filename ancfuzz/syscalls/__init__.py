"""``sendmsg`` and ``recvmsg`` as the kernel has them, control bytes in and out.

:mod:`socket` lays control messages out by itself and takes apart what arrives, so that
a wrong length, an odd capacity or a stale byte can be neither sent nor seen through it.
Here the kernel works on the caller's own memory: nothing is copied or interpreted.

Three promises go beyond the C functions.  EINTR is retried once Python's signal
handlers have had their turn, and a handler that raises gets out.  SIGPIPE never kills
(MSG_NOSIGNAL).  What arrives is close-on-exec unless told otherwise (MSG_CMSG_CLOEXEC).

:class:`Message` is control memory to be used many times, and what the last call left in
it; :func:`sendmsg` and :func:`recvmsg` take theirs for a single call.

This room must not know what a control message is.  Nor is every C library the kernel:
on 64 bits musl sends a copy in which the padding of each header is cleared, and refuses
control bytes beyond 1056 (older ones beyond 1024) with ENOMEM.
"""

from __future__ import annotations

from ancfuzz.syscalls.calls import ReceiveResult, recvmsg, sendmsg
from ancfuzz.syscalls.message import IOV_MAX, Message, in_use

__all__ = ["IOV_MAX", "Message", "ReceiveResult", "in_use", "recvmsg", "sendmsg"]
