"""Streams of providers with something n times in them: for each dialect, by what is repeated."""

import json

from shapes.requests import call, item, use
from shapes.responses import USAGE
from upstreams.bedrock import message


def sse(events, named=True):
    out = []
    for event in events:
        name = f"event: {event['type']}\n" if named and "type" in event else ""
        out.append(f"{name}data: {json.dumps(event)}\n\n")
    return "".join(out)


def chunk(delta, finish=None):
    return {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def openai_streams(n):
    def stream(events):
        return sse([chunk({"role": "assistant", "content": ""}), *events, chunk({}, "stop"), {"choices": [], "usage": USAGE}]) + "data: [DONE]\n\n"
    return {
        "events": stream(chunk({"content": "a"}) for _ in range(n)),
        "calls": stream(chunk({"tool_calls": [call(i) | {"index": i}]}) for i in range(n)),
        "interleaved calls": stream([chunk({"tool_calls": [call(i) | {"index": i}]}) for i in range(n // 2)] + [
            chunk({"tool_calls": [{"index": i, "function": {"arguments": " "}}]}) for i in range(n // 2)]),
        "calls of one event": stream([chunk({"tool_calls": [call(i) | {"index": i} for i in range(n)]})]),
        "pieces of one call": stream([chunk({"tool_calls": [call(0) | {"index": 0}]})] + [
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": " "}}]}) for _ in range(n)]),
        "reasoning": stream(chunk({"reasoning_content": "t"}) for _ in range(n)),
        "choices": stream(chunk({"content": "a"}) | {"choices": [
            {"index": i, "delta": {"content": "a"}, "finish_reason": None}]} for i in range(n)),
        "a long id": stream([chunk({"content": "a"})] * n).replace('"id": "x"', f'"id": "{"x" * n}"', 1),
        "one large event": stream([chunk({"content": "word " * n})]),
        "comments": ": x\n\n" * n + stream([chunk({"content": "a"})]),
        "lines of one event": stream([]).replace("data: [DONE]", ": x\n" * n + "data: [DONE]"),
    }


def anthropic_streams(n):
    def stream(events):
        start = {"type": "message_start", "message": {"id": "x", "type": "message", "role": "assistant", "model": "m", "content": [],
                 "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 7, "output_tokens": 1}}}
        end = [{"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 5}},
               {"type": "message_stop"}]
        return sse([start, *events, *end])

    def block(i, start, deltas):
        return [{"type": "content_block_start", "index": i, "content_block": start},
                *({"type": "content_block_delta", "index": i, "delta": delta} for delta in deltas), {"type": "content_block_stop", "index": i}]
    text = {"type": "text", "text": ""}
    return {
        "deltas": stream(block(0, text, [{"type": "text_delta", "text": "a"}] * n)),
        "text blocks": stream(event for i in range(n) for event in block(i, text, [{"type": "text_delta", "text": "a"}])),
        "tool blocks": stream(event for i in range(n) for event in block(i, use(i), [{"type": "input_json_delta", "partial_json": "{}"}])),
        "open blocks": stream({"type": "content_block_start", "index": i, "content_block": use(i)} for i in range(n)),
        "thinking": stream(block(0, {"type": "thinking", "thinking": "", "signature": ""}, [{"type": "thinking_delta", "thinking": "t"}] * n)),
    }


def gemini_streams(n):
    def event(parts, **more):
        return {"candidates": [{"index": 0, "content": {"role": "model", "parts": parts}, **more}]}
    end = event([{"text": ""}], finishReason="STOP")
    return {
        "events": sse([event([{"text": "a"}])] * n + [end]),
        "calls": sse([event([{"functionCall": {"name": f"f{i}", "args": {}}}]) for i in range(n)] + [end]),
        "parts of one event": sse([event([{"text": "a"}] * n), end]),
        "calls of one event": sse([event([{"functionCall": {"name": "f", "args": {}}}] * n), end]),
    }


def responses_streams(n):
    def stream(events):
        response = {"id": "x", "object": "response", "created_at": 1, "model": "m", "status": "completed", "output": [], "usage": {
            "input_tokens": 7, "output_tokens": 5, "total_tokens": 12}}
        return sse([{"type": "response.created", "response": response | {"status": "in_progress", "usage": None}}, *events,
                    {"type": "response.completed", "response": response}])

    def calls(kind):
        return [{"type": f"response.output_item.{kind}", "output_index": i, "item": item(i) | {"id": f"i{i}"}} for i in range(n)]
    delta = {"type": "response.output_text.delta", "item_id": "m", "output_index": 0, "content_index": 0, "delta": "a"}
    return {
        "deltas": stream([delta] * n),
        "parts": stream(delta | {"content_index": i} for i in range(n)),
        "calls": stream(calls("added") + calls("done")),
    }


def cohere_streams(n):
    def stream(events):
        start = {"type": "message-start", "id": "x", "delta": {"message": {"role": "assistant"}}}
        usage = {"tokens": {"input_tokens": 7, "output_tokens": 5}}
        return sse([start, *events, {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": usage}}])

    def inner(kind, **fields):
        return {"type": kind, "index": 0, "delta": {"message": fields}}
    return {
        "deltas": stream([inner("content-delta", content={"text": "a"})] * n),
        "calls": stream(e for i in range(n) for e in (inner("tool-call-start", tool_calls=call(i)), {"type": "tool-call-end", "index": 0})),
    }


def bedrock_streams(n):
    def stream(events):
        end = [("contentBlockStop", {"contentBlockIndex": 0}), ("messageStop", {"stopReason": "end_turn"}),
               ("metadata", {"usage": {"inputTokens": 7, "outputTokens": 5, "totalTokens": 12}})]
        events = [("messageStart", {"role": "assistant"}), *events, *end]
        return b"".join(message("event", name, payload) for name, payload in events)
    return {
        "deltas": stream([("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "a"}})] * n),
        "calls": stream(("contentBlockStart", {"contentBlockIndex": i, "start": {"toolUse": {"toolUseId": f"c{i}", "name": "f"}}})
                        for i in range(n)),
    }


STREAMS = {"openai": openai_streams, "responses": responses_streams, "anthropic": anthropic_streams, "gemini": gemini_streams,
           "cohere": cohere_streams, "bedrock": bedrock_streams}
