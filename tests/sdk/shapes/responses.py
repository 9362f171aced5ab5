"""Whole responses of providers with something n times in them: for each dialect, by what is repeated."""

import json

from shapes.requests import call, fields, item, use


USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}


def completion(message, **more):
    return {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "usage": USAGE,
            "choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}]} | more


def openai_answers(n):
    return {
        "calls": completion({"content": None, "tool_calls": [call(i) for i in range(n)]}),
        "choices": completion({"content": "a"}) | {"choices": [
            {"index": i, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"} for i in range(n)]},
        "fields": completion({"content": "a"}) | fields(n),
        "fields of the message": completion({"content": "a", **fields(n)}),
        "annotations": completion({"content": "a", "annotations": [{"type": "url_citation", "url_citation": {
            "url": "u", "title": "t", "start_index": 0, "end_index": 1}}] * n}),
        "long text": completion({"content": "word \\ \" \n" * n}),
        "arguments": completion({"content": None, "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": json.dumps(fields(n))}}]}),
        "details": completion({"content": "a"}, usage=USAGE | fields(n)),
        "a long id": completion({"content": "word " * n}) | {"id": "x" * n},
        "probabilities": completion({"content": "a"}) | {"choices": [{
            "index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop", "logprobs": {
                "content": [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}] * n}}]},
    }


def anthropic_answers(n):
    base = {"id": "x", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn", "stop_sequence": None,
            "usage": {"input_tokens": 7, "output_tokens": 5}}
    return {
        "text blocks": base | {"content": [{"type": "text", "text": "a"}] * n},
        "tool uses": base | {"content": [use(i) for i in range(n)]},
        "thinking": base | {"content": [{"type": "thinking", "thinking": "t", "signature": "s"}] * n},
        "unknown blocks": base | {"content": [{"type": f"t{i}"} for i in range(n)]},
        "citations": base | {"content": [{"type": "text", "text": "a", "citations": [{"type": "char_location", "cited_text": "c"}] * n}]},
        "fields": base | {"content": [{"type": "text", "text": "a"}]} | fields(n),
    }


def gemini_answers(n):
    def answer(parts, **more):
        return {"candidates": [{"index": 0, "finishReason": "STOP", "content": {"role": "model", "parts": parts}, **more}],
                "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 5, "totalTokenCount": 12}}
    return {
        "parts": answer([{"text": "a"}] * n),
        "calls": answer([{"functionCall": {"name": f"f{i}", "args": {}}} for i in range(n)]),
        "thoughts": answer([{"text": "t", "thought": True}] * n),
        "candidates": {"candidates": [answer([{"text": "a"}])["candidates"][0] | {"index": i} for i in range(n)]},
        "safety ratings": answer([{"text": "a"}], safetyRatings=[{"category": "C", "probability": "LOW"}] * n),
        "grounding": answer([{"text": "a"}], groundingMetadata={"groundingChunks": [{"web": {"uri": "u", "title": "t"}}] * n}),
    }


def responses_answers(n):
    base = {"id": "x", "object": "response", "created_at": 1, "model": "m", "status": "completed",
            "usage": {"input_tokens": 7, "output_tokens": 5, "total_tokens": 12}}
    text = {"type": "output_text", "text": "a", "annotations": []}
    return {
        "messages": base | {"output": [{"type": "message", "id": f"m{i}", "role": "assistant", "content": [text]} for i in range(n)]},
        "parts": base | {"output": [{"type": "message", "id": "m", "role": "assistant", "content": [text] * n}]},
        "calls": base | {"output": [item(i) | {"id": f"i{i}"} for i in range(n)]},
        "reasoning": base | {"output": [{"type": "reasoning", "id": f"r{i}", "summary": [{"type": "summary_text", "text": "t"}]}
                                        for i in range(n)]},
    }


def cohere_answers(n):
    base = {"id": "x", "finish_reason": "COMPLETE", "usage": {"tokens": {"input_tokens": 7, "output_tokens": 5}}}
    return {
        "parts": base | {"message": {"role": "assistant", "content": [{"type": "text", "text": "a"}] * n}},
        "calls": base | {"message": {"role": "assistant", "tool_calls": [call(i) for i in range(n)]}},
    }


def bedrock_answers(n):
    base = {"stopReason": "end_turn", "usage": {"inputTokens": 7, "outputTokens": 5, "totalTokens": 12}}
    return {
        "blocks": base | {"output": {"message": {"role": "assistant", "content": [{"text": "a"}] * n}}},
        "calls": base | {"output": {"message": {"role": "assistant", "content": [
            {"toolUse": {"toolUseId": f"c{i}", "name": "f", "input": {}}} for i in range(n)]}}},
    }


ANSWERS = {"openai": openai_answers, "anthropic": anthropic_answers, "gemini": gemini_answers, "responses": responses_answers,
           "cohere": cohere_answers, "bedrock": bedrock_answers}
