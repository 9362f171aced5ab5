"""A small HTTP/1.1 client over asyncio streams, which sees what a client library would hide: how a response ended.

Knows HTTP; not what is requested or why.
"""

import asyncio
import dataclasses


class Lost(Exception):
    """The connection ended, or the time passed, before the whole response had come."""


class ClosedBetween(Lost):
    """A connection that had served a request before was closed before the first byte of the next response: the server may
    have closed it when the request was on its way, and every client sends it again on a new connection."""


@dataclasses.dataclass
class Response:
    """A whole response."""

    status: int
    headers: dict
    body: bytes


class Connection:
    """A connection that is opened again when it was closed between two requests."""

    def __init__(self, address, buffer_bytes=65536):
        self.address, self.buffer_bytes = address, buffer_bytes
        self.reader = self.writer = None
        self.responses = 0

    async def open(self):
        if self.writer is None or self.writer.is_closing() or self.reader.at_eof():
            self.close()
            host, port = self.address
            self.reader, self.writer = await asyncio.open_connection(host, port, limit=self.buffer_bytes)
            self.responses = 0

    def close(self):
        if self.writer is not None:
            self.writer.transport.abort()
        self.reader = self.writer = None

    async def send(self, request):
        await self.open()
        self.writer.write(request)
        await self.writer.drain()

    async def receive(self, within_s=30, pause_s=0.0):
        """The next response; `pause_s` is waited before each part of its body is read."""
        try:
            async with asyncio.timeout(within_s):
                response = await self._receive(pause_s)
                self.responses += 1
                return response
        except (asyncio.IncompleteReadError, TimeoutError, OSError) as why:
            self.close()
            is_unanswered = isinstance(why, asyncio.IncompleteReadError) and why.expected is None and not why.partial
            raise (ClosedBetween if is_unanswered and self.responses else Lost)(repr(why)) from why

    async def _receive(self, pause_s):
        head = await self.reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) if ": " in line else (line, "") for line in lines[1:] if line)
        status = int(lines[0].split()[1])
        if status == 100:
            return await self._receive(pause_s)
        body = bytearray()
        if headers.get("transfer-encoding") == "chunked":
            while True:
                size = int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16)
                if pause_s:
                    await asyncio.sleep(pause_s)
                data = await self.reader.readexactly(size + 2)
                body += data[:-2]
                if size == 0:
                    break
        else:
            body += await self.reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("connection") == "close":
            self.close()
        return Response(status, headers, bytes(body))


def request(method, path, body=b"", headers=()):
    """The bytes of a request."""
    head = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1"]
    head += [f"{name}: {value}" for name, value in headers]
    if body or method == "POST":
        head += ["content-type: application/json", f"content-length: {len(body)}"]
    return ("\r\n".join(head) + "\r\n\r\n").encode() + body


async def exchange(address, method, path, body=b"", headers=(), within_s=30):
    """One request on a connection of its own."""
    connection = Connection(address)
    try:
        await connection.send(request(method, path, body, headers))
        return await connection.receive(within_s)
    finally:
        connection.close()
