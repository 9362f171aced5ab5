"""Runs a program as a container with a default seccomp profile would: io_uring_* fails with EPERM.

usage: refuse_io_uring.py PROGRAM ARGUMENT...
"""

import ctypes
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LD_W_ABS, JGE, JGT, RET = 0x20, 0x35, 0x25, 0x06
ALLOW, EPERM = 0x7FFF0000, 0x00050000 | 1
# io_uring_setup, io_uring_enter, io_uring_register: the same numbers on every architecture.
FIRST, LAST = 425, 427

program = [
    struct.pack("HBBI", LD_W_ABS, 0, 0, 0),
    struct.pack("HBBI", JGE, 0, 2, FIRST),
    struct.pack("HBBI", JGT, 1, 0, LAST),
    struct.pack("HBBI", RET, 0, 0, EPERM),
    struct.pack("HBBI", RET, 0, 0, ALLOW),
]
code = ctypes.create_string_buffer(b"".join(program))
header = ctypes.create_string_buffer(
    struct.pack("HxxxxxxP", len(program), ctypes.addressof(code))
)
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
    sys.exit("prctl(PR_SET_NO_NEW_PRIVS) failed")
if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(header), 0, 0) != 0:
    sys.exit("prctl(PR_SET_SECCOMP) failed")
os.execv(sys.argv[1], sys.argv[1:])
