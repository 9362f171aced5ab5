"""Cohere's API v2: chat and rerank."""

import json

from upstreams.server import Upstream, as_json

NAME = "cohere"
MODEL = "mock-cohere"
CACHED = 0


def config(url, folder):
    (folder / "cohere-key").write_text("co-key")
    return f'base_url = "{url}/v2"\napi_keys = ["file:cohere-key"]\n'


def answer(path, headers, raw):
    if headers["authorization"] != "Bearer co-key":
        return as_json(401, {"id": "e", "message": "invalid api token"})
    body = json.loads(raw)
    if path == "/v2/rerank":
        return rerank(body)
    assert path == "/v2/chat" and isinstance(body["stream"], bool)
    content = body["messages"][-1]["content"]
    has_image = not isinstance(content, str)
    words = 0 if has_image else len(content.split())
    usage = {"billed_units": {"input_tokens": words, "output_tokens": 7}, "tokens": {"input_tokens": words + 70, "output_tokens": 9}}
    said = '{"city": "Paris"}' if content == "Where?" else "answer-1 Paris"
    calls = "tools" in body
    reason = "TOOL_CALL" if calls else "COMPLETE"
    call = {"id": "weather_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
    if not body["stream"]:
        message = {"role": "assistant"}
        message |= {"tool_plan": "I will look.", "tool_calls": [call]} if calls else {"content": [{"type": "text", "text": said}]}
        return as_json(200, {"id": "co-1", "finish_reason": reason, "message": message, "usage": usage})
    events = [("message-start", {"id": "co-2", "delta": {"message": {"role": "assistant", "content": [], "tool_calls": []}}})]
    inner = lambda **fields: {"index": 0, "delta": {"message": fields}}
    if calls:
        begun = call | {"function": {"name": "weather", "arguments": ""}}
        events += [("tool-plan-delta", {"delta": {"message": {"tool_plan": "I will look."}}}), ("tool-call-start", inner(tool_calls=begun))]
        events += [("tool-call-delta", inner(tool_calls={"function": {"arguments": piece}})) for piece in ('{"city":', ' "Paris"}')]
        events.append(("tool-call-end", {"index": 0}))
    else:
        events.append(("content-start", inner(content={"type": "text", "text": ""})))
        events += [("content-delta", inner(content={"text": piece})) for piece in (said[:8], said[8:12], said[12:])]
        events.append(("content-end", {"index": 0}))
    events.append(("message-end", {"delta": {"finish_reason": reason, "usage": usage}}))
    frames = [f"event: {name}\ndata: {json.dumps({'type': name, **fields})}\n\n".encode() for name, fields in events]
    return 200, {"content-type": "text/event-stream"}, frames


def rerank(body):
    assert body["model"] == MODEL
    ranked = sorted(range(len(body["documents"])), key=lambda at: -len(body["documents"][at]))
    results = [{"index": at, "relevance_score": 1 / (1 + nth)} for nth, at in enumerate(ranked[:body.get("top_n")])]
    return as_json(200, {"id": "rr-1", "results": results, "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 2}}})


def start():
    return Upstream(answer)


def check(feature, seen, image, schema):
    """Whether the request said what was meant."""
    body = seen["body"]
    assert body["model"] == MODEL
    if feature == "tools":
        assert body["tools"][0]["function"]["parameters"] == schema
    if feature == "image":
        assert body["messages"][0]["content"][1]["image_url"]["url"] == f"data:image/png;base64,{image}"
    if feature == "JSON schema":
        assert body["response_format"] == {"type": "json_object", "schema": schema}
