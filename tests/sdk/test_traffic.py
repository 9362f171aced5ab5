"""Traffic through Ringside, every answer compared with a direct call."""

import concurrent.futures
import json
import os
import pathlib

import openai
import pytest

from conftest import PEER_KEY, ROOT, Gateway, model, provider, stop

DATA = pathlib.Path(os.environ.get("RINGSIDE_DATA", ROOT.parent / "shared" / "data")) / "stream.jsonl"
REQUESTS = 2000
PEER = 'api_keys = ["file:peer"]\n'


def content(client, name, question, streams):
    messages = [{"role": "user", "content": question}]
    if not streams:
        raw = client.chat.completions.with_raw_response.create(model=name, messages=messages)
        return raw.headers.get("x-ringside-cache"), raw.parse().choices[0].message.content
    raw = client.chat.completions.with_raw_response.create(model=name, messages=messages, stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in raw.parse() if chunk.choices)
    return raw.headers.get("x-ringside-cache"), text


@pytest.mark.parametrize("driver", ["io_uring", "epoll"])
def test_a_stream_of_questions(driver, mock, tmp_path):
    if not DATA.exists():
        pytest.skip(f"{DATA} is absent: {REQUESTS} requests of recorded traffic were not replayed")
    lines = DATA.read_text().splitlines()[:REQUESTS]
    questions = [json.loads(line)["query"] for line in lines]
    gateway = Gateway(tmp_path, driver, provider("mock", mock) + model("m", "mock", "mock-model"))
    try:
        through, direct = gateway.client(), openai.OpenAI(base_url=f"{mock}/v1", api_key="none")
        expected = {}
        outcomes = {}

        def one(at):
            question = questions[at]
            try:
                cache, text = content(through, "m", question, at % 2 == 1)
            except openai.APIConnectionError as error:
                ended = gateway.process.poll()
                raise AssertionError(f"request {at}: {error.__cause__!r}; the gateway's exit code: {ended}")
            return question, cache, text

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for question in set(questions):
                expected[question] = pool.submit(content, direct, "m", question, False)
            expected = {question: future.result()[1] for question, future in expected.items()}
            for question, cache, text in pool.map(one, range(len(questions))):
                assert text == expected[question], question
                outcomes[cache] = outcomes.get(cache, 0) + 1
        print(f"{driver}: {len(questions)} requests, {outcomes}")
        repeats = len(questions) - len(set(questions))
        assert set(outcomes) <= {"miss", "exact", "coalesced"}, outcomes
        # A repeat is a hit unless the first request of the question was still in flight.
        assert outcomes.get("exact", 0) >= repeats * 0.5
    finally:
        stop(gateway.process)


@pytest.mark.parametrize("driver", ["io_uring", "epoll"])
def test_the_litellm_proxy_as_an_upstream(driver, litellm, tmp_path):
    gateway = Gateway(tmp_path, driver, provider("litellm", litellm, PEER) + model("m", "litellm", "peer"))
    try:
        direct = openai.OpenAI(base_url=f"{litellm}/v1", api_key=PEER_KEY)
        through = gateway.client(api_key="none")
        for streams in (False, True):
            _, wanted = content(direct, "peer", "hello", streams)
            assert wanted == "An answer from the peer."
            for at in range(5):
                cache, text = content(through, "m", f"hello {at} {streams}", streams)
                assert (cache, text) == ("miss", wanted)
                cache, text = content(through, "m", f"hello {at} {streams}", not streams)
                assert (cache, text) == ("exact", wanted)
        with pytest.raises(openai.APIStatusError):
            gateway2 = Gateway(tmp_path, driver, provider("litellm", litellm, PEER) + model("m", "litellm", "unknown-model"))
            try:
                content(gateway2.client(api_key="none"), "m", "x", False)
            finally:
                stop(gateway2.process)
    finally:
        stop(gateway.process)
