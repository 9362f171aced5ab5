"""The gateway and its providers as processes: started, reloaded, killed, and looked at from outside."""

import os
import pathlib
import re
import signal
import time

from http_client import exchange
from processes import free_port, resident_kib, wait_for

KEYS = {"a": "sk-soak-a", "b": "sk-soak-b", "c": "sk-soak-c"}
HEAD = """
[server]
listen = "127.0.0.1:{data}"
cores = {cores}
driver = "{driver}"
drain = {{ delay = "0s", deadline = "5s" }}
[admin]
listen = "127.0.0.1:{admin}"
[cache]
memory_max = "8MiB"
dir = "{work}/cache"
disk_max = "64MiB"
[cache.semantic]
mode = "{semantic}"
[embedding]
model_dir = "{model_dir}"
[[providers]]
name = "one"
base_url = "http://127.0.0.1:{one}/v1"
[[providers]]
name = "two"
base_url = "http://127.0.0.1:{two}/v1"
[[providers]]
name = "anthropic"
dialect = "anthropic"
base_url = "http://127.0.0.1:{two}/v1"
[[providers]]
name = "gemini"
dialect = "gemini"
base_url = "http://127.0.0.1:{one}/v1beta"
[[models]]
name = "chat"
targets = [{{ provider = "one" }}, {{ provider = "two" }}, {{ provider = "anthropic" }}]
[[models]]
name = "messages"
targets = [{{ provider = "anthropic" }}, {{ provider = "one" }}]
[[models]]
name = "gemini"
targets = [{{ provider = "gemini" }}, {{ provider = "two" }}]
[[models]]
name = "embed"
targets = [{{ provider = "one" }}, {{ provider = "two" }}]
"""
KEY = '[[keys]]\nname = "{name}"\nsecret = "env:SOAK_KEY_{upper}"\n'


class Mock:
    """A provider that can be killed and started again on the same port."""

    def __init__(self, processes, binary, log, cpus):
        self.processes, self.binary, self.log, self.cpus = processes, binary, log, cpus
        self.port, self.process = free_port(), None

    def start(self):
        command = [self.binary, "--listen", f"127.0.0.1:{self.port}", "--latency", "exponential:10ms",
                   "--token-gap", "exponential:2ms", "--tokens", "12"]
        self.process = self.processes.start(command, self.cpus, self.log)
        wait_for("the mock", lambda: "listening" in self.log.read_text(), self.process, self.log)

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    async def behave(self, **names):
        body = ("{" + ", ".join(f'"{name.replace("_", "-")}": "{value}"' for name, value in names.items()) + "}").encode()
        await exchange(("127.0.0.1", self.port), "POST" if names else "DELETE", "/mock/behaviour", body)


class Gateway:
    """The gateway under test. Each life has a log of its own."""

    def __init__(self, options, processes, work, mocks, cpus):
        self.options, self.processes, self.work, self.cpus = options, processes, work, cpus
        self.data, self.admin = free_port(), free_port()
        self.config = work / "ringside.toml"
        root = pathlib.Path(__file__).resolve().parents[2]
        runtime = root / "models" / "runtime" / "libonnxruntime.so"
        self.head = HEAD.format(
            data=self.data, admin=self.admin, cores=options.cores, driver=options.driver, work=work, one=mocks[0].port,
            two=mocks[1].port, semantic="observe" if runtime.exists() else "off", model_dir=root / "models" / "all-minilm-l6-v2")
        self.environment = {f"SOAK_KEY_{name.upper()}": secret for name, secret in KEYS.items()}
        if runtime.exists():
            self.environment["RINGSIDE_ONNXRUNTIME"] = str(runtime)
        self.life = 0
        self.write_config(KEYS)

    def write_config(self, names):
        keys = "".join(KEY.format(name=name, upper=name.upper()) for name in names)
        self.config.write_text(self.head + keys)

    def start(self):
        self.life += 1
        self.log = self.work / f"gateway-{self.life}.log"
        command = [self.options.bin / "ringside", "serve", "--config", self.config]
        self.process = self.processes.start(command, self.cpus, self.log, self.environment)
        wait_for("the gateway", lambda: '"started"' in self.log.read_text(), self.process, self.log)

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    async def admin_call(self, method, path):
        return await exchange(("127.0.0.1", self.admin), method, path, within_s=10)

    async def reload(self, names):
        """Writes a configuration with these keys and waits until it is in force."""
        before = (await self.admin_call("GET", "/admin/v1/info")).body
        self.write_config(names)
        os.kill(self.process.pid, signal.SIGHUP)
        until = time.monotonic() + 10
        while time.monotonic() < until:
            if generation((await self.admin_call("GET", "/admin/v1/info")).body) != generation(before):
                return True
        return False

    async def metrics(self):
        """Sums of all samples of each metric."""
        text = (await self.admin_call("GET", "/metrics")).body.decode()
        sums = {}
        for line in text.splitlines():
            if line and line[0] != "#":
                series, value = line.rsplit(" ", 1)
                name = series.split("{")[0]
                sums[name] = sums.get(name, 0.0) + float(value)
        return sums

    def resident_mib(self):
        return resident_kib(self.process.pid) / 1024

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


def generation(info):
    return re.search(rb'"generation":(\d+)', info)[1]
