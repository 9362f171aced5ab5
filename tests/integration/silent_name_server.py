"""Runs a program in a network of its own, whose name server never answers.

usage: unshare -rmn python3 silent_name_server.py PROGRAM ARGUMENT...
"""

import fcntl
import os
import socket
import struct
import subprocess
import sys
import tempfile

SIOCSIFFLAGS, IFF_UP = 0x8914, 1

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
fcntl.ioctl(server, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
server.bind(("127.0.0.1", 53))
# The socket outlives this program: its queue takes the questions.
server.set_inheritable(True)
with tempfile.NamedTemporaryFile("w", delete=False) as file:
    file.write("nameserver 127.0.0.1\noptions timeout:15 attempts:2\n")
subprocess.run(
    ["mount", "--bind", file.name, os.path.realpath("/etc/resolv.conf")], check=True
)
os.unlink(file.name)
os.execv(sys.argv[1], sys.argv[1:])
