"""Responses beside the matrix: what is passed on as it came, what is refused, what breaks."""

import json
import urllib.request

import openai
import pydantic
import pytest

from conftest import Gateway, model, stop
from test_dialects import dialects, seen, typed, upstreams  # noqa: F401
from upstreams import responses


@pytest.fixture(scope="module")
def passing(tmp_path_factory):
    """A provider of OpenAI's dialect that takes Responses as they are."""
    folder = tmp_path_factory.mktemp("passing")
    upstream = responses.start()
    config = (
        '[[providers]]\nname = "up"\nresponses = "pass"\n' + responses.config(upstream.url, folder)
        + model("m", "up", responses.MODEL)
    )
    gateway = Gateway(folder, "epoll", config)
    yield gateway, upstream
    stop(gateway.process)
    upstream.stop()


def test_the_own_dialect_crosses_byte_for_byte(passing):
    gateway, upstream = passing
    body = '{ "input" : "caf\\u00e9" ,"model":"m",  "store":true, "tools_of_tomorrow": [1.50], "stream":false}'
    request = urllib.request.Request(f"{gateway.url}/responses", body.encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        raw, headers = answer.read(), answer.headers
    assert upstream.last["raw"].decode() == body.replace('"m"', f'"{responses.MODEL}"')
    expected = responses.answer("/v1/responses", {"authorization": "Bearer sk-responses"}, upstream.last["raw"])[2]
    assert raw == expected
    assert (headers["x-ringside-cache"], headers["x-ringside-cache-why"]) == ("bypass", "responses")


def test_a_stream_of_the_own_dialect_is_untouched(passing):
    gateway, upstream = passing
    asked = {"model": "m", "input": "What is the capital of France?", "stream": True}
    request = urllib.request.Request(
        f"{gateway.url}/responses", json.dumps(asked).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        raw = answer.read()
    expected = responses.answer("/v1/responses", {"authorization": "Bearer sk-responses"}, upstream.last["raw"])[2]
    assert raw == b"".join(expected)


def test_parsed_into_a_type(dialects):
    class City(pydantic.BaseModel):
        city: str

    answer = dialects.client().responses.parse(model="bedrock", input="Where?", text_format=City)
    assert answer.output_parsed == City(city="Paris")


def test_what_needs_state_is_refused_by_name(dialects):
    create = dialects.client().responses.create
    for more in ({"previous_response_id": "resp_1"}, {"background": True}, {"conversation": "conv_1"}):
        with pytest.raises(openai.BadRequestError) as caught:
            create(model="openai", input="x", **more)
        assert (caught.value.code, caught.value.param) == ("no_state", next(iter(more)))
    with pytest.raises(openai.NotFoundError):
        dialects.client().responses.retrieve("resp_1")
    with pytest.raises(openai.BadRequestError) as caught:
        create(model="bedrock", input="x", tools=[{"type": "web_search"}])
    assert (caught.value.code, caught.value.param) == ("untranslatable", "tools[0]")


def test_a_turn_with_a_tool_goes_back_as_it_came(dialects, upstreams):
    client = dialects.client()
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
    tools = [{"type": "function", "name": "weather", "parameters": schema, "strict": True}]
    first = client.responses.create(model="bedrock", input="please call the tool", tools=tools)
    call = first.output[0]
    turns = [{"role": "user", "content": "please call the tool"}, *first.output]
    turns.append({"type": "function_call_output", "call_id": call.call_id, "output": "sun"})
    client.responses.create(model="bedrock", input=turns, tools=tools)
    said = upstreams["bedrock"].last["body"]["messages"]
    assert [turn["role"] for turn in said] == ["user", "assistant", "user"]
    assert said[1]["content"] == [{"toolUse": {"toolUseId": "tooluse_1", "name": "weather", "input": {"city": "Paris"}}}]
    assert said[2]["content"] == [{"toolResult": {"toolUseId": "tooluse_1", "content": [{"text": "sun"}]}}]


@pytest.mark.parametrize("how", ["exception", "corrupt", "truncate"])
def test_a_stream_of_bedrock_that_breaks_is_an_error(dialects, how):
    client = dialects.client()
    with pytest.raises(openai.APIError):
        for _ in client.responses.create(model="bedrock", input=how, stream=True):
            pass
    with pytest.raises(openai.APIError):
        for _ in client.chat.completions.create(model="bedrock", messages=[{"role": "user", "content": how}], stream=True):
            pass


def test_errors_of_bedrock_keep_their_kind(dialects):
    create = dialects.client().chat.completions.create
    for status, kind, error in [
        (400, "ValidationException", openai.BadRequestError),
        (429, "ThrottlingException", openai.RateLimitError),
        (500, "InternalServerException", openai.InternalServerError),
    ]:
        with pytest.raises(error) as caught:
            create(model="bedrock", messages=[{"role": "user", "content": f"status={status}"}])
        assert caught.value.body["metadata"]["provider_error"] == kind
