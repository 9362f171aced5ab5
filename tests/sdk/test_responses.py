"""The Responses API beside the matrix: fields that are forwarded unchanged, stored responses, refusals, broken streams."""

import json
import re
import urllib.request

import openai
import pydantic
import pytest

from conftest import Gateway, model, stop
from test_dialects import dialects, seen, typed, upstreams  # noqa: F401
from upstreams import keeping, responses


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
    # The provider keeps the answer, so that its id is sealed; nothing else is altered.
    sealed = json.loads(raw)["id"]
    assert re.fullmatch("resp_mock1_[0-9a-f]{32}", sealed)
    assert raw == expected.replace(b'"resp_mock1"', f'"{sealed}"'.encode())
    assert (headers["x-ringside-cache"], headers["x-ringside-cache-reason"]) == ("bypass", "responses")


def test_a_stream_of_the_own_dialect_is_untouched(passing):
    gateway, upstream = passing
    sent = {"model": "m", "input": "What is the capital of France?", "stream": True, "store": False}
    request = urllib.request.Request(
        f"{gateway.url}/responses", json.dumps(sent).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        raw = answer.read()
    expected = responses.answer("/v1/responses", {"authorization": "Bearer sk-responses"}, upstream.last["raw"])[2]
    assert raw == b"".join(expected)


@pytest.fixture(scope="module", params=["io_uring", "epoll"])
def stored(request, tmp_path_factory):
    """A provider that keeps answers, with two API keys, behind a gateway with two tenants."""
    folder = tmp_path_factory.mktemp("stored")
    upstream = keeping.start()
    for name in ("one", "two", "a", "b"):
        (folder / name).write_text(f"sk-{name}")
    config = (
        f'[[providers]]\nname = "up"\nresponses = "pass"\nbase_url = "{upstream.url}/v1"\n'
        'api_keys = ["file:one", "file:two"]\n' + model("m", "up", "mock")
        + '[[keys]]\nname = "a"\nsecret = "file:a"\n[[keys]]\nname = "b"\nsecret = "file:b"\n'
    )
    gateway = Gateway(folder, request.param, config)
    yield gateway.client(api_key="sk-a"), gateway.client(api_key="sk-b")
    stop(gateway.process)
    upstream.stop()


def test_a_conversation_continues_from_stored_responses(stored):
    client, other = stored
    first = client.responses.create(model="m", input="one")
    for turn in range(4):
        said = client.responses.create(model="m", input=f"turn {turn}", previous_response_id=first.id)
        assert said.previous_response_id == first.id and said.output_text.endswith(f"turn {turn}")
        first = typed(type(said), said)
    assert first.output_text == "one, turn 0, turn 1, turn 2, turn 3"
    with pytest.raises(openai.BadRequestError) as caught:
        other.responses.create(model="m", input="x", previous_response_id=first.id)
    assert (caught.value.code, caught.value.param) == ("previous_response_not_found", "previous_response_id")


def test_a_stream_continues_a_response_and_can_be_continued(stored):
    client, _ = stored
    first = client.responses.create(model="m", input="one")
    with client.responses.stream(model="m", input="two", previous_response_id=first.id) as stream:
        ids = {event.response.id for event in stream if hasattr(event, "response")}
        final = stream.get_final_response()
    assert ids == {final.id} and final.previous_response_id == first.id
    third = client.responses.create(model="m", input="three", previous_response_id=final.id)
    assert third.output_text == "one, two, three"


def test_stored_responses_are_retrieved_listed_and_deleted(stored):
    client, other = stored
    made = client.responses.create(model="m", input="hello")
    assert client.responses.retrieve(made.id) == made
    items = client.responses.input_items.list(made.id)
    assert [item.content[0].text for item in items] == ["hello"]
    for call in (other.responses.retrieve, other.responses.delete, other.responses.cancel, other.responses.input_items.list):
        with pytest.raises(openai.NotFoundError) as caught:
            call(made.id)
        assert caught.value.code == "response_not_found"
    client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError) as caught:
        client.responses.retrieve(made.id)
    assert made.id in caught.value.message


def test_a_background_response_is_polled_streamed_and_cancelled(stored):
    client, _ = stored
    run = client.responses.create(model="m", input="slowly", background=True)
    states = [run.status]
    while run.status in ("queued", "in_progress"):
        run = client.responses.retrieve(run.id)
        states.append(run.status)
    assert states == ["queued", "in_progress", "completed"] and run.output_text == "slowly"
    events = list(client.responses.retrieve(run.id, stream=True, starting_after=0))
    assert events[0].sequence_number == 1 and events[-1].response == run
    second = client.responses.create(model="m", input="never", background=True)
    assert client.responses.cancel(second.id).status == "cancelled"


def test_parsed_into_a_type(dialects):
    class City(pydantic.BaseModel):
        city: str

    answer = dialects.client().responses.parse(model="bedrock", input="Where?", text_format=City)
    assert answer.output_parsed == City(city="Paris")


def test_requests_that_need_storage_are_refused_by_field(dialects):
    create = dialects.client().responses.create
    for more in ({"previous_response_id": "resp_1"}, {"background": True}, {"conversation": "conv_1"}):
        with pytest.raises(openai.BadRequestError) as caught:
            create(model="openai", input="x", **more)
        assert (caught.value.code, caught.value.param) == ("stateful_not_supported", next(iter(more)))
    with pytest.raises(openai.NotFoundError):
        dialects.client().responses.retrieve("resp_1")
    with pytest.raises(openai.BadRequestError) as caught:
        create(model="bedrock", input="x", tools=[{"type": "web_search"}])
    assert (caught.value.code, caught.value.param) == ("unsupported_fields", "tools[0]")


def test_a_tool_call_and_its_result_reach_the_provider_unchanged(dialects, upstreams):
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
