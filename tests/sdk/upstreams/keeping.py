"""OpenAI's Responses with what is stored of them: by the API key that sent, as accounts are apart."""

import json
import urllib.parse

from upstreams.server import Upstream, as_json


def start():
    stored = {}

    def missing(status, id):
        return as_json(status, {"error": {"message": f"Response with id '{id}' not found.",
                                          "type": "invalid_request_error", "param": None, "code": None}})

    def answer(path, headers, raw):
        key = headers["authorization"]
        method, _, path = path.rpartition(" ")
        position = urllib.parse.urlsplit(path)
        if position.path == "/v1/responses":
            return create(key, json.loads(raw))
        _, _, _, id, *what = position.path.split("/")
        run = stored.get((key, id))
        if run is None:
            return missing(404, id)
        query = dict(urllib.parse.parse_qsl(position.query))
        if what == ["cancel"]:
            run["states"] = ["cancelled"]
        elif what == ["input_items"]:
            part = {"type": "input_text", "text": run["input"]}
            item = {"id": "msg_in", "type": "message", "role": "user", "status": "completed", "content": [part]}
            return as_json(200, {"object": "list", "data": [item], "first_id": "msg_in", "last_id": "msg_in", "has_more": False})
        elif method == "DELETE":
            del stored[key, id]
            return as_json(200, {"id": id, "object": "response", "deleted": True})
        elif query.get("stream") == "true":
            frames = events(run)[int(query.get("starting_after", -1)) + 1:]
            return 200, {"content-type": "text/event-stream"}, frames
        elif len(run["states"]) > 1:
            run["states"].pop(0)
        return as_json(200, response(run))

    def create(key, body):
        previous = body.get("previous_response_id")
        before = stored.get((key, previous))
        if previous and not before:
            return missing(400, previous)
        given = body["input"]
        said = [*(before["said"] if before else []), given]
        states = ["queued", "in_progress", "completed"] if body.get("background") else ["completed"]
        run = {"id": f"resp_{len(stored):048x}", "previous": previous, "input": given, "said": said, "states": states}
        stored[key, run["id"]] = run
        if body.get("stream"):
            return 200, {"content-type": "text/event-stream"}, events(run)
        return as_json(200, response(run))

    return Upstream(answer)


def response(run, status=None):
    status = status or run["states"][0]
    part = {"type": "output_text", "text": ", ".join(run["said"]), "annotations": [], "logprobs": []}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    usage = {"input_tokens": 3, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}, "output_tokens": 7,
             "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 10}
    done = status == "completed"
    return {
        "id": run["id"], "object": "response", "created_at": 1700000000, "status": status, "error": None,
        "incomplete_details": None, "instructions": None, "model": "mock", "output": [item] if done else [],
        "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "previous_response_id": run["previous"],
        "usage": usage if done else None, "metadata": {},
    }


def events(run):
    listed = [
        ("response.created", {"response": response(run, "in_progress")}),
        ("response.in_progress", {"response": response(run, "in_progress")}),
        ("response.completed", {"response": response(run, "completed")}),
    ]
    return [
        f"event: {name}\ndata: {json.dumps({'type': name, 'sequence_number': at, **fields})}\n\n".encode()
        for at, (name, fields) in enumerate(listed)
    ]
