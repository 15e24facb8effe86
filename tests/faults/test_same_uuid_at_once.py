"""A node that gives the same UUIDs to requests that are under way at the same time."""

import asyncio
import json
from pathlib import Path

from tests.support.faulty_nodes import (
    Asked,
    http_reply,
    offer_document,
    offerset_document,
    running,
)
from tests.support.gateway import running_gateway
from tests.support.requests import minimal_request

AT_ONCE = 8


async def test_what_one_request_was_offered_no_other_is_shown(tmp_path: Path) -> None:
    """All look whether the UUIDs are known before any of them has saved its own."""
    answer = json.dumps(offerset_document([offer_document() for _ in range(3)])).encode()
    arrived = 0
    all_there = asyncio.Event()

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        nonlocal arrived
        if asked.method == "POST" and asked.path.startswith("/requests"):
            arrived += 1
            if arrived == AT_ONCE:
                all_there.set()
            await all_there.wait()
        writer.write(http_reply(answer))

    async with running(behave) as node, running_gateway({"twins": node.url}, tmp_path) as gateway:
        answers = await asyncio.gather(
            *(gateway.ask(minimal_request(), "?per_node=3") for _ in range(AT_ONCE))
        )
        assert {one.status for one in answers} == {303}
        shown = [
            (offer["meta"]["uuid"], one.document["meta"]["uuid"])
            for one in answers
            for offer in one.document.get("offers", ())
        ]
        assert len(shown) == 3, "each of the three belongs to one offer set"
        for uuid, offerset in shown:
            read = await gateway.call("GET", f"/offersets/{offerset}")
            assert uuid in {offer["meta"]["uuid"] for offer in read.document["offers"]}
