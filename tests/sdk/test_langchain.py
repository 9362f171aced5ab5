"""LangChain's chat models over each provider dialect. The table in docs/providers.md lists what passes; `MATRIX=write` writes it."""

import os

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

from test_dialects import MODES, OTHERS, PAGE, PIXEL, PROVIDERS, SCHEMA, check, dialects, seen, upstreams  # noqa: F401

FRESH = {"cache-control": "no-store, no-cache"}
CLIENTS = {
    "ChatOpenAI": lambda gateway, to: ChatOpenAI(
        model=to, base_url=gateway.url, api_key="key-all", max_retries=0, timeout=60, default_headers=FRESH, stream_usage=True),
    "ChatOpenAI, Responses": lambda gateway, to: ChatOpenAI(
        model=to, base_url=gateway.url, api_key="key-all", max_retries=0, timeout=60, default_headers=FRESH, use_responses_api=True),
    "ChatAnthropic": lambda gateway, to: ChatAnthropic(
        model=to, base_url=gateway.url.removesuffix("/v1"), api_key="key-all", max_retries=0, timeout=60, max_tokens=100,
        default_headers=FRESH),
}
FEATURES = ["text", "tools", "image"]
STRUCTURED = "structured output"
supported = set()


class weather(BaseModel):
    """Looks out of the window."""

    city: str


def ask(chat, feature, mode):
    """The whole message, put together by LangChain if it came in pieces."""
    content = "What is the capital of France?" if feature != "tools" else "please call the tool"
    if feature == "image":
        content = [{"type": "text", "text": content}, {"type": "image", "base64": PIXEL, "mime_type": "image/png"}]
    turns = [SystemMessage("Be brief."), HumanMessage(content)] if feature == "text" else [HumanMessage(content)]
    if feature == "tools":
        chat = chat.bind_tools([weather])
    if mode == "whole":
        return chat.invoke(turns)
    pieces = list(chat.stream(turns))
    assert len(pieces) > 1
    message = pieces[0]
    for piece in pieces[1:]:
        message += piece
    return message


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("provider", [*PROVIDERS, *OTHERS])
@pytest.mark.parametrize("client", CLIENTS)
def test_messages(dialects, mock, upstreams, client, provider, feature, mode):
    chat = CLIENTS[client](dialects, provider)
    message = ask(chat, feature, mode)
    assert isinstance(message, AIMessage)
    usage = message.usage_metadata
    assert usage["output_tokens"] > 0 and usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    if feature == "tools":
        call = message.tool_calls[0]
        assert [(one["name"], one["args"]) for one in message.tool_calls] == [("weather", {"city": "Paris"})]
        assert not message.invalid_tool_calls
        # The call and its result go back and are understood.
        turns = [HumanMessage("What is the capital of France?"), message, ToolMessage("sun", tool_call_id=call["id"], name="weather")]
        assert chat.invoke(turns).text.startswith("answer-")
        sent = str(seen(mock) if provider in PROVIDERS else upstreams[provider].last["body"])
        assert "sun" in sent and "Paris" in sent
    else:
        assert message.text.startswith("answer-") and not message.tool_calls
        if provider in OTHERS:
            OTHERS[provider].check(feature, upstreams[provider].last, PIXEL, SCHEMA)
        else:
            check(provider, feature, seen(mock))
    supported.add((client, provider, feature, mode))


@pytest.mark.parametrize("provider", [*PROVIDERS, *OTHERS])
@pytest.mark.parametrize("client", CLIENTS)
def test_structured_output(dialects, client, provider):
    chat = CLIENTS[client](dialects, provider)
    # By a tool that must be called, and where the upstream answers in JSON, by a schema.
    forced, wanted = chat.with_structured_output(weather, method="function_calling"), weather(city="Paris")
    assert forced.invoke("please call the tool") == wanted
    assert list(forced.stream("please call the tool"))[-1] == wanted
    if provider in OTHERS:
        by_schema = chat.with_structured_output(weather, method="json_schema")
        assert by_schema.invoke("Where?") == wanted
        assert list(by_schema.stream("Where?"))[-1] == wanted
    supported.update((client, provider, STRUCTURED, mode) for mode in MODES)


def test_the_page_shows_what_is_supported():
    features = [*FEATURES, STRUCTURED]
    rows = ["| client | provider dialect | " + " | ".join(features) + " |", "|---" * (2 + len(features)) + "|"]
    for client in CLIENTS:
        for provider in [*PROVIDERS, *OTHERS]:
            cells = [", ".join(mode for mode in MODES if (client, provider, feature, mode) in supported) or "no" for feature in features]
            rows.append(f"| {client} | {provider} | " + " | ".join(cells) + " |")
    before, rest = PAGE.read_text().split("<!-- langchain -->\n")[0], PAGE.read_text().split("<!-- langchain end -->")[1]
    page = f"{before}<!-- langchain -->\n" + "\n".join(rows) + f"\n<!-- langchain end -->{rest}"
    if os.environ.get("MATRIX") == "write":
        PAGE.write_text(page)
    assert PAGE.read_text() == page
