"""OpenAI's Responses, with the fields that its specification demands."""

import json

from upstreams.server import Upstream, as_json

NAME = "responses"
MODEL = "mock-responses"
CACHED = 0


def config(url, folder):
    (folder / "responses-key").write_text("sk-responses")
    return f'base_url = "{url}/v1"\napi_keys = ["file:responses-key"]\n'


def parts_of(body):
    given = body["input"]
    # The result of a tool has no content.
    content = given if isinstance(given, str) else given[-1].get("content", given[-1].get("output"))
    return [{"type": "input_text", "text": content}] if isinstance(content, str) else content


def response(body, output, status, usage):
    return {
        "id": "resp_mock1", "object": "response", "created_at": 1700000000, "status": status, "error": None,
        "incomplete_details": None, "instructions": None, "model": body["model"], "output": output,
        "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "store": False, "usage": usage,
        "metadata": {"stored": "as it is"}, "text": body.get("text", {"format": {"type": "text"}}),
    }


def answer(path, headers, raw):
    if path != "/v1/responses" or headers["authorization"] != "Bearer sk-responses":
        return as_json(401, {"error": {"message": "no", "type": "invalid_request_error", "param": None, "code": "invalid_api_key"}})
    body = json.loads(raw)
    parts = parts_of(body)
    words = 0 if any(part["type"] == "input_image" for part in parts) else len(parts[0]["text"].split())
    usage = {
        "input_tokens": words, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}, "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": words + 7,
    }
    if "tools" in body:
        item = {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "weather", "status": "completed"}
        kind, whole, pieces = "function_call_arguments", '{"city": "Paris"}', ['{"city":', ' "Paris"}']
        item["arguments"] = whole
        begun = item | {"arguments": "", "status": "in_progress"}
    else:
        kind, whole = "output_text", '{"city": "Paris"}' if parts[0]["text"] == "Where?" else "answer-1 Paris"
        pieces = [whole[:8], whole[8:12], whole[12:]]
        begun = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        item = begun | {"status": "completed", "content": [{"type": "output_text", "text": whole, "annotations": [], "logprobs": []}]}
    if not body.get("stream"):
        return as_json(200, response(body, [item], "completed", usage))
    position = {"item_id": item["id"], "output_index": 0} | ({"content_index": 0, "logprobs": []} if kind == "output_text" else {})
    done = {"text": whole} if kind == "output_text" else {"arguments": whole, "name": "weather"}
    begun_response = response(body, [], "in_progress", None)
    events = [
        ("response.created", {"response": begun_response}), ("response.in_progress", {"response": begun_response}),
        ("response.output_item.added", {"output_index": 0, "item": begun}),
    ]
    if kind == "output_text":
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        events.append(("response.content_part.added", {"item_id": item["id"], "output_index": 0, "content_index": 0, "part": part}))
    events += [(f"response.{kind}.delta", position | {"delta": piece}) for piece in pieces]
    events += [
        (f"response.{kind}.done", position | done),
        ("response.output_item.done", {"output_index": 0, "item": item}),
        ("response.completed", {"response": response(body, [item], "completed", usage)}),
    ]
    frames = [
        f"event: {name}\ndata: {json.dumps({'type': name, 'sequence_number': at, **fields})}\n\n".encode()
        for at, (name, fields) in enumerate(events)
    ]
    return 200, {"content-type": "text/event-stream; charset=utf-8"}, frames


def start():
    return Upstream(answer)


def check(feature, seen, image, schema):
    """Whether the request said what was meant."""
    body = seen["body"]
    assert body["model"] == MODEL
    if feature == "tools":
        assert body["tools"][0]["parameters"] == schema
    if feature == "image":
        assert parts_of(body)[1]["image_url"] == f"data:image/png;base64,{image}"
    if feature == "JSON schema":
        assert body["text"]["format"]["schema"] == schema
