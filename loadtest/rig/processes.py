"""Processes of the rig: started on given CPUs, watched through /proc, stopped by their ids.

Knows nothing of gateways. Every process is its own group, so that what it starts is stopped with it.
"""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

# How long a process may take until it listens; the LiteLLM proxy takes ten to forty seconds.
START_TIMEOUT_S = 120
# From Linux's include/linux/posix-timers.h.
CPUCLOCK_SCHED = 2


class Failed(Exception):
    """Something could not be installed, started, or did not answer as it should."""


class Processes:
    """All that was started; leaving the block stops them, whatever happened."""

    def __init__(self):
        self.all = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # A second Ctrl-C must not stop the stopping.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for process in reversed(self.all):
            stop_group(process)

    def start(self, command, cpus, log, environment=None, cwd=None):
        """Starts `command` on `cpus`; its output goes to the file `log`."""
        with open(log, "wb") as out:
            process = subprocess.Popen(
                ["taskset", "-c", cpus, *map(str, command)],
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})}, cwd=cwd, start_new_session=True,
            )
        self.all.append(process)
        return process

    def run(self, command, cpus, timeout_s):
        """Runs `command` to its end on `cpus`; its standard output, whatever the exit status."""
        process = subprocess.Popen(
            ["taskset", "-c", cpus, *map(str, command)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )
        self.all.append(process)
        try:
            out, err = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as late:
            raise Failed(f"{command[0]} did not end within {timeout_s:.0f} s") from late
        finally:
            stop_group(process)
            self.all.remove(process)
        if process.returncode not in (0, 1):
            raise Failed(f"{' '.join(map(str, command))}: {err.strip()[-400:]}")
        return out


def stop_group(process):
    """Kills a process and what it started, paused or not. Once it was waited for, its id may be another's."""
    if process.returncode is not None:
        return
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def family(pid):
    """A process and its descendants."""
    found, waiting = [], [pid]
    while waiting:
        at = waiting.pop()
        found.append(at)
        for task in pathlib.Path(f"/proc/{at}/task").glob("*/children"):
            try:
                waiting += [int(child) for child in task.read_text().split()]
            except OSError:
                continue
    return found


def cpu_us(pid):
    """CPU time in microseconds, exact, ended threads among it: the scheduler's clock of each process."""
    total = 0
    for member in family(pid):
        # What clock_getcpuclockid(3) makes of a process id.
        clock = (~member << 3) | CPUCLOCK_SCHED
        try:
            total += time.clock_gettime_ns(clock)
        except OSError:
            continue
    return total / 1000


def resident_kib(pid):
    """Resident memory of a process and its descendants; pages that they share count twice."""
    total = 0
    for member in family(pid):
        try:
            lines = pathlib.Path(f"/proc/{member}/status").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    return total


def pause(pid, paused):
    """Stops or continues a process: an idle gateway's timers must not be in another's figures."""
    for member in family(pid):
        try:
            os.kill(member, signal.SIGSTOP if paused else signal.SIGCONT)
        except ProcessLookupError:
            continue


def machine_busy_s():
    """CPU time of the whole machine spent on anything, in seconds; what a host takes away counts too."""
    fields = pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    user, nice, system, _idle, _wait, irq, softirq, steal = map(int, fields)
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def free_port():
    """A port that the system says is free; another process could take it before it is used."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what, probe, process=None, log=None, pause_s=0.05):
    """Waits until `probe()` is true; fails when `process` ended or it takes too long."""
    until = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            result = probe()
        except OSError:
            result = None
        if result:
            return result
        ended = process is not None and process.poll() is not None
        if ended or time.monotonic() > until:
            tail = pathlib.Path(log).read_text(errors="replace")[-600:] if log else ""
            raise Failed(f"{what} {'ended' if ended else 'did not start'}: {tail.strip()}")
        time.sleep(pause_s)


def wait_for_port(what, port, process, log):
    """Waits until something accepts connections at `port`."""
    def probe():
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    return wait_for(what, probe, process, log)


def output_of(*command):
    """What a command prints, standard error too; empty when there is no such command."""
    if shutil.which(str(command[0])) is None and not pathlib.Path(command[0]).exists():
        return ""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()
