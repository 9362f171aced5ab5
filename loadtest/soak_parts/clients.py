"""The clients: well-behaved ones, whose every response is judged, and those that misbehave.

Each runs until `world.stopping` is set. Knows what is requested; not how the gateway is run.
"""

import asyncio
import random

import dialects
from http_client import ClosedBetween, Connection, Lost, request

# Statuses that a request may be refused with while providers fail on purpose.
REFUSALS = {429, 500, 502, 503, 504, 529}


class Questions:
    """Questions, half of which were sent before; popular ones more often."""

    def __init__(self, seed):
        self.random, self.earlier, self.count = random.Random(seed), [], 0

    def next(self):
        if self.earlier and self.random.random() < 0.5:
            return self.earlier[min(int(self.random.paretovariate(0.7)), len(self.earlier)) - 1]
        return self.fresh()

    def fresh(self):
        self.count += 1
        question = f"{self.random.getrandbits(48):x}: what is the {self.count}. item of list {self.random.randrange(1000)}?"
        if len(self.earlier) < 2000:
            self.earlier.append(question)
        return question


async def well_behaved(world, key):
    """One request after the other on one connection; what comes back must be right."""
    connection = Connection(world.address)
    while not world.stopping.is_set():
        dialect = world.random.choice(list(dialects.ALL))
        question = world.questions.next()
        stream = dialect != "embeddings" and world.random.random() < 0.4
        await judged(world, connection, dialect, question, stream, key)
        await asyncio.sleep(world.random.expovariate(1 / world.pause_s))
    connection.close()


async def judged(world, connection, dialect, question, stream, key, pause_s=0.0):
    """One request whose outcome goes to the ledger."""
    kind = f"{dialect}{' stream' if stream else ''}"
    path, body = dialects.encode(dialect, question, stream)
    generation = world.generation
    try:
        await connection.send(request("POST", path, body, [("authorization", f"Bearer {key}")]))
        response = await connection.receive(pause_s=pause_s)
    except ClosedBetween:
        world.ledger.outcomes["sent again: closed between two requests"] += 1
        return await judged(world, connection, dialect, question, stream, key, pause_s)
    except (Lost, OSError) as why:
        connection.close()
        if world.generation == generation and not world.gateway_is_down:
            world.ledger.ended_badly(kind, f"{why}")
        return None
    if world.generation != generation:
        return response
    world.ledger.response(kind, response)
    judge(world, kind, dialect, question, stream, response)
    return response


def judge(world, kind, dialect, question, stream, response):
    ledger, body = world.ledger, response.body
    if response.status == 200:
        if dialect == "embeddings":
            if b'"embedding"' not in body:
                ledger.problem("embeddings: a response without a vector")
        elif not stream or dialects.ENDS[dialect] in body:
            ledger.answer(kind, question, body)
        elif b"error" in body:
            ledger.outcomes[f"{kind}: broken off with an error event"] += 1
            if not world.providers_may_fail():
                ledger.problem(f"{kind}: broken off while all providers were well")
        else:
            ledger.problem(f"{kind}: broken off without an error event")
    elif response.status not in REFUSALS:
        ledger.problem(f"{kind}: status {response.status}: {body[:200]!r}")
    elif not dialects.is_error(body):
        ledger.problem(f"{kind}: status {response.status} without an error envelope: {body[:200]!r}")
    elif not world.providers_may_fail():
        ledger.problem(f"{kind}: status {response.status} while all providers were well: {body[:200]!r}")


async def hanging_up(world, key):
    """Sends a part of a request, or all, and leaves at some point."""
    while not world.stopping.is_set():
        connection = Connection(world.address)
        dialect = world.random.choice(list(dialects.ENDS))
        path, body = dialects.encode(dialect, world.questions.next(), world.random.random() < 0.7)
        whole = request("POST", path, body, [("authorization", f"Bearer {key}")])
        world.ledger.abandoned += 1
        try:
            await connection.send(whole[:world.random.choice([10, len(whole) - 20, len(whole), len(whole)])])
            async with asyncio.timeout(world.random.random() * 0.1):
                await connection.reader.read(world.random.choice([1, 400, 4000]))
        except (OSError, TimeoutError):
            pass
        connection.close()
        world.ledger.outcomes["hung up"] += 1
        await asyncio.sleep(world.random.random() * 0.2)


async def slow_reader(world, key):
    """Reads streams slowly, but to the end: such a client gets all of it, or a named error when it is too slow."""
    connection = Connection(world.address, buffer_bytes=512)
    while not world.stopping.is_set():
        dialect = world.random.choice(list(dialects.ENDS))
        await judged(world, connection, dialect, world.questions.next(), True, key, pause_s=0.02)
    connection.close()


async def flood(world):
    """Pipelines requests without a key, thousands at once, then rests."""
    while not world.stopping.is_set():
        connection = Connection(world.address)
        path, body = dialects.encode("chat", "flood", False)
        count = 500
        world.ledger.abandoned += count
        try:
            await connection.open()
            connection.writer.write(request("POST", path, body) * count)
            async with asyncio.timeout(2):
                while await connection.reader.read(65536):
                    pass
        except (OSError, TimeoutError):
            pass
        connection.close()
        world.ledger.outcomes["floods"] += 1
        await asyncio.sleep(2 + world.random.random() * 4)


async def large_bodies(world, key):
    """Bodies of some MiB, without a key (refused) and with one (answered)."""
    while not world.stopping.is_set():
        for secret, wanted in ((key, None), ("sk-wrong", 401)):
            question = world.questions.fresh() + " " + "x" * world.random.randrange(1 << 18, 1 << 22)
            path, body = dialects.encode("chat", question, False)
            connection = Connection(world.address)
            generation = world.generation
            try:
                await connection.open()
                connection.writer.write(request("POST", path, body, [("authorization", f"Bearer {secret}")]))
                response = await connection.receive()
            except (Lost, OSError) as why:
                if world.generation == generation and not world.gateway_is_down:
                    world.ledger.ended_badly("large body", f"{why}")
                continue
            finally:
                connection.close()
            if world.generation != generation:
                continue
            world.ledger.response("large body", response)
            if wanted is None:
                judge(world, "large body", "chat", question, False, response)
            elif response.status != wanted:
                world.ledger.problem(f"large body with a wrong key: status {response.status}")
        await asyncio.sleep(1)


MALFORMED = [
    b"GET / HTTP/9.9\r\nhost: x\r\n\r\n", b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 5, 6\r\n\r\n",
    b"\x16\x03\x01\x02\x00", b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    b"GET /v1/models HTTP/1.1\r\nhost: a b\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]


async def malformed(world):
    """Sends what is no proper request: it is refused, and nothing else happens."""
    while not world.stopping.is_set():
        connection = Connection(world.address)
        world.ledger.abandoned += 1
        try:
            await connection.send(world.random.choice(MALFORMED))
            async with asyncio.timeout(2):
                reply = await connection.reader.read(65536)
            if reply and not reply.startswith(b"HTTP/1.1 4") and not reply.startswith(b"HTTP/1.1 5"):
                world.ledger.problem(f"a malformed request got {reply[:40]!r}")
        except (OSError, TimeoutError):
            pass
        connection.close()
        world.ledger.outcomes["malformed"] += 1
        await asyncio.sleep(0.3)
