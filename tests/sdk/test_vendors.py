"""Clients of single vendors: Cohere's and Mistral's official SDKs, by the dialects that Ringside has and past them."""

import json

import cohere
import pytest
from cohere.core.api_error import ApiError
from mistralai.client import Mistral, errors, models

from conftest import Gateway, model, stop
from test_dialects import SCHEMA, typed
from upstreams import cohere as cohere_api
from upstreams import mistral as mistral_api


@pytest.fixture(scope="module")
def vendors():
    started = {"cohere": cohere_api.start(), "mistral": mistral_api.start()}
    yield started
    for one in started.values():
        one.stop()


@pytest.fixture(scope="module", params=["io_uring", "epoll"])
def gateway(request, vendors, mock, tmp_path_factory):
    folder = tmp_path_factory.mktemp("vendors")
    for name, key in [("all", "key-all"), ("cohere", "co-key"), ("mistral", "mistral-key")]:
        (folder / name).write_text(key)
    config = (
        f'[[providers]]\nname = "cohere"\ndialect = "cohere"\nbase_url = "{vendors["cohere"].url}"\napi_keys = ["file:cohere"]\n'
        f'[[providers]]\nname = "mistral"\nkind = "mistral"\nbase_url = "{vendors["mistral"].url}/v1"\napi_keys = ["file:mistral"]\n'
        # The SDK's paths have the version, and `/providers/{name}/…` adds nothing.
        f'[[providers]]\nname = "bare"\nkind = "mistral"\nbase_url = "{vendors["mistral"].url}"\napi_keys = ["file:mistral"]\n'
        f'[[providers]]\nname = "anthropic"\ndialect = "anthropic"\nbase_url = "{mock}"\n'
        + model("rerank", "cohere", cohere_api.MODEL) + model("mistral-large", "mistral", mistral_api.MODEL) + model("claude", "anthropic", "x")
        + '[[keys]]\nname = "all"\nsecret = "file:all"\nproviders = ["cohere", "bare"]\n'
    )
    gateway = Gateway(folder, request.param, config)
    yield gateway
    stop(gateway.process)


def root(gateway, name=None):
    return gateway.url.removesuffix("/v1") + (f"/providers/{name}" if name else "")


def cohere_client(gateway, name=None, key="key-all"):
    return cohere.ClientV2(api_key=key, base_url=root(gateway, name), max_retries=0, log_warning_experimental_features=False)


def mistral_client(gateway, name=None, key="key-all"):
    return Mistral(api_key=key, server_url=root(gateway, name), timeout_ms=60_000)


def test_coheres_rerank(gateway, vendors):
    answer = cohere_client(gateway).rerank(model="rerank", query="q", documents=["a", "bbb", "cc"], top_n=2)
    assert [(one.index, one.relevance_score) for one in typed(type(answer), answer).results] == [(1, 1.0), (2, 0.5)]
    assert answer.meta.billed_units.search_units == 2
    assert vendors["cohere"].last["body"]["model"] == cohere_api.MODEL
    for client, name, status in [(cohere_client(gateway), "nope", 404), (cohere_client(gateway, key="wrong"), "rerank", 401)]:
        with pytest.raises(ApiError) as caught:
            client.rerank(model=name, query="q", documents=["a"])
        assert caught.value.status_code == status and caught.value.body


def test_coheres_chat_past_the_translation(gateway, vendors):
    client = cohere_client(gateway, "cohere")
    sent = dict(model=cohere_api.MODEL, messages=[{"role": "user", "content": "What is the capital of France?"}])
    whole = client.chat(**sent)
    assert whole.message.content[0].text == "answer-1 Paris" and whole.usage.tokens.output_tokens == 9
    pieces = [event.delta.message.content.text for event in client.chat_stream(**sent) if event.type == "content-delta"]
    assert "".join(pieces) == "answer-1 Paris"
    tool = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
    call = client.chat(**sent, tools=[tool]).message.tool_calls[0]
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Paris"})
    assert vendors["cohere"].last["headers"]["authorization"] == "Bearer co-key"


def chat_request(name, **more):
    fresh = {"cache-control": "no-store, no-cache"}
    return dict(model=name, messages=[{"role": "user", "content": "please call the tool"}], http_headers=fresh, **more)


TOOL = {"type": "function", "function": {"name": "weather", "description": "w", "parameters": SCHEMA}}
# Mistral's own fields are none of the other dialects'.
OWN = {"mistral-large": dict(random_seed=7, safe_prompt=True), "claude": {}}


@pytest.mark.parametrize("name", OWN)
def test_mistrals_chat(gateway, vendors, name):
    client = mistral_client(gateway)
    answer = typed(models.ChatCompletionResponse, client.chat.complete(**chat_request(name, max_tokens=50, **OWN[name])))
    text = answer.choices[0].message.content
    assert text.startswith("answer-") and answer.choices[0].finish_reason == "stop" and answer.usage.total_tokens > 0
    events = [typed(models.CompletionEvent, event) for event in client.chat.stream(**chat_request(name, max_tokens=50, **OWN[name]))]
    assert "".join(event.data.choices[0].delta.content or "" for event in events if event.data.choices) == text
    # In OpenAI's dialect who does not ask for usage in a stream gets none, and this SDK cannot ask. Mistral tells it unasked.
    assert [event.data.usage.total_tokens for event in events if event.data.usage] == ([10] if name == "mistral-large" else [])
    if name == "mistral-large":
        sent = vendors["mistral"].last["body"]
        assert (sent["random_seed"], sent["safe_prompt"], sent["model"]) == (7, True, mistral_api.MODEL) and "stream_options" not in sent


@pytest.mark.parametrize("name", OWN)
def test_mistrals_tools(gateway, name):
    client = mistral_client(gateway)
    answer = typed(models.ChatCompletionResponse, client.chat.complete(**chat_request(name, tools=[TOOL])))
    assert answer.choices[0].finish_reason == "tool_calls"
    call = answer.choices[0].message.tool_calls[0]
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Paris"})
    streamed = lambda: [typed(models.CompletionEvent, event) for event in client.chat.stream(**chat_request(name, tools=[TOOL]))]
    if name == "claude":
        # OpenAI's pieces of a call name the function once; this SDK's type demands the name in each, as Mistral sends it.
        with pytest.raises(errors.ResponseValidationError, match="function.name"):
            streamed()
    else:
        pieces = [one for event in streamed() for one in event.data.choices[0].delta.tool_calls or []]
        assert [(one.function.name, json.loads(one.function.arguments)) for one in pieces] == [("weather", {"city": "Paris"})]
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "", "tool_calls": [call.model_dump()]},
             {"role": "tool", "name": "weather", "tool_call_id": call.id, "content": "sun"}]
    assert client.chat.complete(model=name, messages=turns).choices[0].message.content.startswith("answer-")


def test_mistrals_errors_and_own_endpoints(gateway, vendors):
    client = mistral_client(gateway)
    for one, name, status in [(client, "nope", 404), (mistral_client(gateway, key="wrong"), "mistral-large", 401)]:
        with pytest.raises(errors.SDKError) as caught:
            one.chat.complete(**chat_request(name))
        assert caught.value.status_code == status
    answer = client.embeddings.create(model="mistral-large", inputs=["a", "b"])
    assert [one.embedding for one in typed(models.EmbeddingResponse, answer).data] == [[0.5, -0.25]] * 2
    assert vendors["mistral"].last["body"]["model"] == mistral_api.MODEL
    # What Ringside has no path for goes by the provider's name.
    with pytest.raises(errors.SDKError) as caught:
        client.fim.complete(model="mistral-large", prompt="def f(", suffix="return a")
    assert caught.value.status_code == 404
    direct = mistral_client(gateway, "bare")
    filled = direct.fim.complete(model=mistral_api.MODEL, prompt="def f(", suffix="return a")
    assert typed(models.FIMCompletionResponse, filled).choices[0].message.content == "answer-1 Paris"
    streamed = direct.fim.stream(model=mistral_api.MODEL, prompt="def f(", suffix="return a")
    assert "".join(event.data.choices[0].delta.content or "" for event in streamed) == "answer-1 Paris"
