"""Bodies of requests with something n times in them: for each endpoint, by what is repeated."""


def user(content):
    return {"role": "user", "content": content}


def call(i):
    return {"id": f"c{i}", "type": "function", "function": {"name": f"f{i}", "arguments": "{}"}}


def tool(i):
    return {"type": "function", "function": {"name": f"f{i}", "description": "d", "parameters": {"type": "object"}}}


def fields(n):
    return {f"k{i}": 1 for i in range(n)}


def schema(n):
    return {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(n)},
            "required": [f"p{i}" for i in range(n)], "additionalProperties": False}


PIXEL = "data:image/png;base64,iVBORw0KGgo="


def chat(body):
    return {"model": "m", "messages": [user("q")]} | body


# Bodies of POST /v1/chat/completions by what is repeated in them.
CHAT = {
    "unknown fields": lambda n: chat(fields(n)),
    "messages": lambda n: chat({"messages": [user(f"q{i}") for i in range(n)]}),
    "alternating messages": lambda n: chat({"messages": [m for i in range(n // 2) for m in (
        user(f"q{i}"), {"role": "assistant", "content": f"a{i}"})] + [user("q")]}),
    "system messages": lambda n: chat({"messages": [{"role": "system", "content": f"s{i}"} for i in range(n)] + [user("q")]}),
    "parts": lambda n: chat({"messages": [user([{"type": "text", "text": f"p{i}"} for i in range(n)])]}),
    "images": lambda n: chat({"messages": [user([{"type": "image_url", "image_url": {"url": PIXEL}} for _ in range(n)])]}),
    "tools": lambda n: chat({"tools": [tool(i) for i in range(n)]}),
    "tool parameters": lambda n: chat({"tools": [{"type": "function", "function": {"name": "f", "parameters": schema(n)}}]}),
    "response schema": lambda n: chat({"response_format": {
        "type": "json_schema", "json_schema": {"name": "s", "strict": True, "schema": schema(n)}}}),
    "calls and results": lambda n: chat({"messages": [
        user("q"), {"role": "assistant", "content": None, "tool_calls": [call(i) for i in range(n)]},
        *({"role": "tool", "tool_call_id": f"c{i}", "content": "r"} for i in range(n))]}),
    "calls and results in reverse": lambda n: chat({"messages": [
        user("q"), {"role": "assistant", "content": None, "tool_calls": [call(i) for i in range(n)]},
        *({"role": "tool", "tool_call_id": f"c{i}", "content": "r"} for i in reversed(range(n)))]}),
    "turns of one call": lambda n: chat({"messages": [user("q")] + [m for i in range(n // 2) for m in (
        {"role": "assistant", "content": None, "tool_calls": [call(i)]},
        {"role": "tool", "tool_call_id": f"c{i}", "content": "r"})]}),
    "results of one call": lambda n: chat({"messages": [
        user("q"), {"role": "assistant", "content": None, "tool_calls": [call(0)]},
        *({"role": "tool", "tool_call_id": "c0", "content": "r"} for i in range(n))]}),
    "results of a call with a long name": lambda n: chat({"messages": [
        user("q"), {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c0", "type": "function", "function": {"name": "f" * n, "arguments": "{}"}}]},
        *({"role": "tool", "tool_call_id": "c0", "content": "r"} for i in range(n))]}),
    "files": lambda n: chat({"messages": [user([{"type": "file", "file": {
        "filename": "d.pdf", "file_data": "data:application/pdf;base64,aGk="}} for _ in range(n)])]}),
    "developer messages and fields": lambda n: chat({"messages": [{"role": "developer", "content": "d"}] * n} | fields(n)),
    "results without calls": lambda n: chat({"messages": [user("q")] + [
        {"role": "tool", "tool_call_id": f"c{i}", "content": "r"} for i in range(n)]}),
    "fields of a message": lambda n: chat({"messages": [user("q") | fields(n)]}),
    "stop sequences": lambda n: chat({"stop": [f"s{i}" for i in range(n)]}),
    "metadata": lambda n: chat({"metadata": {f"k{i}": "v" for i in range(n)}}),
    "logit bias": lambda n: chat({"logit_bias": {str(i): 1 for i in range(n)}}),
    "modalities": lambda n: chat({"modalities": ["text"] * n}),
    "escapes": lambda n: chat({"messages": [user("\\\"\n\u00e9" * n)]}),
    "one long text": lambda n: chat({"messages": [user("word " * n * 4)]}),
    "spaces": lambda n: chat({"messages": [user(" " * n * 8)]}),
    "one long word": lambda n: chat({"messages": [user("x" * n * 16)]}),
    "numbers": lambda n: chat({"messages": [user("1 2.5 3rd " * n)]}),
    "decimals": lambda n: chat({"x": [0.5 + i for i in range(n)]}),
    "zeros in objects": lambda n: chat({"x": [{"y": 0}] * n}),
    "nested arrays": lambda n: chat({"metadata": {"k": nested(n // 60)}}),
    "provider order": lambda n: chat({"provider": {"order": ["x"] * n}}),
    "provider fields": lambda n: chat({"provider": fields(n)}),
    "stream options": lambda n: chat({"stream": True, "stream_options": fields(n)}),
    "fields of tools": lambda n: chat({"tools": [tool(0) | fields(n)]}),
    "unknown parts": lambda n: chat({"messages": [user([{"type": f"t{i}"} for i in range(n)])]}),
    "unknown tools": lambda n: chat({"tools": [{"type": f"t{i}"} for i in range(n)]}),
    "long model name": lambda n: chat({"model": "m" * n}),
    "duplicate fields in a message": lambda n: '{"model":"m","messages":[{"role":"user","content":"q"' + ',"x":1' * n + "}]}",
}


def spellings(name, n):
    """Names that the Gemini API reads as `name`: in either case, with underscores anywhere."""
    return ["".join(letter + "_" * (i >> at & 1) for at, letter in enumerate(name)) for i in range(n)]


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


def messages(body):
    return {"model": "m", "max_tokens": 9, "messages": [user("q")]} | body


def use(i):
    return {"type": "tool_use", "id": f"toolu_{i}", "name": "f", "input": {}}


def result(i):
    return {"type": "tool_result", "tool_use_id": f"toolu_{i}", "content": "r"}


MESSAGES = {
    "unknown fields": lambda n: messages(fields(n)),
    "messages": lambda n: messages({"messages": [user(f"q{i}") for i in range(n)]}),
    "blocks": lambda n: messages({"messages": [user([{"type": "text", "text": f"p{i}"} for i in range(n)])]}),
    "system blocks": lambda n: messages({"system": [{"type": "text", "text": f"s{i}"} for i in range(n)]}),
    "tools": lambda n: messages({"tools": [{"name": f"f{i}", "input_schema": {"type": "object"}} for i in range(n)]}),
    "uses and results": lambda n: messages({"messages": [
        user("q"), {"role": "assistant", "content": [use(i) for i in range(n)]}, user([result(i) for i in range(n)])]}),
    "turns of one use": lambda n: messages({"messages": [user("q")] + [m for i in range(n // 2) for m in (
        {"role": "assistant", "content": [use(i)]}, user([result(i)]))]}),
    "parts of a result": lambda n: messages({"messages": [
        user("q"), {"role": "assistant", "content": [use(0)]},
        user([result(0) | {"content": [{"type": "text", "text": "r"}] * n}])]}),
    "thinking": lambda n: messages({"messages": [user("q"), {"role": "assistant", "content": [
        {"type": "thinking", "thinking": "t", "signature": "s"}] * n + [{"type": "text", "text": "a"}]}, user("q")]}),
    "stop sequences": lambda n: messages({"stop_sequences": [f"s{i}" for i in range(n)]}),
    "metadata": lambda n: messages({"metadata": fields(n)}),
    "cache controls": lambda n: messages({"messages": [user([
        {"type": "text", "text": "p", "cache_control": {"type": "ephemeral"}}] * n)]}),
    "unknown blocks": lambda n: messages({"messages": [user([{"type": f"t{i}"} for i in range(n)])]}),
    "documents": lambda n: messages({"messages": [user([
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"}}] * n)]}),
    "documents with numbered titles": lambda n: messages({"messages": [user([
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"},
         "title": f"t-{i}" if i < n // 2 else "t"} for i in range(n)])]}),
    "results in reverse": lambda n: messages({"messages": [
        user("q"), {"role": "assistant", "content": [use(i) for i in range(n)]}, user([result(i) for i in reversed(range(n))])]}),
}


def contents(*parts):
    return [{"role": "user", "parts": list(parts)}]


GEMINI = {
    "unknown fields": lambda n: {"contents": contents({"text": "q"})} | fields(n),
    "contents": lambda n: {"contents": [{"role": "user", "parts": [{"text": f"q{i}"}]} for i in range(n)]},
    "parts": lambda n: {"contents": contents(*({"text": f"p{i}"} for i in range(n)))},
    "calls and results": lambda n: {"contents": [
        *contents({"text": "q"}), {"role": "model", "parts": [{"functionCall": {"name": f"f{i}", "args": {}}} for i in range(n)]},
        *contents(*({"functionResponse": {"name": f"f{i}", "response": {}}} for i in range(n)))]},
    "calls of one name": lambda n: {"contents": [
        *contents({"text": "q"}), {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}] * n},
        *contents(*([{"functionResponse": {"name": "f", "response": {}}}] * n))]},
    "results of other calls": lambda n: {"contents": [
        *contents({"text": "q"}), {"role": "model", "parts": [{"functionCall": {"name": f"f{i}", "args": {}}} for i in range(n)]},
        *contents(*({"functionResponse": {"name": f"g{i}", "response": {}}} for i in range(n)))]},
    "calls with ids": lambda n: {"contents": [
        *contents({"text": "q"}), {"role": "model", "parts": [{"functionCall": {"id": f"i{i}", "name": "f", "args": {}}} for i in range(n)]},
        *contents(*({"functionResponse": {"id": f"i{i}", "name": "f", "response": {}}} for i in reversed(range(n))))]},
    "system instructions": lambda n: {"contents": contents({"text": "q"}) * n} | {
        name: {"parts": [{"text": "s"}]} for name in spellings("systemInstruction", n)},
    "tool configurations": lambda n: {"contents": contents({"text": "q"}), "tools": [
        {"functionDeclarations": [{"name": f"f{i}"} for i in range(n)]}], "toolConfig": {
        name: {"mode": "VALIDATED"} for name in spellings("functionCallingConfig", n)}},
    "images": lambda n: {"contents": contents(*([{"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGg-_"}}] * n))},
    "turns of one call": lambda n: {"contents": contents({"text": "q"}) + [c for i in range(n // 2) for c in (
        {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]})]},
    "declarations": lambda n: {"contents": contents({"text": "q"}), "tools": [
        {"functionDeclarations": [{"name": f"f{i}"} for i in range(n)]}]},
    "tools": lambda n: {"contents": contents({"text": "q"}), "tools": [
        {"functionDeclarations": [{"name": f"f{i}"}]} for i in range(n)]},
    "safety settings": lambda n: {"contents": contents({"text": "q"}), "safetySettings": [
        {"category": f"C{i}", "threshold": "OFF"} for i in range(n)]},
    "stop sequences": lambda n: {"contents": contents({"text": "q"}), "generationConfig": {
        "stopSequences": [f"s{i}" for i in range(n)]}},
    "configuration": lambda n: {"contents": contents({"text": "q"}), "generationConfig": fields(n)},
    "system parts": lambda n: {"contents": contents({"text": "q"}), "systemInstruction": {
        "parts": [{"text": "s"}] * n}},
    "schema": lambda n: {"contents": contents({"text": "q"}), "generationConfig": {
        "responseMimeType": "application/json", "responseSchema": {
            "type": "OBJECT", "properties": {f"p{i}": {"type": "STRING"} for i in range(n)}}}},
}


def item(i):
    return {"type": "function_call", "call_id": f"c{i}", "name": "f", "arguments": "{}"}


def output(i):
    return {"type": "function_call_output", "call_id": f"c{i}", "output": "r"}


RESPONSES = {
    "unknown fields": lambda n: {"model": "m", "input": "q"} | fields(n),
    "input messages": lambda n: {"model": "m", "input": [user(f"q{i}") for i in range(n)]},
    "parts": lambda n: {"model": "m", "input": [user([{"type": "input_text", "text": "p"}] * n)]},
    "calls and outputs": lambda n: {"model": "m", "input": [user("q"), *map(item, range(n)), *map(output, range(n))]},
    "turns of one call": lambda n: {"model": "m", "input": [user("q")] + [x for i in range(n // 2) for x in (item(i), output(i))]},
    "tools": lambda n: {"model": "m", "input": "q", "tools": [
        {"type": "function", "name": f"f{i}", "parameters": {"type": "object"}} for i in range(n)]},
    "fields of an item": lambda n: {"model": "m", "input": [user("q") | fields(n)]},
    "files": lambda n: {"model": "m", "input": [user([
        {"type": "input_file", "filename": "d.pdf", "file_data": "data:application/pdf;base64,aGk="}] * n)]},
    "reasoning items": lambda n: {"model": "m", "input": [user("q"), *(
        {"type": "reasoning", "id": f"rs_{i}", "summary": []} for i in range(n))]},
    "metadata": lambda n: {"model": "m", "input": "q", "metadata": {f"k{i}": "v" for i in range(n)}},
    "include": lambda n: {"model": "m", "input": "q", "include": [f"i{i}" for i in range(n)]},
    "item references": lambda n: {"model": "m", "input": [{"type": "item_reference", "id": f"m{i}"} for i in range(n)]},
}

CLIENTS = {
    "chat": ("/v1/chat/completions", CHAT),
    "messages": ("/v1/messages", MESSAGES),
    "gemini": ("/v1beta/models/m:generateContent", GEMINI),
    "responses": ("/v1/responses", RESPONSES),
}

# Endpoints that are not translated: path and body.
OTHERS = {
    "embeddings: inputs": ("/v1/embeddings", lambda n: {"model": "m", "input": [f"t{i}" for i in range(n)]}),
    "embeddings: fields": ("/v1/embeddings", lambda n: {"model": "m", "input": "t"} | fields(n)),
    "embeddings: token arrays": ("/v1/embeddings", lambda n: {"model": "m", "input": [[i] for i in range(n)]}),
    "rerank: documents": ("/v1/rerank", lambda n: {"model": "m", "query": "q", "documents": [f"d{i}" for i in range(n)]}),
    "rerank: fields": ("/v2/rerank", lambda n: {"model": "m", "query": "q", "documents": ["d"]} | fields(n)),
    "feedback: fields": ("/v1/feedback", lambda n: {"request_id": "x", "score": 1} | fields(n)),
    "feedback: metadata": ("/v1/feedback", lambda n: {"request_id": "x", "score": 1, "metadata": fields(n)}),
    "completions: fields": ("/v1/completions", lambda n: {"model": "m", "prompt": "q"} | fields(n)),
    "completions: prompts": ("/v1/completions", lambda n: {"model": "m", "prompt": ["q"] * n}),
    "moderations: inputs": ("/v1/moderations", lambda n: {"model": "m", "input": ["q"] * n}),
    "images: fields": ("/v1/images/generations", lambda n: {"model": "m", "prompt": "q"} | fields(n)),
    "count tokens: messages": ("/v1/messages/count_tokens", lambda n: messages({"messages": [user("q")] * n})),
    "count tokens: fields": ("/v1/messages/count_tokens", lambda n: messages(fields(n))),
    "count tokens: contents": ("/v1beta/models/m:countTokens", lambda n: {"contents": contents({"text": "q"}) * n}),
}


def multipart(n):
    """Fields of a form, as transcriptions are sent."""
    boundary = "b0"
    parts = [f'--{boundary}\r\ncontent-disposition: form-data; name="f{i}"\r\n\r\nv\r\n' for i in range(n)]
    parts.append(f'--{boundary}\r\ncontent-disposition: form-data; name="model"\r\n\r\nm\r\n--{boundary}--\r\n')
    return "".join(parts).encode(), f"multipart/form-data; boundary={boundary}"
