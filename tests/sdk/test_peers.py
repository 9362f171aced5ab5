"""The LiteLLM proxy as a provider, by its dialects of OpenAI, Anthropic and Gemini: wire formats that nobody here wrote.

Each client dialect is tested with each of them. The table in docs/providers.md lists what is supported;
`MATRIX=write` writes it.
"""

import os

import anthropic
import openai
import pytest
from google.genai import errors

from conftest import PEERS, Gateway, model, stop
from responses_client import ResponsesClient
from test_dialects import DIALECTS, MODES, PAGE, PIXEL, SCHEMA, AnthropicClient, GeminiClient, OpenAiClient, gemini_client, messages_client, typed

BASES = {"openai": "/v1", "anthropic": "", "gemini": "/v1beta"}
FEATURES = ["text", "tools", "errors"]
ASKED = {"text": "What is the capital of France?", "tools": "please call the tool"}
supported = set()


@pytest.fixture(scope="module", params=["io_uring", "epoll"])
def peers(request, litellm, tmp_path_factory):
    folder = tmp_path_factory.mktemp("peers")
    (folder / "all").write_text("key-all")
    config = "".join(
        f'[[providers]]\nname = "{name}"\ndialect = "{name}"\nbase_url = "{litellm}{base}"\napi_keys = ["file:peer"]\n'
        + "".join(model(f"{name}-{one}", name, one) for one in [*PEERS, "live"])
        for name, base in BASES.items()
    )
    gateway = Gateway(folder, request.param, config + '[[keys]]\nname = "all"\nsecret = "file:all"\n')
    yield gateway
    stop(gateway.process)


def ask(gateway, dialect, to, feature, mode):
    client = {"openai": OpenAiClient, "anthropic": AnthropicClient, "gemini": GeminiClient}.get(dialect)
    if client:
        return client(gateway).ask(to, feature, mode == "stream")[:5]
    return ResponsesClient(gateway, typed).ask(to, feature, mode == "stream", PIXEL, SCHEMA)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("feature", ["text", "tools"])
@pytest.mark.parametrize("provider", BASES)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_answers(peers, dialect, provider, feature, mode):
    text, calls, end, prompt, completion = ask(peers, dialect, f"{provider}-live", feature, mode)
    if feature == "tools":
        assert (calls, end) == ([("weather", {"city": "Paris"})], "tools")
    else:
        assert (calls, end) == ([], "end") and "Paris" in text
    # The proxy's Gemini dialect reports a usage of zero in streams.
    expected = (0, 0) if (provider, mode) == ("gemini", "stream") else (len(ASKED[feature].split()), 7)
    assert (prompt, completion) == expected
    supported.add((dialect, provider, feature, mode))


@pytest.mark.parametrize("provider", BASES)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_the_proxy_makes_up(peers, dialect, provider):
    text, calls, end, prompt, completion = ask(peers, dialect, f"{provider}-peer", "text", "whole")
    assert (text, calls, end) == ("An answer from the peer.", [], "end")
    assert prompt > 0 and completion > 0
    if provider == "openai":
        # Its calls come with `finish_reason` `stop`, which stays as it is where nothing is translated.
        _, calls, end, *_ = ask(peers, dialect, "openai-calling", "tools", "whole")
        assert (calls, end) == ([("weather", {"city": "Paris"})], "end" if dialect == "openai" else "tools")


def raises(gateway, dialect, to, content):
    """Status of the error that the dialect's SDK raises."""
    asks = {
        "openai": lambda: gateway.client().chat.completions.create(model=to, messages=[{"role": "user", "content": content}]),
        "anthropic": lambda: messages_client(gateway).messages.create(
            model=to, max_tokens=9, messages=[{"role": "user", "content": content}]),
        "responses": lambda: gateway.client().responses.create(model=to, input=content),
        "gemini": lambda: gemini_client(gateway).models.generate_content(model=to, contents=content),
    }
    with pytest.raises((openai.APIStatusError, anthropic.APIStatusError, errors.APIError)) as caught:
        asks[dialect]()
    error = caught.value
    assert "mock" in str(error) or "rate" in str(error), error
    return error.code if dialect == "gemini" else error.status_code


@pytest.mark.parametrize("provider", BASES)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_errors(peers, dialect, provider):
    # The proxy's Gemini dialect makes up no errors; the mock's come through it.
    for status in (400, 500):
        assert raises(peers, dialect, f"{provider}-live", f"[[mock status={status}]]") == status
    if provider != "gemini":
        for to, status in [("broken", 500), ("short", 400), ("limited", 429)]:
            assert raises(peers, dialect, f"{provider}-{to}", "x") == status
    supported.add((dialect, provider, "errors", "whole"))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_whole_answer_to_a_stream_is_not_an_empty_stream(peers, dialect):
    # The proxy's Anthropic dialect responds with a whole body instead of a stream. Without translation, the client gets it unchanged.
    if dialect == "anthropic":
        turns = [{"role": "user", "content": "x"}]
        raw = messages_client(peers).messages.with_raw_response.create(
            model="anthropic-peer", max_tokens=9, stream=True, messages=turns)
        assert raw.headers["content-type"] == "application/json"
        return
    with pytest.raises((openai.APIStatusError, errors.APIError), match="request for a stream") as caught:
        ask(peers, dialect, "anthropic-peer", "text", "stream")
    assert (caught.value.code if dialect == "gemini" else caught.value.status_code) == 502


def test_the_page_shows_what_is_supported():
    rows = ["| client dialect | LiteLLM's API | " + " | ".join(FEATURES) + " |", "|---" * (2 + len(FEATURES)) + "|"]
    for dialect in DIALECTS:
        for provider in BASES:
            cells = [", ".join(mode for mode in MODES if (dialect, provider, feature, mode) in supported) or "no" for feature in FEATURES]
            rows.append(f"| {dialect} | {provider} | " + " | ".join(cells) + " |")
    before, rest = PAGE.read_text().split("<!-- peers -->\n")[0], PAGE.read_text().split("<!-- peers end -->")[1]
    page = f"{before}<!-- peers -->\n" + "\n".join(rows) + f"\n<!-- peers end -->{rest}"
    if os.environ.get("MATRIX") == "write":
        PAGE.write_text(page)
    assert PAGE.read_text() == page
