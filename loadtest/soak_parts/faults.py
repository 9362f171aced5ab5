"""The faults, one after the other in an order that the seed decides; each is over before the next begins."""

import asyncio
import time

import dialects
from clients import judged
from gateway import KEYS
from http_client import Connection, exchange, request


async def provider_fails(world):
    """A part of one provider's responses are errors of some kind."""
    mock = world.random.choice(world.mocks)
    kind = world.random.choice(["status=500", "status=429 retry-after=1", "hangup=head", "hangup=mid", "body=html",
                                "status=503", "truncate=true"])
    with world.failing():
        await mock.behave(fail_rate="0.3", fail_as=kind)
        await asyncio.sleep(4)
        await mock.behave()
        await asyncio.sleep(1)


async def provider_killed(world):
    """One provider is gone for a while."""
    mock = world.random.choice(world.mocks)
    with world.failing():
        mock.kill()
        await asyncio.sleep(3)
        mock.start()
        await asyncio.sleep(1)


async def provider_slow(world):
    """One provider answers late: streams and calls pile up."""
    mock = world.random.choice(world.mocks)
    await mock.behave(latency="exponential:400ms")
    await asyncio.sleep(4)
    await mock.behave()


async def key_revoked(world):
    """A key is taken out of the configuration, and put back."""
    for names, wanted in (([name for name in KEYS if name != "c"], 401), (list(KEYS), 200)):
        if not await world.gateway.reload(names):
            return world.ledger.problem("a reload did not take effect within 10 s")
        reply = await exchange(world.address, "GET", "/v1/models", headers=[("authorization", f"Bearer {KEYS['c']}")])
        world.ledger.response("models", reply)
        if reply.status != wanted:
            world.ledger.problem(f"key c got {reply.status} instead of {wanted} after a reload")
        await asyncio.sleep(1)
    return None


async def entries_deleted(world):
    """All entries are deleted while a response is in flight: it must not be stored behind the deletion."""
    connection = Connection(world.address)
    question = world.questions.fresh() + " [[mock latency=300ms]]"
    pending = asyncio.create_task(judged(world, connection, "chat", question, False, KEYS["a"]))
    await asyncio.sleep(0.15)
    deleted = await world.gateway.admin_call("DELETE", "/admin/v1/cache")
    if deleted.status != 200:
        world.ledger.problem(f"DELETE of the cache: status {deleted.status}")
    await pending
    again = await judged(world, connection, "chat", question, False, KEYS["a"])
    connection.close()
    if again is not None and again.headers.get("x-ringside-cache") == "exact":
        world.ledger.problem("a response was stored behind a deletion that came after it began")


async def evictions(world):
    """More new answers than the cache has room for."""
    async def fill(key):
        connection = Connection(world.address)
        for _ in range(60):
            path, body = dialects.encode("chat", world.questions.fresh() + " [[mock tokens=4000 latency=0ms]]", False)
            await connection.send(request("POST", path, body, [("authorization", f"Bearer {key}")]))
            world.ledger.response("evictions", await connection.receive())
        connection.close()
    await asyncio.gather(*(fill(key) for key in KEYS.values()))


async def probes(world):
    """Liveness and readiness answer at once, whatever else goes on."""
    while not world.stopping.is_set():
        for path in ("/livez", "/readyz"):
            if world.gateway_is_down:
                continue
            began, generation = time.monotonic(), world.generation
            try:
                status = (await world.gateway.admin_call("GET", path)).status
            except Exception as why:  # noqa: BLE001
                status = repr(why)
            if world.generation == generation and not world.gateway_is_down:
                world.probe_ms.append((time.monotonic() - began) * 1000)
                if status != 200:
                    world.ledger.problem(f"{path}: {status}")
        await asyncio.sleep(0.5)


ALL = [provider_fails, provider_killed, provider_slow, key_revoked, entries_deleted, evictions]


async def one_after_the_other(world):
    while not world.stopping.is_set():
        for fault in world.random.sample(ALL, len(ALL)):
            if world.stopping.is_set():
                break
            if world.gateway_is_down:
                await asyncio.sleep(0.5)
                continue
            world.mark(fault.__name__)
            generation = world.generation
            try:
                await fault(world)
            except Exception as why:  # noqa: BLE001
                if world.generation == generation and not world.gateway_is_down:
                    world.ledger.problem(f"{fault.__name__}: {why!r}")
            world.ledger.outcomes[f"fault {fault.__name__}"] += 1
            await asyncio.sleep(world.rest_s)
