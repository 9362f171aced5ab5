"""Gemini's streams without `alt=sse`, by plain HTTP: Google's SDKs ask for events, curl and others do not."""

import json
import urllib.request

import anthropic
import pytest
from anthropic.types import ModelInfo
from google.genai import types

from test_dialects import OTHERS, PROVIDERS, dialects, messages_client, typed, upstreams  # noqa: F401


@pytest.mark.parametrize("provider", [*PROVIDERS, *OTHERS])
@pytest.mark.parametrize("text", ["What is the capital of France?", "please call the tool"])
def test_an_array_holds_what_the_events_do(dialects, provider, text):
    base = dialects.url.removesuffix("/v1")
    body = {"contents": [{"role": "user", "parts": [{"text": text}]}], "generationConfig": {"maxOutputTokens": 100}}
    if "tool" in text:
        schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
        body["tools"] = [{"functionDeclarations": [{"name": "weather", "description": "w", "parametersJsonSchema": schema}]}]

    def ask(query):
        headers = {"content-type": "application/json", "x-goog-api-key": "key-all", "cache-control": "no-store, no-cache"}
        url = f"{base}/v1beta/models/{provider}:streamGenerateContent{query}"
        with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers)) as answer:
            return answer.headers["content-type"], answer.read().decode()

    kind, array = ask("")
    assert kind == "application/json; charset=UTF-8"
    elements = json.loads(array)
    for element in elements:
        types.GenerateContentResponse.model_validate(element)
    kind, events = ask("?alt=sse")
    assert kind.startswith("text/event-stream")
    events = [json.loads(line.removeprefix("data: ")) for line in events.splitlines() if line.startswith("data: ")]

    def said(answers):
        parts = [part for one in answers for part in one["candidates"][0].get("content", {}).get("parts", [])]
        calls = [(part["functionCall"]["name"], part["functionCall"]["args"]) for part in parts if "functionCall" in part]
        return "".join(part.get("text", "") for part in parts), calls, answers[-1]["usageMetadata"]

    assert said(elements) == said(events) and len(elements) == len(events)
    assert said(elements)[1 if "tool" in text else 0]


def test_anthropics_sdk_lists_models(dialects):
    client = messages_client(dialects)
    names = [typed(ModelInfo, one).id for one in client.models.list(limit=2)]
    assert names == [*PROVIDERS, *OTHERS, "dropping"]
    one = typed(ModelInfo, client.models.retrieve("bedrock"))
    assert (one.id, one.display_name, one.type) == ("bedrock", "bedrock", "model")
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("nope")
    assert {one.id for one in dialects.client().models.list()} == set(names)
