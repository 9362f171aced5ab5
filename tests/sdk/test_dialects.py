"""Each client dialect with each provider dialect, by the official SDKs: every answer must be one of
their typed models. The table in docs/providers.md lists what passes; `MATRIX=write` writes it."""

import base64
import json
import os
import urllib.request

import anthropic
import openai
import pytest
from anthropic.types import Message
from google import genai
from google.genai import errors, types
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from conftest import ROOT, Gateway, model, stop
from responses_client import ResponsesClient
from upstreams import bedrock, cohere, responses

DIALECTS = ["openai", "anthropic", "responses", "gemini"]
PROVIDERS = ["openai", "anthropic", "gemini"]
BASES = {"openai": "/v1", "anthropic": "/v1", "gemini": "/v1beta"}
# Dialects that the mock does not have, each with an upstream of its own.
OTHERS = {one.NAME: one for one in (bedrock, responses, cohere)}
FEATURES = ["text", "tools", "image", "JSON schema"]
MODES = ["whole", "stream"]
PAGE = ROOT / "docs" / "providers.md"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SCHEMA = {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False,
}
supported = set()
stored = []


@pytest.fixture(scope="module")
def upstreams():
    started = {name: one.start() for name, one in OTHERS.items()}
    yield started
    for one in started.values():
        one.stop()


@pytest.fixture(scope="module", params=["io_uring", "epoll"])
def dialects(request, mock, upstreams, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dialects")
    (folder / "all").write_text("key-all")
    config = "".join(
        f'[[providers]]\nname = "{name}"\ndialect = "{name}"\nbase_url = "{mock}{BASES[name]}"\napi_keys = ["file:all"]\n'
        + model(name, name, f"mock-{name}")
        for name in PROVIDERS
    )
    config += "".join(
        f'[[providers]]\nname = "{name}"\ndialect = "{name}"\n{one.config(upstreams[name].url, folder)}' + model(name, name, one.MODEL)
        for name, one in OTHERS.items()
    )
    config += (
        f'[[providers]]\nname = "dropping"\ndialect = "anthropic"\nbase_url = "{mock}"\nunsupported_fields = "drop"\n'
        + model("dropping", "dropping", "x") + '[[keys]]\nname = "all"\nsecret = "file:all"\n'
    )
    gateway = Gateway(folder, request.param, config)
    yield gateway
    stop(gateway.process)


def messages_client(gateway, **options):
    base = gateway.url.removesuffix("/v1")
    return anthropic.Anthropic(base_url=base, **{"api_key": "key-all", "max_retries": 0, "timeout": 60} | options)


def gemini_client(gateway, version=None, **options):
    base = gateway.url.removesuffix("/v1")
    headers = {"cache-control": "no-store, no-cache"}
    http = types.HttpOptions(base_url=base, api_version=version, timeout=60_000, headers=headers)
    client = genai.Client(**{"api_key": "key-all", "http_options": http} | options)
    # One that is collected closes its connections, though its parts are still in use.
    stored.append(client)
    return client


def seen(mock):
    """The body that the provider got last."""
    return json.loads(json.load(urllib.request.urlopen(f"{mock}/mock/stats"))["last_body"])


def typed(kind, value):
    """The SDK builds its models without checking; this checks."""
    kind.model_validate(value.model_dump(by_alias=True, warnings="error"), strict=False)
    return value


class OpenAiClient:
    def __init__(self, gateway):
        self.client = gateway.client()

    def ask(self, to, feature, streams):
        question, more = "What is the capital of France?", {}
        content = question
        if feature == "tools":
            content = "please call the tool"
            function = {"name": "weather", "description": "w", "parameters": SCHEMA}
            more["tools"] = [{"type": "function", "function": function}]
        if feature == "image":
            url = f"data:image/png;base64,{PIXEL}"
            content = [{"type": "text", "text": question}, {"type": "image_url", "image_url": {"url": url}}]
        if feature == "JSON schema":
            more["response_format"] = {"type": "json_schema", "json_schema": {"name": "c", "schema": SCHEMA, "strict": True}}
        sent = dict(model=to, messages=[{"role": "user", "content": content}], max_tokens=100, **more)
        headers = {"cache-control": "no-store, no-cache"}
        create = self.client.chat.completions.create
        if not streams:
            return self.whole(typed(ChatCompletion, create(**sent, extra_headers=headers)))
        sent |= {"stream": True, "stream_options": {"include_usage": True}}
        return self.joined([typed(ChatCompletionChunk, one) for one in create(**sent, extra_headers=headers)])

    def whole(self, answer):
        choice = answer.choices[0]
        calls = [(call.function.name, json.loads(call.function.arguments)) for call in choice.message.tool_calls or []]
        end = {"stop": "end", "tool_calls": "tools"}[choice.finish_reason]
        usage = answer.usage
        return choice.message.content or "", calls, end, usage.prompt_tokens, usage.completion_tokens, answer.model

    def joined(self, chunks):
        text, names, arguments, end = "", {}, {}, None
        for chunk in chunks:
            for choice in chunk.choices:
                text += choice.delta.content or ""
                end = choice.finish_reason or end
                for call in choice.delta.tool_calls or []:
                    names.setdefault(call.index, call.function.name)
                    arguments[call.index] = arguments.get(call.index, "") + (call.function.arguments or "")
        calls = [(names[at], json.loads(arguments[at])) for at in names]
        usage = chunks[-1].usage
        end = {"stop": "end", "tool_calls": "tools"}[end]
        return text, calls, end, usage.prompt_tokens, usage.completion_tokens, chunks[0].model


class AnthropicClient:
    def __init__(self, gateway):
        self.client = messages_client(gateway)

    def ask(self, to, feature, streams):
        question, more = "What is the capital of France?", {}
        content = question
        if feature == "tools":
            content = "please call the tool"
            more["tools"] = [{"name": "weather", "description": "w", "input_schema": SCHEMA}]
        if feature == "image":
            source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
            content = [{"type": "text", "text": question}, {"type": "image", "source": source}]
        if feature == "JSON schema":
            more["output_config"] = {"format": {"type": "json_schema", "schema": SCHEMA}}
        sent = dict(model=to, messages=[{"role": "user", "content": content}], max_tokens=100, **more)
        headers = {"cache-control": "no-store, no-cache"}
        if not streams:
            return self.read(typed(Message, self.client.messages.create(**sent, extra_headers=headers)))
        with self.client.messages.stream(**sent, extra_headers=headers) as stream:
            return self.read(typed(Message, stream.get_final_message()))

    def read(self, message):
        text = "".join(block.text for block in message.content if block.type == "text")
        calls = [(block.name, block.input) for block in message.content if block.type == "tool_use"]
        usage = message.usage
        total = usage.input_tokens + (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
        end = {"end_turn": "end", "tool_use": "tools"}[message.stop_reason]
        return text, calls, end, total, usage.output_tokens, message.model


class GeminiClient:
    def __init__(self, gateway):
        self.client = gemini_client(gateway)

    def ask(self, to, feature, streams):
        config, contents = {"max_output_tokens": 100}, ["What is the capital of France?"]
        if feature == "tools":
            contents = ["please call the tool"]
            function = types.FunctionDeclaration(name="weather", description="w", parameters_json_schema=SCHEMA)
            config["tools"] = [types.Tool(function_declarations=[function])]
        if feature == "image":
            contents.append(types.Part.from_bytes(data=base64.b64decode(PIXEL), mime_type="image/png"))
        if feature == "JSON schema":
            config |= {"response_mime_type": "application/json", "response_json_schema": SCHEMA}
        sent = dict(model=to, contents=contents, config=config)
        if not streams:
            return self.read([typed(types.GenerateContentResponse, self.client.models.generate_content(**sent))])
        stream = self.client.models.generate_content_stream(**sent)
        return self.read([typed(types.GenerateContentResponse, one) for one in stream])

    def read(self, answers):
        parts = [part for one in answers for part in one.candidates[0].content.parts or []]
        text = "".join(part.text or "" for part in parts)
        calls = [(part.function_call.name, part.function_call.args) for part in parts if part.function_call]
        usage, reason = answers[-1].usage_metadata, answers[-1].candidates[0].finish_reason
        assert reason == types.FinishReason.STOP
        completion = usage.candidates_token_count + (usage.thoughts_token_count or 0)
        assert usage.total_token_count == usage.prompt_token_count + completion
        return text, calls, "tools" if calls else "end", usage.prompt_token_count, completion, answers[0].model_version


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("provider", [*PROVIDERS, *OTHERS])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_matrix(dialects, mock, upstreams, dialect, provider, feature, mode):
    client = {"openai": OpenAiClient, "anthropic": AnthropicClient, "gemini": GeminiClient}.get(dialect)
    if client:
        text, calls, end, prompt, completion, by = client(dialects).ask(provider, feature, mode == "stream")
        assert provider in OTHERS or by == f"mock-{provider}"
    else:
        client = ResponsesClient(dialects, typed)
        text, calls, end, prompt, completion = client.ask(provider, feature, mode == "stream", PIXEL, SCHEMA)
    if feature == "tools":
        assert (calls, end) == ([("weather", {"city": "Paris"})], "tools")
    else:
        assert (calls, end) == ([], "end") and text.startswith("answer-")
    if feature == "text":
        assert "Paris" in text
    if provider in OTHERS:
        OTHERS[provider].check(feature, upstreams[provider].last, PIXEL, SCHEMA)
    else:
        check(provider, feature, seen(mock))
    # The upstreams count the words of the question; some add cached tokens.
    words = 0 if feature == "image" else len(("please call the tool" if feature == "tools" else "What is the capital of France?").split())
    cached = OTHERS[provider].CACHED if provider in OTHERS else {"openai": 0, "anthropic": 5, "gemini": 5}[provider]
    assert prompt == words + cached
    assert completion > 0
    supported.add((dialect, provider, feature, mode))


def check(provider, feature, body):
    """Asserts that the request expresses the feature."""
    # Google's dialect names it in the path.
    assert body.get("model") == (None if provider == "gemini" else f"mock-{provider}")
    if feature == "tools":
        tool = body["tools"][0]
        schemas = {
            "openai": lambda: tool["function"]["parameters"],
            "anthropic": lambda: tool["input_schema"],
            # Google's SDK writes the field in snake case, and it is forwarded unchanged.
            "gemini": lambda: tool["functionDeclarations"][0].get("parametersJsonSchema")
            or tool["functionDeclarations"][0]["parameters_json_schema"],
        }
        assert schemas[provider]() == SCHEMA
    if feature == "image":
        images = {
            "openai": lambda: body["messages"][0]["content"][1]["image_url"]["url"] == f"data:image/png;base64,{PIXEL}",
            "anthropic": lambda: body["messages"][0]["content"][1]["source"]
            == {"type": "base64", "media_type": "image/png", "data": PIXEL},
            "gemini": lambda: base64.urlsafe_b64decode(body["contents"][0]["parts"][1]["inlineData"]["data"].replace("+", "-").replace("/", "_"))
            == base64.b64decode(PIXEL),
        }
        assert images[provider]()
    if feature == "JSON schema":
        schemas = {
            "openai": lambda: body["response_format"]["json_schema"]["schema"],
            "anthropic": lambda: body["output_config"]["format"]["schema"],
            "gemini": lambda: body["generationConfig"]["responseJsonSchema"],
        }
        assert schemas[provider]() == SCHEMA


def test_tool_results_go_back(dialects, mock):
    tools = [{"name": "weather", "input_schema": SCHEMA}]
    turns = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rome"}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "sun"}]},
    ]
    messages_client(dialects).messages.create(model="openai", max_tokens=9, messages=turns, tools=tools)
    sent = seen(mock)["messages"]
    assert json.loads(sent[1]["tool_calls"][0]["function"]["arguments"]) == {"city": "Rome"}
    assert sent[2] == {"role": "tool", "tool_call_id": "toolu_1", "content": "sun"}


def test_the_cache_answers_in_the_callers_dialect(dialects):
    client = messages_client(dialects)
    for provider in PROVIDERS:
        sent = dict(model=provider, max_tokens=50, messages=[{"role": "user", "content": f"cache {provider} {dialects.url}"}])
        first = client.messages.with_raw_response.create(**sent)
        again = client.messages.with_raw_response.create(**sent)
        assert [one.headers["x-ringside-cache"] for one in (first, again)] == ["miss", "exact"]
        one, two = typed(Message, first.parse()), typed(Message, again.parse())
        assert one.content == two.content and two.stop_reason == "end_turn"
        with client.messages.stream(**sent) as stream:
            assert typed(Message, stream.get_final_message()).content[0].text == one.content[0].text
        chat = dialects.client().chat.completions.with_raw_response.create(**sent)
        assert chat.headers["x-ringside-cache"] == "miss"


def test_googles_sdk_sends_tool_results_schemas_and_thoughts(dialects, mock):
    def weather(city: str, days: int = 1) -> str:
        """Looks out of the window."""

    call = types.Part(function_call=types.FunctionCall(name="weather", args={"city": "Rome"}), thought_signature=b"seal")
    contents = [
        types.Content(role="user", parts=[types.Part(text="q")]),
        types.Content(role="model", parts=[call]),
        types.Content(role="user", parts=[types.Part.from_function_response(name="weather", response={"output": "sun"})]),
    ]
    off = types.AutomaticFunctionCallingConfig(disable=True)
    config = types.GenerateContentConfig(tools=[weather], automatic_function_calling=off, system_instruction="Be brief.")
    client = gemini_client(dialects)
    for provider in ("openai", "anthropic"):
        client.models.generate_content(model=provider, contents=contents, config=config)
        request = seen(mock)
        sent = json.dumps(request)
        assert "Be brief." in sent and "sun" in sent and sent.count('"call_1"') == 2
        tool = request["tools"][0]
        schema = tool["function"]["parameters"] if provider == "openai" else tool["input_schema"]
        assert schema["type"] == "object" and schema["properties"]["days"]["type"] == "integer"
    client.models.generate_content(model="gemini", contents=contents, config=config)
    assert seen(mock)["contents"][1]["parts"][0]["thoughtSignature"] == base64.urlsafe_b64encode(b"seal").decode()


def test_googles_sdk_and_the_gateways_own_answers(dialects):
    client = gemini_client(dialects)
    # Its default is `/v1/`, where the models are listed in OpenAI's form.
    beta = gemini_client(dialects, "v1beta")
    assert {"models/openai", "models/gemini"} <= {one.name for one in beta.models.list()}
    assert beta.models.get(model="gemini").name == "models/gemini"
    assert client.models.count_tokens(model="gemini", contents="three words here").total_tokens == 3
    with pytest.raises(errors.ClientError, match="counting of tokens") as caught:
        client.models.count_tokens(model="openai", contents="x")
    assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")
    with pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(model="nope", contents="x")
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")
    with pytest.raises(errors.ClientError) as caught:
        gemini_client(dialects, api_key="wrong").models.generate_content(model="gemini", contents="x")
    assert (caught.value.code, caught.value.status) == (401, "UNAUTHENTICATED")
    with pytest.raises(errors.ClientError, match="safetySettings"):
        strict = types.SafetySetting(category="HARM_CATEGORY_HARASSMENT", threshold="BLOCK_LOW_AND_ABOVE")
        client.models.generate_content(model="openai", contents="x", config={"safety_settings": [strict]})
    path = f"{dialects.url.removesuffix('/v1')}/v1beta/models/gemini:generateContent?key=key-all"
    body = json.dumps({"contents": [{"parts": [{"text": "a key in the query"}]}]}).encode()
    answer = urllib.request.urlopen(urllib.request.Request(path, body, {"content-type": "application/json"}))
    assert json.load(answer)["candidates"] and answer.headers["x-ringside-cache"] == "miss"
    dialects.wait_until_stored()
    again = urllib.request.urlopen(urllib.request.Request(path, body, {"content-type": "application/json"}))
    assert again.headers["x-ringside-cache"] == "exact"


def test_counting_tokens(dialects):
    client = messages_client(dialects)
    sent = dict(messages=[{"role": "user", "content": "three words here"}])
    assert client.messages.count_tokens(model="anthropic", **sent).input_tokens == 3
    with pytest.raises(anthropic.BadRequestError, match="counting of tokens"):
        client.messages.count_tokens(model="openai", **sent)


def test_what_has_no_place_is_refused_by_name_or_dropped_and_named(dialects, mock):
    sent = dict(messages=[{"role": "user", "content": "x"}], seed=7)
    client = dialects.client()
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="anthropic", **sent)
    assert caught.value.param == "seed" and caught.value.code == "unsupported_fields"
    raw = client.chat.completions.with_raw_response.create(model="dropping", **sent)
    assert raw.headers["x-ringside-dropped"] == "seed" and "seed" not in seen(mock)
    with pytest.raises(anthropic.BadRequestError, match="top_k"):
        messages_client(dialects).messages.create(model="openai", max_tokens=9, extra_body={"top_k": 3}, messages=sent["messages"])


@pytest.mark.parametrize("provider", PROVIDERS)
def test_errors_are_the_callers_own(dialects, provider):
    ask = lambda text: messages_client(dialects).messages.create(
        model=provider, max_tokens=9, messages=[{"role": "user", "content": text}])
    with pytest.raises(anthropic.BadRequestError):
        ask("[[mock status=400]]")
    with pytest.raises(anthropic.InternalServerError) as caught:
        ask("[[mock status=500]]")
    assert caught.value.body["type"] == "error" and caught.value.request_id
    with pytest.raises(openai.InternalServerError) as caught:
        dialects.client().chat.completions.create(
            model=provider, messages=[{"role": "user", "content": "[[mock status=500]]"}])
    assert caught.value.body["message"]
    with pytest.raises(anthropic.AuthenticationError):
        messages_client(dialects, api_key="wrong").messages.create(model=provider, max_tokens=9, messages=[{"role": "user", "content": "x"}])
    with pytest.raises(anthropic.NotFoundError):
        messages_client(dialects).messages.create(model="nope", max_tokens=9, messages=[{"role": "user", "content": "x"}])
    for status, kind in ((400, errors.ClientError), (500, errors.ServerError)):
        with pytest.raises(kind) as caught:
            gemini_client(dialects).models.generate_content(model=provider, contents=f"[[mock status={status}]]")
        assert caught.value.code == status


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("how", ["hangup=mid", "truncate", "error-event"])
def test_a_stream_that_breaks_is_an_error(dialects, provider, how):
    turns = [{"role": "user", "content": f"[[mock {how} tokens=40]]"}]
    with pytest.raises(anthropic.APIError):
        with messages_client(dialects).messages.stream(model=provider, max_tokens=9, messages=turns) as stream:
            stream.get_final_message()
    with pytest.raises(errors.APIError):
        for _ in gemini_client(dialects).models.generate_content_stream(model=provider, contents=turns[0]["content"]):
            pass
    with pytest.raises(openai.APIError):
        for _ in dialects.client().chat.completions.create(model=provider, messages=turns, stream=True):
            pass


def test_the_page_shows_what_is_supported():
    rows = ["| client dialect | provider dialect | " + " | ".join(FEATURES) + " |", "|---" * (2 + len(FEATURES)) + "|"]
    for dialect in DIALECTS:
        for provider in [*PROVIDERS, *OTHERS]:
            cells = [", ".join(mode for mode in MODES if (dialect, provider, feature, mode) in supported) or "no" for feature in FEATURES]
            rows.append(f"| {dialect} | {provider} | " + " | ".join(cells) + " |")
    table = "\n".join(rows)
    before, rest = PAGE.read_text().split("<!-- matrix -->\n")[0], PAGE.read_text().split("<!-- matrix end -->")[1]
    page = f"{before}<!-- matrix -->\n{table}\n<!-- matrix end -->{rest}"
    if os.environ.get("MATRIX") == "write":
        PAGE.write_text(page)
    assert PAGE.read_text() == page
