"""The gateways that are compared: how each is installed, configured and started, and which variants it has.

A *variant* is one way to run a gateway: `plain`, `tls` (on both sides), `keys` (the request must carry one of 1,000
bearer keys), `semantic` (semantic look-ups), `fixed` (a fixed body, no provider). This file must not know workloads
or figures.
"""

import hashlib
import json
import pathlib
import re
import time
import urllib.request
from dataclasses import dataclass, field

import install
from processes import Failed, free_port, output_of, pause, stop_group, wait_for, wait_for_port

# Keys of the variant `keys`; the load uses the first of them.
KEYS = [f"bench-key-{number:04}" for number in range(1000)]
# What LiteLLM wants from its callers.
LITELLM_KEY = "sk-bench-0123456789abcdef0123456789abcdef"
ROOT = pathlib.Path(__file__).resolve().parents[2]
# Connections that a proxy keeps open to the mock.
IDLE_CONNECTIONS = 1024


@dataclass
class Environment:
    """Where a gateway runs, and what it stands before."""

    processes: object
    work: pathlib.Path
    bench: pathlib.Path
    bin: pathlib.Path
    cpus: str
    mock_port: int
    mock_tls_port: int = 0
    tls: tuple = ()


@dataclass
class Endpoint:
    """A way to ask a gateway."""

    url: str
    process: object
    flags: list = field(default_factory=list)
    admin: str = ""

    @property
    def pid(self):
        return self.process.pid


class Gateway:
    """A gateway; `start` fills `endpoints` for the variants wanted."""

    name = ""
    title = ""
    variants = ("plain",)
    # Slow ones get fewer connections, and a fixed rate of their own.
    connections_max = 1_000_000
    # Answers from a cache, which is filled before anything is measured.
    caches = False
    why_not = "cannot do it"

    def __init__(self):
        self.endpoints = {}

    def install(self, environment):
        """Installs it where it is missing."""

    def version(self, environment):
        """The version that runs."""
        raise NotImplementedError

    def start(self, environment, variants):
        """Starts it for `variants`, all of which it can do."""
        raise NotImplementedError

    @property
    def slow(self):
        return self.connections_max < 64

    def pids(self):
        return sorted({endpoint.pid for endpoint in self.endpoints.values()})

    def pause(self, paused):
        """Stops it while others are measured."""
        for pid in self.pids():
            pause(pid, paused)

    def stop(self):
        """Ends what was started of it."""
        for endpoint in self.endpoints.values():
            stop_group(endpoint.process)


class Direct(Gateway):
    """The mock itself: what everything is compared with. It is never paused."""

    name, title = "direct", "direct (the mock)"
    variants = ("plain", "tls", "keys")

    def __init__(self, mocks):
        super().__init__()
        self.mocks = mocks

    def version(self, environment):
        return "the bundled mock"

    def start(self, environment, variants):
        plain, tls = self.mocks
        key = ["--key", KEYS[0]]
        self.endpoints["plain"] = Endpoint(f"http://127.0.0.1:{environment.mock_port}", plain, key)
        self.endpoints["keys"] = Endpoint(f"http://127.0.0.1:{environment.mock_port}", plain)
        if tls:
            self.endpoints["tls"] = Endpoint(
                f"https://127.0.0.1:{environment.mock_tls_port}", tls, key + ["--ca", str(environment.tls[0])])

    def pause(self, paused):
        """Never: every gateway needs it."""


class Nginx(Gateway):
    """nginx as a plain proxy: it looks at nothing."""

    name, title = "nginx", "nginx"
    variants = ("plain", "tls", "keys", "fixed")
    why_not = "has no semantic cache"
    # Size of the fixed body; set from the mock's own answer.
    fixed_bytes = 400

    def install(self, environment):
        install.system_tool("nginx")

    def version(self, environment):
        return re.sub(r".*nginx/", "", output_of("nginx", "-v"))

    def start(self, environment, variants):
        ports = {variant: free_port() for variant in variants}
        text = NGINX.format(
            work=environment.work, mock=environment.mock_port, mock_tls=environment.mock_tls_port or environment.mock_port, idle_connections=IDLE_CONNECTIONS,
            keys="\n".join(f'"Bearer {key}" 1;' for key in KEYS),
            servers="\n".join(self.server(environment, variant, port) for variant, port in ports.items()))
        config = environment.work / "nginx.conf"
        config.write_text(text)
        log = environment.work / "nginx.log"
        process = environment.processes.start(["nginx", "-c", config, "-p", environment.work], environment.cpus, log)
        for variant, port in ports.items():
            wait_for_port("nginx", port, process, log)
            self.endpoints[variant] = endpoint(environment, variant, port, process)

    def server(self, environment, variant, port):
        proxy = 'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;'
        if variant == "fixed":
            return f"server {{ listen 127.0.0.1:{port} backlog=4096; default_type application/json;" \
                   f" location / {{ return 200 '{fixed_body(self.fixed_bytes)}'; }} }}"
        if variant == "tls":
            return f"server {{ listen 127.0.0.1:{port} ssl backlog=4096; ssl_certificate {environment.tls[0]};" \
                   f" ssl_certificate_key {environment.tls[1]}; client_body_buffer_size 128k;" \
                   f" location / {{ proxy_pass https://mock_tls; {proxy} proxy_ssl_verify on;" \
                   f" proxy_ssl_trusted_certificate {environment.tls[0]}; proxy_ssl_name localhost; }} }}"
        guard = "if ($known = 0) { return 401; }" if variant == "keys" else ""
        return f"server {{ listen 127.0.0.1:{port} backlog=4096; client_body_buffer_size 128k;" \
               f" location / {{ {guard} proxy_pass http://mock; {proxy} }} }}"


def fixed_body(size):
    """An answer of `size` bytes, in the form of a chat completion."""
    body = '{"id":"fixed","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant",' \
           '"content":"%s"},"finish_reason":"stop"}]}'
    return body % ("x" * max(size - len(body) + 2, 1))


class HaProxy(Gateway):
    """HAProxy as a plain proxy: it looks at nothing."""

    name, title = "haproxy", "HAProxy"
    variants = ("plain", "tls", "keys")
    why_not = "has no cache for answers to POST"

    def install(self, environment):
        install.system_tool("haproxy")

    def version(self, environment):
        return output_of("haproxy", "-v").split()[2]

    def start(self, environment, variants):
        ports = {variant: free_port() for variant in variants}
        (environment.work / "keys.lst").write_text("".join(f"Bearer {key}\n" for key in KEYS))
        parts = [HAPROXY]
        for variant, port in ports.items():
            tls = variant == "tls"
            bind = f" ssl crt {environment.tls[2]}" if tls else ""
            guard = f"  http-request deny deny_status 401 unless {{ req.hdr(authorization) -m str -f {environment.work}/keys.lst }}\n"
            server = f"127.0.0.1:{environment.mock_tls_port if tls else environment.mock_port}"
            to = f" ssl verify required ca-file {environment.tls[0]} verifyhost localhost sni str(localhost)" if tls else ""
            parts.append(
                f"frontend front_{variant}\n  bind 127.0.0.1:{port}{bind}\n{guard if variant == 'keys' else ''}"
                f"  default_backend back_{variant}\nbackend back_{variant}\n  server mock {server}{to}\n")
        config = environment.work / "haproxy.cfg"
        config.write_text("".join(parts))
        log = environment.work / "haproxy.log"
        process = environment.processes.start(["haproxy", "-f", config], environment.cpus, log)
        for variant, port in ports.items():
            wait_for_port("HAProxy", port, process, log)
            self.endpoints[variant] = endpoint(environment, variant, port, process)


class LiteLlm(Gateway):
    """The LiteLLM proxy as its documentation advises for production: one worker for a core, no logs."""

    name, title = "litellm", "LiteLLM"
    connections_max = 4
    why_not = "not set up for it: keys need a database, its cache a Redis, TLS is left to a proxy before it"

    def install(self, environment):
        self.program = install.litellm(environment.bench)

    def version(self, environment):
        return install.LITELLM

    def start(self, environment, variants):
        port, log = free_port(), environment.work / "litellm.log"
        config = environment.work / "litellm.yaml"
        config.write_text(LITELLM.format(mock=environment.mock_port))
        command = [self.program, "--config", config, "--host", "127.0.0.1", "--port", port, "--num_workers", 1]
        environment = {
            "LITELLM_MASTER_KEY": LITELLM_KEY, "LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False", "NO_PROXY": "*",
        }
        process = environment.processes.start(command, environment.cpus, log, environment, environment.work)
        ready = lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/health/liveliness", timeout=5)
        wait_for("LiteLLM", ready, process, log)
        self.endpoints["plain"] = Endpoint(f"http://127.0.0.1:{port}", process, ["--key", LITELLM_KEY])


class Portkey(Gateway):
    """The Portkey gateway on Node.js; the provider is named by headers of each request."""

    name, title = "portkey", "Portkey"
    connections_max = 16
    why_not = "the open gateway has no keys, no cache in memory and no TLS of its own"

    def install(self, environment):
        self.program = install.portkey(environment.bench)

    def version(self, environment):
        return f"{install.PORTKEY} on Node.js {output_of('node', '-v')}"

    def start(self, environment, variants):
        port, log = free_port(), environment.work / "portkey.log"
        # It would listen on every address of the machine; nothing in it says otherwise.
        only_here = environment.work / "only-here.cjs"
        only_here.write_text(ONLY_HERE)
        command = ["node", "--require", only_here, self.program, f"--port={port}", "--headless"]
        process = environment.processes.start(command, environment.cpus, log, {"NODE_ENV": "production", "NO_PROXY": "*"})
        wait_for_port("Portkey", port, process, log)
        upstream = f"http://127.0.0.1:{environment.mock_port}/v1"
        headers = ["--header", "x-portkey-provider: openai", "--header", f"x-portkey-custom-host: {upstream}"]
        self.endpoints["plain"] = Endpoint(f"http://127.0.0.1:{port}", process, headers + ["--key", KEYS[0]])


class Ringside(Gateway):
    """Ringside with keys, allow-list, routing and metrics on; with or without its cache."""

    def __init__(self, name, title, driver, caches=True):
        super().__init__()
        self.name, self.title, self.driver, self.caches = name, title, driver, caches
        self.variants = ("plain", "tls", "keys", "cache", "semantic") if caches else ("plain", "tls", "keys")
        self.why_not = "its cache is off"

    def version(self, environment):
        return output_of(environment.bin / "ringside", "--version").split()[-1]

    def start(self, environment, variants):
        for kind in ["plain", *({"keys", "tls", "semantic"} & set(variants))]:
            self.endpoints[kind] = self.serve(environment, kind)
        # An exact hit needs nothing else.
        self.endpoints["cache"] = self.endpoints["plain"]

    def serve(self, environment, kind):
        name = f"{self.name}-{kind}"
        config, log = environment.work / f"{name}.toml", environment.work / f"{name}.log"
        tls = kind == "tls"
        config.write_text(RINGSIDE.format(
            driver=self.driver, cache=str(self.caches).lower(), idle_connections=IDLE_CONNECTIONS,
            mode="serve" if kind == "semantic" else "off",
            server_tls=f'[server.tls]\ncert = "file:{environment.tls[0]}"\nkey = "file:{environment.tls[1]}"\n' if tls else "",
            base=f"https://127.0.0.1:{environment.mock_tls_port}" if tls else f"http://127.0.0.1:{environment.mock_port}",
            ca=f'ca = "file:{environment.tls[0]}"\n' if tls else "",
            keys="".join(
                f'[[keys]]\nname = "{key}"\nsha256 = "{hashlib.sha256(key.encode()).hexdigest()}"\nmodels = ["m"]\n'
                for key in (KEYS if kind == "keys" else KEYS[:1]))))
        process = environment.processes.start(
            [environment.bin / "ringside", "serve", "--config", config], environment.cpus, log, cwd=ROOT)
        started = wait_for(name, lambda: started_line(log), process, log)
        if not started["driver"].startswith(self.driver):
            raise Failed(f"{name} runs on {started['driver']}: this machine does not permit {self.driver}")
        admin = f"http://{started['admin']}"
        if kind == "semantic":
            loaded = lambda: b'"state":"ready"' in urllib.request.urlopen(f"{admin}/admin/v1/info", timeout=5).read().replace(b" ", b"")
            wait_for("the embedding model", loaded, process, log)
        flags = ([] if kind == "keys" else ["--key", KEYS[0]]) + (["--ca", str(environment.tls[0])] if tls else [])
        return Endpoint(f"http{'s' if tls else ''}://{started['listen'][0]}", process, flags, admin)

    def first_answer_ms(self, environment):
        """From the start of a process to its first answer, in milliseconds."""
        config, log = environment.work / f"{self.name}-plain.toml", environment.work / "first-answer.log"
        began = time.monotonic()
        process = environment.processes.start([environment.bin / "ringside", "serve", "--config", config], environment.cpus, log, cwd=ROOT)
        started = wait_for("Ringside", lambda: started_line(log), process, log, pause_s=0.0005)
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "first"}]}).encode()
        request = urllib.request.Request(
            f"http://{started['listen'][0]}/v1/chat/completions", body, {"authorization": f"Bearer {KEYS[0]}"})
        urllib.request.urlopen(request, timeout=10).read()
        took = (time.monotonic() - began) * 1000
        stop_group(process)
        return round(took, 1)


def started_line(log):
    """What Ringside says when it listens; `None` before."""
    for line in log.read_text(errors="replace").splitlines():
        if line.startswith("{"):
            event = json.loads(line)
            if event.get("event") == "started":
                return event
    return None


def endpoint(environment, variant, port, process):
    """The endpoint of a proxy of the system."""
    if variant == "tls":
        return Endpoint(f"https://127.0.0.1:{port}", process, ["--key", KEYS[0], "--ca", str(environment.tls[0])])
    return Endpoint(f"http://127.0.0.1:{port}", process, [] if variant == "keys" else ["--key", KEYS[0]])


def all_gateways(mocks):
    """Every gateway there is, in the order of the report."""
    return [
        Direct(mocks), Nginx(), HaProxy(), LiteLlm(), Portkey(),
        Ringside("ring", "Ringside, ring", "io_uring"),
        Ringside("epoll", "Ringside, epoll", "epoll"),
        Ringside("no-cache", "Ringside, ring, no cache", "io_uring", caches=False),
    ]


NGINX = """\
worker_processes 1; daemon off; master_process off; pid {work}/nginx.pid; error_log stderr crit;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 100000000; map_hash_max_size 16384; map_hash_bucket_size 128;
  client_body_temp_path {work}/nginx-body; proxy_temp_path {work}/nginx-proxy; fastcgi_temp_path {work}/nginx-fastcgi;
  uwsgi_temp_path {work}/nginx-uwsgi; scgi_temp_path {work}/nginx-scgi;
  map $http_authorization $known {{ default 0;
{keys}
  }}
  upstream mock {{ server 127.0.0.1:{mock}; keepalive {idle_connections}; keepalive_requests 100000000; }}
  upstream mock_tls {{ server 127.0.0.1:{mock_tls}; keepalive {idle_connections}; keepalive_requests 100000000; }}
{servers}
}}
"""

HAPROXY = """\
global
  nbthread 1
  maxconn 8000
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
"""

LITELLM = """\
model_list:
  - model_name: m
    litellm_params: {{model: openai/m, api_base: "http://127.0.0.1:{mock}/v1", api_key: none}}
litellm_settings: {{telemetry: false, set_verbose: false}}
general_settings: {{disable_spend_logs: true}}
"""

ONLY_HERE = """\
const net = require('net');
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (port, ...rest) {
  return listen.call(this, { port: Number(port), host: '127.0.0.1' }, ...rest.filter((x) => typeof x === 'function'));
};
"""

RINGSIDE = """\
[server]
listen = "127.0.0.1:0"
driver = "{driver}"
cores = 1
{server_tls}
[admin]
listen = "127.0.0.1:0"
[log]
requests = false
[cache]
enabled = {cache}
[cache.semantic]
mode = "{mode}"
deadline = "100ms"
[[providers]]
name = "mock"
base_url = "{base}/v1"
idle_connections_max = {idle_connections}
{ca}
[[models]]
name = "m"
targets = [{{ provider = "mock" }}]
{keys}
"""
