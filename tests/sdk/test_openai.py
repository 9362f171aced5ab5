"""The official OpenAI SDK against Ringside, with the bundled mock upstream."""

import json
import time
import urllib.request

import openai
import pytest


def ask(client, question, **more):
    return client.chat.completions.create(
        model=more.pop("model", "m"), messages=[{"role": "user", "content": question}], **more
    )


TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}]


def test_chat_whole_and_streamed_say_the_same(gateway):
    client = gateway.client()
    whole = ask(client, "What is the capital of France?")
    assert "Paris" in whole.choices[0].message.content
    assert whole.usage.total_tokens > 0
    chunks = list(ask(client, "What is the capital of France?", stream=True, extra_headers={"cache-control": "no-cache"}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == whole.choices[0].message.content
    assert all(chunk.usage is None for chunk in chunks)
    with_usage = list(ask(client, "once more", stream=True, stream_options={"include_usage": True}))
    assert with_usage[-1].usage.prompt_tokens == 2 and with_usage[-1].choices == []


def test_a_repeat_is_answered_from_the_cache(gateway):
    raw = gateway.client().chat.completions.with_raw_response
    ask_raw = lambda: raw.create(model="m", messages=[{"role": "user", "content": f"repeat on {gateway.url}"}])
    first, second = ask_raw(), ask_raw()
    assert (first.headers["x-ringside-cache"], second.headers["x-ringside-cache"]) == ("miss", "exact")
    assert first.parse().choices[0].message.content == second.parse().choices[0].message.content


def test_tools(gateway):
    client = gateway.client()
    call = ask(client, "please call the tool", tools=TOOLS).choices[0]
    assert call.finish_reason == "tool_calls"
    assert call.message.tool_calls[0].function.name == "weather"
    assert json.loads(call.message.tool_calls[0].function.arguments) == {"city": "Paris"}
    arguments = ""
    for chunk in ask(client, "please call the tool", tools=TOOLS, stream=True):
        for piece in chunk.choices[0].delta.tool_calls or []:
            arguments += piece.function.arguments
    assert json.loads(arguments) == {"city": "Paris"}


def test_embeddings(gateway):
    client = gateway.client()
    until = time.monotonic() + 20
    while gateway.info()["embedding"]["state"] == "loading" and time.monotonic() < until:
        time.sleep(0.05)
    local = client.embeddings.create(model="embed", input=["a cat", "a dog"])
    assert [len(one.embedding) for one in local.data] == [384, 384]
    floats = client.embeddings.create(model="embed", input="a cat", encoding_format="float")
    assert floats.data[0].embedding == pytest.approx(local.data[0].embedding, abs=1e-6)
    assert len(client.embeddings.create(model="m", input="x").data[0].embedding) == 16


def test_models(gateway):
    client = gateway.client()
    assert [one.id for one in client.models.list()] == ["m", "twice", "embed"]
    assert client.models.retrieve("m").id == "m"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nope")


def test_errors_are_the_sdks_own(gateway):
    client = gateway.client()
    for kind, call in [
        (openai.NotFoundError, lambda: ask(client, "x", model="nope")),
        (openai.AuthenticationError, lambda: ask(gateway.client(api_key="wrong"), "x")),
        (openai.PermissionDeniedError, lambda: ask(gateway.client(api_key="key-few"), "x")),
        (openai.BadRequestError, lambda: ask(client, "x", stream="maybe")),
        (openai.RateLimitError, lambda: ask(client, "[[mock status=429 retry-after=1]]")),
        (openai.InternalServerError, lambda: ask(client, "[[mock status=500]]")),
        (openai.InternalServerError, lambda: ask(client, "[[mock status=502 body=html]]")),
        (openai.InternalServerError, lambda: ask(client, "[[mock hangup=before]]")),
    ]:
        with pytest.raises(kind) as caught:
            call()
        assert caught.value.message
        if kind is openai.RateLimitError:
            # Nothing is sent to the target for as long as it said.
            time.sleep(1.1)


def test_a_stream_that_breaks_is_an_error(gateway):
    for how in ("hangup=mid", "truncate"):
        with pytest.raises(openai.APIError):
            for _ in ask(gateway.client(), f"[[mock {how} tokens=40 token-gap-ms=2]]", stream=True):
                pass


def requests_seen(mock):
    return json.load(urllib.request.urlopen(f"{mock}/mock/stats"))


def test_retries_are_not_multiplied(gateway, mock):
    client = gateway.client(max_retries=2)
    before = requests_seen(mock)["requests"]
    with pytest.raises(openai.InternalServerError):
        ask(client, "[[mock status=500]]", model="twice")
    # Two targets were tried here: the SDK is told not to try again.
    assert requests_seen(mock)["requests"] - before == 2


def test_a_client_that_gives_up_ends_the_upstream_call(gateway, mock):
    before = requests_seen(mock)["cancelled"]
    with pytest.raises(openai.APITimeoutError):
        ask(gateway.client(timeout=0.3), "[[mock latency-ms=20000]]")
    until = time.monotonic() + 5
    while requests_seen(mock)["cancelled"] == before:
        assert time.monotonic() < until
        time.sleep(0.02)
