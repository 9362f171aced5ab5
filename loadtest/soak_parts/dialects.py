"""Requests of each dialect, and how their responses end. Knows wire formats; nothing of connections."""

import json


def chat(question, stream):
    body = {"model": "chat", "messages": [{"role": "user", "content": question}], "stream": stream}
    return "/v1/chat/completions", body


def messages(question, stream):
    body = {"model": "messages", "max_tokens": 99, "messages": [{"role": "user", "content": question}], "stream": stream}
    return "/v1/messages", body


def gemini(question, stream):
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return f"/v1beta/models/gemini:{method}", {"contents": [{"role": "user", "parts": [{"text": question}]}]}


def responses(question, stream):
    return "/v1/responses", {"model": "chat", "input": question, "stream": stream}


def embeddings(question, _stream):
    return "/v1/embeddings", {"model": "embed", "input": question}


ALL = {"chat": chat, "messages": messages, "gemini": gemini, "responses": responses, "embeddings": embeddings}
# What a whole stream ends with.
ENDS = {"chat": b"data: [DONE]", "messages": b"message_stop", "gemini": b"finishReason", "responses": b"response.completed"}


def encode(dialect, question, stream):
    """Path and body of a request."""
    path, body = ALL[dialect](question, stream)
    return path, json.dumps(body).encode()


def is_error(body):
    """Whether a JSON body is an error envelope of any dialect."""
    try:
        return bool(json.loads(body).get("error"))
    except (ValueError, AttributeError):
        return False
