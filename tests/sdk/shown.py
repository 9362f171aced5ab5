"""What the documentation shows: its code blocks, and a shell that runs them as a reader would."""

import dataclasses
import os
import pathlib
import re
import select
import shutil
import signal
import subprocess
import sys
import time

from conftest import ROOT, TARGET

# Where a page leaves something out.
ELLIPSIS = "…"
COMMAND_SECONDS_MAX = 120
# Brings the loopback interface up, for machines without iproute2.
LOOPBACK_UP = (
    "import fcntl, socket, struct; "
    "fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sH14x', b'lo', 0x1 | 0x40))"
)


@dataclasses.dataclass
class Block:
    page: str
    line: int
    language: str
    text: str

    def __str__(self):
        return f"{self.page}:{self.line}"


def blocks(path):
    text = path.read_text()
    return [
        Block(str(path.relative_to(ROOT)), text.count("\n", 0, found.start()) + 1, found[1], found[2])
        for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)
    ]


def session(text):
    """The commands of a `console` block, each with the output that is shown for it."""
    commands = []
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("$ "):
            command = line[2:]
            while command.endswith("\\"):
                command = command[:-1] + next(lines)
            commands.append((command, []))
        else:
            commands[-1][1].append(line)
    return commands


def fits(shown, printed):
    """Whether lines are as shown; an ellipsis stands for anything within a line."""
    def pattern(line):
        return ".*".join(re.escape(part) for part in line.split(ELLIPSIS))
    return len(shown) == len(printed) and all(re.fullmatch(pattern(a), b) for a, b in zip(shown, printed))


def isolation():
    """A network of its own where the system permits it: pages show fixed ports, which may be taken here."""
    for command in (["unshare", "--net"], ["unshare", "--net", "--map-root-user"]):
        if shutil.which("unshare") and subprocess.run([*command, "true"], capture_output=True).returncode == 0:
            return command, True
    return [], False


class Shell:
    """A bash in a folder that looks like the root of the repository, with its own loopback network."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("examples", "models", "docs", "loadtest"):
            (folder / name).symlink_to(ROOT / name)
        path = f"{pathlib.Path(sys.executable).parent}:{TARGET}:{os.environ['PATH']}"
        # No key of the person who runs the tests: nothing may be sent to a real provider.
        environment = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
        isolated, is_isolated = isolation()
        self.process = subprocess.Popen(
            [*isolated, "bash", "--noprofile", "--norc"], cwd=folder, text=True, bufsize=1,
            env=environment | {"PATH": path, "NO_PROXY": "*", "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )
        if is_isolated:
            assert self.run(f'"{sys.executable}" -c "{LOOPBACK_UP}"') == []

    def run(self, command):
        """Runs a command, in the background if it says so, and returns the lines it printed."""
        if command.rstrip().endswith("&"):
            self.send(command)
            self.wait_for_start(command)
            return []
        return self.send(command)

    def send(self, command):
        mark = f"--done-{time.monotonic_ns()}--"
        self.process.stdin.write(f"{command}\necho; echo {mark}\n")
        self.process.stdin.flush()
        printed, until = "", time.monotonic() + COMMAND_SECONDS_MAX
        while f"\n{mark}\n" not in printed:
            left = until - time.monotonic()
            ready, _, _ = select.select([self.process.stdout], [], [], max(left, 0))
            assert ready, f"no end within {COMMAND_SECONDS_MAX} s: {command}\n{printed}"
            piece = os.read(self.process.stdout.fileno(), 65536).decode()
            assert piece, f"the shell ended: {command}\n{printed}"
            printed += piece
        printed = printed.partition(f"\n{mark}\n")[0].replace("\r", "")
        return printed.rstrip("\n").split("\n") if printed.strip() else []

    def wait_for_start(self, command):
        addresses = re.findall(r"--listen (\S+)", command)
        if "ringside serve" in command:
            addresses = ["127.0.0.1:8080", "127.0.0.1:9090"]
        for address in addresses:
            host, port = address.split(":")
            connect = f"(exec 3<>/dev/tcp/{host}/{port}) 2>/dev/null"
            self.send(f"for i in $(seq 600); do {connect} && break; sleep 0.1; done")
            assert self.send(f"{connect} && echo listens") == ["listens"], (command, self.logs())
        if "ringside serve" in command:
            # A reader takes longer than the embedding model to load; until then each look-up is a miss.
            is_loading = "curl -s http://127.0.0.1:9090/metrics | grep -q '^ringside_embedding_ready 0'"
            self.send(f"for i in $(seq 600); do {is_loading} || break; sleep 0.1; done")

    def logs(self):
        return {log.name: log.read_text()[-2000:] for log in self.folder.glob("*.log")}

    def check(self, block):
        """Runs a `console` block and compares what it prints with what it shows."""
        for command, shown in session(block.text):
            printed = self.run(command)
            assert fits(shown, printed), (
                f"{block}: $ {command}\nshown:\n" + "\n".join(shown) + "\nprinted:\n" + "\n".join(printed)
                + f"\nlogs: {self.logs()}"
            )

    def close(self):
        """Ends the shell and all that it started."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
