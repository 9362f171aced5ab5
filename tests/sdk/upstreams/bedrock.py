"""AWS Bedrock's Converse: believes nobody whose signature `botocore` would not have made, and streams in
AWS's event stream, written here and not by the gateway's own code."""

import binascii
import datetime
import hashlib
import json
import struct
import time

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from upstreams.server import Upstream, as_json

NAME = "bedrock"
MODEL = "anthropic.mock-bedrock-v1:0"
# What it counts beside the words of the question.
CACHED = 5
KEY, SECRET, REGION = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "eu-central-1"


def config(url, folder):
    (folder / "aws-secret").write_text(SECRET)
    (folder / "aws-key").write_text(KEY)
    return (
        f'base_url = "{url}"\nauth = {{ kind = "aws", region = "{REGION}", access_key_id = "file:aws-key", '
        'secret_access_key = "file:aws-secret" }\n'
    )


def is_signed(path, headers, raw):
    """Signs the same request anew and compares."""
    given = headers.get("authorization", "")
    signed = given.split("SignedHeaders=")[-1].split(",")[0].split(";")
    at = headers.get("x-amz-date", "")
    age = abs(datetime.datetime.strptime(at, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC).timestamp() - time.time())
    if not {"host", "x-amz-date", "content-type"} <= set(signed) or age > 300:
        return False
    request = AWSRequest(
        "POST", f"http://{headers['host']}{path}", {name: headers[name] for name in signed}, raw
    )
    request.context["timestamp"] = at
    auth = SigV4Auth(Credentials(KEY, SECRET), "bedrock", REGION)
    canonical = auth.canonical_request(request)
    assert canonical.endswith(hashlib.sha256(raw).hexdigest())
    signature = auth.signature(auth.string_to_sign(request, canonical), request)
    return given.endswith(f"Signature={signature}") and f"Credential={KEY}/" in given


def message(kind, name, payload):
    text = lambda name, value: bytes([len(name)]) + name + b"\x07" + struct.pack(">H", len(value)) + value
    headers = text(f":{kind}-type".encode(), name.encode())
    headers += text(b":content-type", b"application/json") + text(b":message-type", kind.encode())
    payload = json.dumps(payload).encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    whole = prelude + struct.pack(">I", binascii.crc32(prelude)) + headers + payload
    return whole + struct.pack(">I", binascii.crc32(whole))


def question(body):
    texts = [block for block in body["messages"][-1]["content"]]
    return " ".join(block.get("text", "") for block in texts), any("image" in block for block in texts)


def answer(path, headers, raw):
    if not is_signed(path, headers, raw):
        return as_json(403, {"message": "The request signature does not match."},
                       **{"x-amzn-errortype": "InvalidSignatureException:http://internal.amazon.com/coral/"})
    body = json.loads(raw)
    sent, has_image = question(body)
    for status, kind in [(400, "ValidationException"), (429, "ThrottlingException"), (500, "InternalServerException")]:
        if f"status={status}" in sent:
            return as_json(status, {"message": "As sent."}, **{"x-amzn-errortype": f"{kind}:http://internal.amazon.com/"})
    words = 0 if has_image else len(sent.split())
    usage = {"inputTokens": words, "outputTokens": 7, "totalTokens": words + 12, "cacheReadInputTokens": 3, "cacheWriteInputTokens": 2}
    calls = "toolConfig" in body
    said = '{"city": "Paris"}' if sent == "Where?" else "answer-1 Paris"
    reason = "tool_use" if calls else "end_turn"
    if path.endswith("/converse"):
        block = {"toolUse": {"toolUseId": "tooluse_1", "name": "weather", "input": {"city": "Paris"}}} if calls else {"text": said}
        return as_json(200, {
            "output": {"message": {"role": "assistant", "content": [block]}}, "stopReason": reason,
            "usage": usage, "metrics": {"latencyMs": 1},
        })
    assert path.endswith("/converse-stream")
    event = lambda name, **fields: message("event", name, fields)
    events = [event("messageStart", role="assistant")]
    if calls:
        events.append(event("contentBlockStart", contentBlockIndex=0, start={"toolUse": {"toolUseId": "tooluse_1", "name": "weather"}}))
        pieces = [{"toolUse": {"input": piece}} for piece in ('{"city":', ' "Paris"}')]
    else:
        pieces = [{"text": piece} for piece in (said[:8], said[8:12], said[12:])]
    events += [event("contentBlockDelta", contentBlockIndex=0, delta=piece) for piece in pieces]
    if "exception" in sent:
        events.append(message("exception", "modelStreamErrorException", {"message": "As sent."}))
    elif "corrupt" in sent:
        events.append(event("contentBlockStop", contentBlockIndex=0)[:-1] + b"\x00")
    elif "truncate" not in sent:
        events += [
            event("contentBlockStop", contentBlockIndex=0), event("messageStop", stopReason=reason),
            event("metadata", usage=usage, metrics={"latencyMs": 1}),
        ]
    whole = b"".join(events)
    # Where a piece ends is none of the messages' business.
    return 200, {"content-type": "application/vnd.amazon.eventstream"}, [whole[at:at + 37] for at in range(0, len(whole), 37)]


def start():
    return Upstream(answer)


def check(feature, seen, image, schema):
    """Whether the request said what was meant."""
    assert seen["path"].startswith("/model/anthropic.mock-bedrock-v1%3A0/converse")
    body = seen["body"]
    if feature == "tools":
        assert body["toolConfig"]["tools"][0]["toolSpec"]["inputSchema"]["json"] == schema
    if feature == "image":
        assert body["messages"][0]["content"][1] == {"image": {"format": "png", "source": {"bytes": image}}}
    if feature == "JSON schema":
        structure = body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
        assert json.loads(structure["schema"]) == schema
