"""Processes for the tests with real clients: the gateway on either driver, the mock, the LiteLLM proxy."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.request

import openai
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"


# What the LiteLLM proxy wants from its callers.
PEER_KEY = "sk-peer-0123456789abcdef0123456789abcdef"

# The models of the LiteLLM proxy, and what makes up their answers.
CALL = '{id: call_1, type: function, function: {name: weather, arguments: \'{"city": "Paris"}\'}}'
PEERS = {
    "peer": "model: openai/peer, mock_response: 'An answer from the peer.'",
    "calling": f"model: openai/calling, mock_response: 'I look.', mock_tool_calls: [{CALL}]",
    "limited": "model: openai/limited, mock_response: litellm.RateLimitError",
    "broken": "model: openai/broken, mock_response: litellm.InternalServerError",
    "short": "model: openai/short, mock_response: litellm.ContextWindowExceededError",
}


def stop(process):
    process.kill()
    process.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def mock():
    process = subprocess.Popen(
        [TARGET / "ringside-mock", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True
    )
    yield process.stdout.readline().split()[-1]
    stop(process)


@pytest.fixture(scope="session")
def litellm(mock, tmp_path_factory):
    """An upstream that nobody here wrote: the LiteLLM proxy with mocked answers, and `live` through it to the mock."""
    folder = tmp_path_factory.mktemp("litellm")
    port = free_port()
    (folder / "config.yaml").write_text(
        "model_list:\n" + "".join(
            f"  - model_name: {name}\n    litellm_params: {{api_key: none, num_retries: 0, {how}}}\n"
            for name, how in [*PEERS.items(), ("live", f"model: hosted_vllm/live, api_base: '{mock}/v1'")]
        ) + "router_settings: {disable_cooldowns: true}\n"
    )
    environment = os.environ | {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_TELEMETRY": "False",
        "LITELLM_MASTER_KEY": PEER_KEY,
        "NO_PROXY": "*",
    }
    log = open(folder / "log", "w")
    program = pathlib.Path(sys.executable).with_name("litellm")
    process = subprocess.Popen(
        [program, "--config", folder / "config.yaml", "--port", str(port), "--host", "127.0.0.1"],
        env=environment, stdout=log, stderr=log,
    )
    url = f"http://127.0.0.1:{port}"
    until = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(f"{url}/health/liveliness", timeout=2)
            break
        except OSError:
            assert process.poll() is None and time.monotonic() < until, (folder / "log").read_text()[-3000:]
            time.sleep(0.3)
    yield url
    stop(process)


class Gateway:
    def __init__(self, folder, driver, config, server=""):
        path = folder / "ringside.toml"
        (folder / "peer").write_text(PEER_KEY)
        path.write_text(
            f'[server]\nlisten = "127.0.0.1:0"\ndriver = "{driver}"\n{server}'
            '[server.drain]\ndelay = "1ms"\n[admin]\nlisten = "127.0.0.1:0"\n' + config
        )
        self.process = subprocess.Popen(
            [TARGET / "ringside", "serve", "--config", path], cwd=ROOT,
            stdout=subprocess.PIPE, text=True,
        )
        started = json.loads(self.process.stdout.readline())
        assert started["event"] == "started", started
        self.url = f"http://{started['listen'][0]}/v1"
        self.admin = f"http://{started['admin']}"
        # Nobody reads the request log; without a reader the pipe would fill.
        import threading
        threading.Thread(target=lambda: [None for _ in self.process.stdout], daemon=True).start()

    def client(self, **options):
        return openai.OpenAI(**{"base_url": self.url, "api_key": "key-all", "max_retries": 0, "timeout": 60} | options)

    def wait_until_stored(self):
        """Waits until every response is stored. The gateway sends a response before it stores it, and the next
        connection may be on another core."""
        until = time.monotonic() + 20
        while "\nringside_coalesce_in_flight 0\n" not in urllib.request.urlopen(f"{self.admin}/metrics").read().decode():
            assert time.monotonic() < until, "a shared call never ends"
            time.sleep(0.01)

    def info(self):
        return json.load(urllib.request.urlopen(f"{self.admin}/admin/v1/info"))


def provider(name, url, more=""):
    return f'[[providers]]\nname = "{name}"\nbase_url = "{url}/v1"\n{more}'


def model(name, provider, upstream):
    return f'[[models]]\nname = "{name}"\ntargets = [{{ provider = "{provider}", model = "{upstream}" }}]\n'


@pytest.fixture(scope="session", params=["io_uring", "epoll"])
def gateway(request, mock, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "all").write_text("key-all")
    (folder / "few").write_text("key-few")
    config = (
        provider("mock", mock) + model("m", "mock", "mock-model")
        + '[[models]]\nname = "twice"\ntargets = [{ provider = "mock" }, { provider = "mock", model = "second" }]\n'
        + '[[models]]\nname = "embed"\ntargets = [{ provider = "local" }]\n'
        + '[[keys]]\nname = "all"\nsecret = "file:all"\n[[keys]]\nname = "few"\nsecret = "file:few"\nmodels = ["embed"]\n'
    )
    gateway = Gateway(folder, request.param, config)
    yield gateway
    stop(gateway.process)
