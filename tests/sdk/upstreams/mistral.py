"""Mistral's API: chat, fill-in-the-middle, embeddings; strict about fields, as Mistral is."""

import json

from upstreams.server import Upstream, as_json

NAME = "mistral"
MODEL = "mock-mistral"
KNOWN = {
    "model", "messages", "temperature", "top_p", "max_tokens", "stream", "stop", "random_seed", "response_format", "tools", "tool_choice",
    "presence_penalty", "frequency_penalty", "n", "prediction", "parallel_tool_calls", "prompt_mode", "safe_prompt", "reasoning_effort",
    "metadata", "guardrails", "prompt_cache_key",
}
FIM = {"model", "prompt", "suffix", "temperature", "top_p", "max_tokens", "stream", "stop", "random_seed", "min_tokens", "metadata"}


def answer(path, headers, raw):
    if headers["authorization"] != "Bearer mistral-key":
        return as_json(401, {"detail": "Unauthorized"})
    body = json.loads(raw)
    if path == "/v1/embeddings":
        usage = {"prompt_tokens": 2, "total_tokens": 2, "completion_tokens": 0}
        vectors = [{"object": "embedding", "index": at, "embedding": [0.5, -0.25]} for at, _ in enumerate(body["input"])]
        return as_json(200, {"id": "e1", "object": "list", "model": body["model"], "data": vectors, "usage": usage})
    assert path in ("/v1/chat/completions", "/v1/fim/completions")
    extra = set(body) - (KNOWN if "chat" in path else FIM)
    if extra:
        detail = [{"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted", "input": body[name]} for name in extra]
        return as_json(422, {"object": "error", "message": {"detail": detail}, "type": "invalid_request_error", "param": None, "code": None})
    usage = {"prompt_tokens": 6, "completion_tokens": 4, "total_tokens": 10}
    said = '{"city": "Paris"}' if "response_format" in body else "answer-1 Paris"
    message, reason = {"role": "assistant", "content": said, "tool_calls": None}, "stop"
    if body.get("tools"):
        call = {"id": "D681PevKs", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}, "index": 0}
        message, reason = message | {"content": "", "tool_calls": [call]}, "tool_calls"
    base = {"id": "cmpl-1", "object": "chat.completion", "created": 1700000000, "model": body["model"]}
    if not body.get("stream"):
        return as_json(200, base | {"usage": usage, "choices": [{"index": 0, "message": message, "finish_reason": reason}]})
    # A call comes in one piece; usage comes unasked, with the last chunk.
    chunk = lambda delta, end=None: {"index": 0, "delta": delta, "finish_reason": end}
    pieces = [chunk({"role": "assistant", "content": ""})]
    if body.get("tools"):
        pieces.append(chunk({"content": "", "tool_calls": message["tool_calls"]}, reason))
    else:
        pieces += [chunk({"content": said[:8]}), chunk({"content": said[8:]}, reason)]
    chunks = [base | {"object": "chat.completion.chunk", "choices": [one]} for one in pieces]
    chunks[-1]["usage"] = usage
    return 200, {"content-type": "text/event-stream"}, [f"data: {json.dumps(one)}\n\n".encode() for one in chunks] + [b"data: [DONE]\n\n"]


def start():
    return Upstream(answer)
