"""OpenAI's API as its SDK types it: every method's path answers with an example of the model that the SDK expects there.

Paths and models are read from the SDK's sources, examples are made from the models' fields. Nothing here knows Ringside.
"""

import ast
import datetime
import http.server
import importlib
import inspect
import json
import pathlib
import re
import threading
import types
import typing

import openai
from openai._legacy_response import HttpxBinaryResponseContent
from pydantic import BaseModel
from typing_extensions import TypeAliasType

CALLS = {"_post": "POST", "_get": "GET", "_delete": "DELETE", "_patch": "PATCH", "_put": "PUT", "_get_api_list": "GET"}
# How deep fields that may be absent are filled in; some models contain themselves.
DEPTH_MAX = 6
PLAIN = {str: "text", int: 1, float: 0.5, bool: True, object: "anything", typing.Any: "anything", datetime.datetime: "2024-01-01T00:00:00Z"}
SOUND = bytes(range(256))


class Route(typing.NamedTuple):
    method: str
    path: re.Pattern
    query: str
    answer: object
    event: object


def routes():
    """One for each request that a method of the SDK's synchronous resources sends; those with the fewest holes first."""
    found = []
    folder = pathlib.Path(inspect.getfile(openai)).parent
    for file in sorted((folder / "resources").rglob("*.py")):
        module = importlib.import_module(".".join(["openai", *file.relative_to(folder).with_suffix("").parts]))
        for one in ast.parse(file.read_text()).body:
            if isinstance(one, ast.ClassDef) and not one.name.startswith("Async"):
                calls = [node for node in ast.walk(one) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
                found += [route(call, vars(module)) for call in calls if call.func.attr in CALLS]
    return sorted(found, key=lambda one: (one.path.pattern.count("+"), not one.query))


def route(call, names):
    given = {one.arg: one.value for one in call.keywords}
    # A path is a string, or `path_template("/files/{file_id}", file_id=file_id)`.
    path = call.args[0].args[0].value if isinstance(call.args[0], ast.Call) else call.args[0].value
    path, _, query = path.partition("?")
    method = given["method"].value.upper() if "method" in given else CALLS[call.func.attr]
    event = expected(given["stream_cls"], names) if "stream_cls" in given else None
    pattern = re.compile("/v1" + re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)))
    return Route(method, pattern, query, expected(given.get("cast_to") or given["page"], names), event and typing.get_args(event)[0])


def expected(node, names):
    """The type that an expression such as `cast_to=ChatCompletion` means."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "cast":
        node = node.args[1]
    if isinstance(node, ast.Call):
        # The one type that depends on what is sent for: a transcript is JSON unless the request says otherwise.
        assert ast.unparse(node.func) == "_get_response_format_type", ast.unparse(node)
        return names[ast.unparse(node.func)](openai.Omit())
    return eval(ast.unparse(node), dict(names))  # The SDK's own source, from the installed package.


def example(kind, depth=0):
    """A JSON value that `kind` accepts."""
    if isinstance(kind, TypeAliasType):
        return example(kind.__value__, depth)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return example(arguments[0], depth)
    if origin in (typing.Union, types.UnionType):
        return example(next(one for one in arguments if one is not type(None)), depth)
    if origin is typing.Literal:
        return arguments[0]
    if origin is list:
        return [example(arguments[0], depth)]
    if origin is dict or kind is dict:
        return {"key": example(arguments[1], depth)} if arguments else {}
    if kind in PLAIN:
        return PLAIN[kind]
    assert issubclass(origin or kind, BaseModel), kind
    filled = {name: field for name, field in kind.model_fields.items() if field.is_required() or depth < DEPTH_MAX}
    return {field.alias or name: example(field.annotation, depth + 1) for name, field in filled.items()}


def events(kind):
    """A stream of one event, or of the one that ends a stream of several kinds."""
    kind = kind.__value__ if isinstance(kind, TypeAliasType) else kind
    kind = typing.get_args(kind)[0] if typing.get_origin(kind) is typing.Annotated else kind
    every = [example(one) for one in typing.get_args(kind) or [kind]]
    last = next((one for one in every if one.get("type", "").endswith(("completed", "done"))), every[0])
    name = last.get("type") or last.get("event")
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(last)}\n\ndata: [DONE]\n\n".encode()


def is_stream(headers, body):
    if headers.get("content-type", "").startswith("multipart/"):
        return b'name="stream"\r\n\r\ntrue' in body
    return bool(body) and json.loads(body).get("stream") is True


class Api:
    """The server; `sent` counts the requests that had an answer, by method and path."""

    def __init__(self):
        table, outer = routes(), self
        self.sent, self.unknown = {}, []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_):
                pass

            def reply(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                path, _, query = self.path.partition("?")
                fits = lambda one: one.method == self.command and one.path.fullmatch(path) and one.query in query
                found = next(filter(fits, table), None)
                if found is None:
                    outer.unknown.append((self.command, self.path))
                    return self.send(404, "application/json", b'{"error": {"message": "no such path"}}')
                position = (found.method, found.path.pattern)
                outer.sent[position] = outer.sent.get(position, 0) + 1
                if found.event and is_stream(self.headers, body):
                    return self.send(200, "text/event-stream", events(found.event))
                if found.answer is type(None):
                    return self.send(204, None, b"")
                if found.answer is HttpxBinaryResponseContent:
                    return self.send(200, "application/octet-stream", SOUND)
                if found.answer is str:
                    return self.send(200, "text/plain", b"text")
                return self.send(200, "application/json", json.dumps(example(found.answer)).encode())

            def send(self, status, kind, body):
                self.send_response(status)
                if kind:
                    self.send_header("content-type", kind)
                    self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_DELETE = do_PATCH = do_PUT = reply

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # A client that leaves before the end of a stream is none of its business.
        self.server.handle_error = lambda *_: None
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
