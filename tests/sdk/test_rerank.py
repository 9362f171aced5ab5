"""Rerank: forwarded to providers that have it, and counted in the units in which they charge."""

import json
import urllib.error
import urllib.request

import pytest

from test_dialects import dialects, upstreams  # noqa: F401


def post(gateway, path, body, key="key-all"):
    url = gateway.url.removesuffix("/v1") + path
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    return urllib.request.urlopen(urllib.request.Request(url, body.encode(), headers))


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank"])
def test_it_crosses_byte_for_byte_and_is_counted(dialects, upstreams, path):
    body = '{ "query": "q", "documents": ["a", "bbb", "caf\\u00e9 x"], "model":"cohere", "top_n": 2, "unknown": 1.50 }'
    units = lambda: sum(
        float(line.split()[-1])
        for line in urllib.request.urlopen(f"{dialects.admin}/metrics").read().decode().splitlines()
        if line.startswith("ringside_search_units_total{") and 'gen_ai_request_model="cohere"' in line
    )
    before = units()
    with post(dialects, path, body) as answer:
        got, headers = json.load(answer), answer.headers
    assert upstreams["cohere"].last["raw"].decode() == body.replace('"cohere"', '"mock-cohere"')
    assert [one["index"] for one in got["results"]] == [2, 1]
    assert headers["x-ringside-target"] == "cohere/mock-cohere"
    assert units() == before + 2


def test_who_has_none_says_so_and_keys_are_checked(dialects):
    body = '{"query": "q", "documents": ["a"], "model": "MODEL"}'
    for model, key, status, code in [
        ("anthropic", "key-all", 400, "unsupported_operation"),
        ("bedrock", "key-all", 400, "unsupported_operation"),
        ("nope", "key-all", 404, "model_not_found"),
        ("cohere", "wrong", 401, "invalid_api_key"),
    ]:
        with pytest.raises(urllib.error.HTTPError) as caught:
            post(dialects, "/v2/rerank", body.replace("MODEL", model), key)
        assert (caught.value.code, json.load(caught.value)["error"]["code"]) == (status, code)
