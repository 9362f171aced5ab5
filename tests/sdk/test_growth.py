"""What a request or a response costs grows with its size and no faster: CPU time of the core at n and at 4 n elements,
for each shape of foreign input, at every endpoint and between all dialects.

The time is that of the core's thread as the kernel counts it, so a busy machine does not change the result.
"""

import functools
import http.client
import json
import pathlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from conftest import Gateway, stop
from shapes.requests import CLIENTS, OTHERS, multipart
from shapes.responses import ANSWERS
from shapes.streams import STREAMS

N = 2000
# Linear work is 4 times as much; the rest is for what costs the same at any size, and for noise.
GROWTH_MAX = 5
# Below this nothing is compared: it is too short to be told from noise, and too short to matter.
SHORT_MS = 4
DIALECTS = ["openai", "responses", "anthropic", "gemini", "cohere", "bedrock"]
# A provider of the dialect of OpenAI that calls a role by another name.
KINDS = {"vllm": 'kind = "vllm"'}


class Provider(BaseHTTPRequestHandler):
    """Answers each dialect with what the test has set."""

    protocol_version = "HTTP/1.1"
    answer, content_type, headers_sent = b"{}", "application/json", ()

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(200)
        for name, value in Provider.headers_sent:
            self.send_header(name, value)
        self.send_header("content-type", Provider.content_type)
        self.send_header("content-length", str(len(Provider.answer)))
        self.end_headers()
        self.wfile.write(Provider.answer)

    do_GET = do_POST

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    """A gateway with one core and a model for each dialect of a provider."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    config = ""
    for name in [*DIALECTS, *KINDS]:
        auth = ('auth = { kind = "aws", region = "r", access_key_id = "file:key", secret_access_key = "file:key" }\n'
                if name == "bedrock" else "")
        kind = KINDS.get(name, f'dialect = "{name}"')
        config += (f'[[providers]]\nname = "{name}"\n{kind}\nbase_url = "{url}/v1"\nunsupported_fields = "drop"\n{auth}'
                   f'[[models]]\nname = "m-{name}"\ntargets = [{{ provider = "{name}" }}]\n')
    folder = tmp_path_factory.mktemp("growth")
    (folder / "key").write_text("k")
    gateway = Gateway(folder, "epoll", config, server="cores = 1\n")
    yield Core(gateway)
    stop(gateway.process)
    server.shutdown()


class Core:
    def __init__(self, gateway):
        self.gateway = gateway
        self.address = gateway.url.removeprefix("http://").removesuffix("/v1")
        tasks = pathlib.Path(f"/proc/{gateway.process.pid}/task")
        self.thread = next(task for task in tasks.iterdir() if (task / "comm").read_text().strip() == "core-0")
        self.connection = http.client.HTTPConnection(self.address, timeout=60)

    def cpu_ms(self):
        return int((self.thread / "schedstat").read_text().split()[0]) / 1e6

    def cost_ms(self, path, body, headers=(), method="POST"):
        """CPU time of one request."""
        before = self.cpu_ms()
        try:
            self.connection.request(method, path, body, {"content-type": "application/json", **dict(headers)})
            response = self.connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException):
            self.connection.close()
            raise
        # A target in cooldown would fail at once, and nothing would be measured.
        assert response.status != 503, path
        return self.cpu_ms() - before


def model_of(dialect, path, body):
    """Path and body of a request to the model of `dialect`."""
    path = path.replace("models/m:", f"models/m-{dialect}:")
    if isinstance(body, dict):
        body = json.dumps(body | {"model": f"m-{dialect}"} if "model" in body and body["model"] == "m" else body)
    else:
        body = body.replace('"model":"m"', f'"model":"m-{dialect}"')
    return path, body.encode()


def grows_linearly(measure):
    """Why the cost at 4 n is too much for that at n; None when it is not. `measure(n)` is in milliseconds."""
    for more in range(3):
        # Another size each time: the cache has no answer to it.
        try:
            small, large = measure(N + more), measure(4 * (N + more))
        except (OSError, http.client.HTTPException) as error:
            return repr(error)
        if large < SHORT_MS or large <= GROWTH_MAX * small:
            return None
    return f"{small:.1f} ms at {N}, {large:.1f} ms at {4 * N}: {large / max(small, 1e-3):.1f} times"


def fail_with(problems):
    assert not problems, "\n".join(f"{name}: {problem}" for name, problem in problems.items())


def set_answer(body, content_type="application/json", headers=()):
    Provider.answer, Provider.content_type, Provider.headers_sent = body, content_type, headers


@functools.lru_cache(maxsize=256)
def request(client, name, n):
    """The text of a request to the model `m`."""
    body = CLIENTS[client][1][name](n)
    return body if isinstance(body, str) else json.dumps(body, separators=(",", ":"))


@pytest.mark.parametrize("client, dialect", [*((client, dialect) for client in CLIENTS for dialect in DIALECTS), ("chat", "vllm")])
def test_requests_cost_what_they_are_long(core, client, dialect):
    path, shapes = CLIENTS[client]
    set_answer(json.dumps(next(iter(ANSWERS.get(dialect, ANSWERS["openai"])(1).values()))).encode())
    problems = {}
    for name in shapes:
        problem = grows_linearly(lambda n, name=name: core.cost_ms(*model_of(dialect, path, request(client, name, n))))
        if problem:
            problems[name] = problem
    fail_with(problems)


@pytest.mark.parametrize("name", OTHERS)
def test_requests_of_other_endpoints_cost_what_they_are_long(core, name):
    path, shape = OTHERS[name]
    set_answer(b"{}")
    assert grows_linearly(lambda n: core.cost_ms(*model_of("openai", path, shape(n)))) is None


def test_forms_cost_what_they_are_long(core):
    def measure(n):
        body, content_type = multipart(n)
        body = body.replace(b"\r\n\r\nm\r\n", b"\r\n\r\nm-openai\r\n")
        return core.cost_ms("/v1/audio/transcriptions", body, [("content-type", content_type)])
    set_answer(b"{}")
    assert grows_linearly(measure) is None


@functools.lru_cache(maxsize=8)
def responses_of(dialect, n):
    """Each response of a dialect, with its content type."""
    return {name: (json.dumps(response).encode(), "application/json") for name, response in ANSWERS[dialect](n).items()}


@functools.lru_cache(maxsize=8)
def streams_of(dialect, n):
    """Each stream of a dialect, with its content type."""
    return {name: (stream, "application/vnd.amazon.eventstream") if isinstance(stream, bytes) else (stream.encode(), "text/event-stream")
            for name, stream in STREAMS[dialect](n).items()}


def problems_of(core, client, dialect, answers_of, streams):
    """The answers whose cost grows too fast, each to a question of its own."""
    path, shapes = CLIENTS[client]
    if streams:
        path = path.replace(":generateContent", ":streamGenerateContent?alt=sse")
    problems, count = {}, 0
    for name in answers_of(dialect, N):
        def measure(n, name=name):
            nonlocal count
            count += 1
            set_answer(*answers_of(dialect, n)[name])
            request = next(iter(shapes.values()))(0)
            if streams and client != "gemini":
                request["stream"] = True
            text = json.dumps(request).replace('"q"', f'"{name} {count}"')
            return core.cost_ms(*model_of(dialect, path, json.loads(text)))
        problem = grows_linearly(measure)
        if problem:
            problems[name] = problem
    return problems


# A translation reads into the neutral form and writes from it: each reader and each writer is in some pair. The pairs of a
# dialect stand together, so that its answers are made once.
PAIRS = [(dialect, client) for dialect in ANSWERS for client in CLIENTS if client == "chat" or dialect in ("openai", "anthropic")]


@pytest.mark.parametrize("dialect, client", PAIRS)
def test_responses_cost_what_they_are_long(core, client, dialect):
    fail_with(problems_of(core, client, dialect, responses_of, streams=False))


@pytest.mark.parametrize("dialect, client", PAIRS)
def test_streams_cost_what_they_are_long(core, client, dialect):
    fail_with(problems_of(core, client, dialect, streams_of, streams=True))
