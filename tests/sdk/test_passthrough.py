"""Passthrough endpoints: the official OpenAI SDK against a provider that responds in OpenAI's format."""

import http.server
import io
import json
import threading

import openai
import pytest

from conftest import Gateway, model

SOUND = bytes(range(256)) * 200
MODERATION = {"id": "modr-1", "model": "omni-moderation-latest", "results": [{
    "flagged": False, "categories": {}, "category_scores": {}, "category_applied_input_types": {}}]}
FILE = {"id": "file-1", "object": "file", "bytes": 3, "created_at": 1, "filename": "a.jsonl", "purpose": "batch", "status": "processed"}
BATCH = {"id": "batch-1", "object": "batch", "endpoint": "/v1/chat/completions", "input_file_id": "file-1",
         "completion_window": "24h", "status": "validating", "created_at": 1}
IMAGE = {"created": 1, "data": [{"b64_json": "AAAA"}], "usage": {
    "input_tokens": 7, "output_tokens": 5, "total_tokens": 12, "input_tokens_details": {"image_tokens": 0, "text_tokens": 7}}}
COMPLETION = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m",
              "choices": [{"text": "a b", "index": 0, "logprobs": None, "finish_reason": "stop"}],
              "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}}
EMBEDDING = {"object": "list", "model": "m", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
             "usage": {"prompt_tokens": 7, "total_tokens": 7}}
ANSWERS = {
    ("POST", "/v1/moderations"): MODERATION, ("POST", "/v1/images/generations"): IMAGE,
    ("POST", "/v1/images/edits"): IMAGE, ("POST", "/v1/audio/transcriptions"): {"text": "hello"},
    ("POST", "/v1/audio/translations"): {"text": "hello"}, ("POST", "/v1/embeddings"): EMBEDDING,
    ("POST", "/v1/files"): FILE, ("GET", "/v1/files/file-1"): FILE,
    ("GET", "/v1/files"): {"object": "list", "data": [FILE], "has_more": False},
    ("DELETE", "/v1/files/file-1"): {"id": "file-1", "object": "file", "deleted": True},
    ("POST", "/v1/batches"): BATCH, ("GET", "/v1/batches/batch-1"): BATCH,
    ("POST", "/v1/batches/batch-1/cancel"): BATCH | {"status": "cancelling"},
    ("GET", "/v1/batches"): {"object": "list", "data": [BATCH], "has_more": False},
    ("GET", "/v1/fine_tuning/jobs"): {"object": "list", "data": [], "has_more": False},
}


class Provider(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen = []

    def log_message(self, *_):
        pass

    def send(self, kind, body):
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        path = self.path.split("?")[0]
        Provider.seen.append((self.command, self.path, dict(self.headers), body))
        if path in ("/v1/audio/speech", "/v1/files/file-1/content"):
            return self.send("application/octet-stream", SOUND)
        if path == "/v1/completions":
            if not json.loads(body).get("stream"):
                return self.send("application/json", json.dumps(COMPLETION).encode())
            word = COMPLETION | {"usage": None}
            events = [word, COMPLETION | {"choices": []}]
            text = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
            return self.send("text/event-stream", text.encode())
        answer = ANSWERS.get((self.command, path))
        if answer is None:
            self.send_error(404)
            return None
        return self.send("application/json", json.dumps(answer).encode())

    do_GET = do_POST = do_DELETE = answer


@pytest.fixture(scope="module", params=["io_uring", "epoll"])
def passing(request, tmp_path_factory):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    folder = tmp_path_factory.mktemp("passing")
    for name in ["all", "few", "own"]:
        (folder / name).write_text(f"key-{name}")
    config = (
        f'[[providers]]\nname = "own"\nkind = "openai"\nbase_url = "http://127.0.0.1:{server.server_port}/v1"\n'
        'api_keys = ["file:own"]\n' + model("m", "own", "own-model")
        + '[[keys]]\nname = "all"\nsecret = "file:all"\nproviders = ["own"]\n'
        + '[[keys]]\nname = "few"\nsecret = "file:few"\n'
    )
    gateway = Gateway(folder, request.param, config)
    yield gateway
    gateway.process.kill()
    gateway.process.wait()
    server.shutdown()
    server.server_close()


def last():
    return Provider.seen[-1]


def test_embeddings_and_moderations(passing):
    client = passing.client()
    assert client.embeddings.create(model="m", input="x", encoding_format="float").data[0].embedding == [0.5]
    assert client.moderations.create(model="m", input="x").results[0].flagged is False
    assert json.loads(last()[3])["model"] == "own-model"
    assert last()[2]["authorization"] == "Bearer key-own"


def test_images(passing):
    client = passing.client()
    assert client.images.generate(model="m", prompt="a cat").usage.total_tokens == 12
    edited = client.images.edit(model="m", image=("a.png", io.BytesIO(SOUND), "image/png"), prompt="a dog")
    assert edited.data[0].b64_json == "AAAA"
    assert SOUND in last()[3] and b"own-model" in last()[3]


def test_audio(passing):
    client = passing.client()
    assert client.audio.transcriptions.create(model="m", file=("a.wav", SOUND)).text == "hello"
    assert SOUND in last()[3]
    assert client.audio.translations.create(model="m", file=("a.wav", SOUND)).text == "hello"
    assert client.audio.speech.create(model="m", voice="alloy", input="x").read() == SOUND
    with client.audio.speech.with_streaming_response.create(model="m", voice="alloy", input="x") as speech:
        assert b"".join(speech.iter_bytes()) == SOUND


def test_completions(passing):
    client = passing.client()
    assert client.completions.create(model="m", prompt="x").choices[0].text == "a b"
    chunks = list(client.completions.create(model="m", prompt="x", stream=True))
    assert [chunk.choices[0].text for chunk in chunks] == ["a b"]
    chunks = list(client.completions.create(model="m", prompt="x", stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].usage.total_tokens == 12


def test_files_and_batches(passing):
    client = passing.client()
    assert client.files.create(file=("a.jsonl", b"{}\n"), purpose="batch").id == "file-1"
    assert [one.id for one in client.files.list(limit=1)] == ["file-1"]
    assert last()[1] == "/v1/files?limit=1"
    assert client.files.retrieve("file-1").filename == "a.jsonl"
    assert client.files.content("file-1").read() == SOUND
    batch = client.batches.create(input_file_id="file-1", endpoint="/v1/chat/completions", completion_window="24h")
    assert client.batches.retrieve(batch.id).status == "validating"
    assert [one.id for one in client.batches.list()] == ["batch-1"]
    assert client.batches.cancel(batch.id).status == "cancelling"
    assert client.files.delete("file-1").deleted


def test_any_path_of_a_provider(passing):
    client = passing.client(base_url=passing.url.removesuffix("/v1") + "/providers/own")
    assert list(client.fine_tuning.jobs.list()) == []
    assert client.completions.create(model="as-it-is", prompt="x").usage.total_tokens == 12
    assert json.loads(last()[3])["model"] == "as-it-is"
    with pytest.raises(openai.NotFoundError):
        client.beta.assistants.list()


def test_a_key_without_providers_reaches_none(passing):
    few = passing.client(api_key="key-few")
    assert few.moderations.create(model="m", input="x").id == "modr-1"
    with pytest.raises(openai.PermissionDeniedError):
        few.files.list()
    direct = passing.client(api_key="key-few", base_url=passing.url.removesuffix("/v1") + "/providers/own")
    with pytest.raises(openai.PermissionDeniedError):
        direct.completions.create(model="m", prompt="x")
