"""UUIDs that belong to something already: what comes with them is never handed out again."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

from gateway.wire.documents import Document, to_json
from tests.support.faulty_nodes import (
    Asked,
    Behaviour,
    http_reply,
    offer_document,
    offerset_document,
    running,
)
from tests.support.gateway import running_gateway
from tests.support.requests import minimal_request

COMPUTE = str(uuid4())
"""The component that every offer of a node claims for itself."""


def offers_with(**meta: str) -> Behaviour:
    """One fresh offer at a time, whose compute resource has these members of ``meta``."""

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.path.startswith("/requests"):
            offer: dict[str, Any] = offer_document()
            offer["compute"]["meta"] |= meta
            writer.write(http_reply(to_json(offerset_document([offer]))))
        else:
            writer.write(http_reply(b"{}", status="404 Not Found"))

    return behave


def covered(document: Document) -> tuple[str, int, str | None]:
    """Outcome, offers and reason of the only node."""
    (entry,) = document["federation"]["coverage"]
    return entry["outcome"], entry["offers"], (entry["reason"] or {}).get("code")


async def test_an_offer_with_a_component_of_another_session_is_not_handed_out(
    tmp_path: Path,
) -> None:
    async with (
        running(offers_with(uuid=COMPUTE)) as alpha,
        running_gateway({"alpha": alpha.url}, tmp_path) as gateway,
    ):
        first = (await gateway.ask(minimal_request())).document
        assert covered(first) == ("answered", 1, None)
        assert first["offers"][0]["compute"]["meta"]["uuid"] == COMPUTE
        second = (await gateway.ask(minimal_request())).document
        assert second["result"] == "NO"
        assert covered(second) == ("answered", 0, "no_fitting_offer")
        explained = await gateway.call("GET", f"/offersets/{second['meta']['uuid']}/explanation")
        (rejected,) = explained.document["rejected"]
        assert [why["code"] for why in rejected["reasons"]] == ["duplicate_offer"]


async def test_offers_with_components_of_their_own_are_handed_out_every_time(
    tmp_path: Path,
) -> None:
    async with (
        running(offers_with(name="cpu")) as alpha,
        running_gateway({"alpha": alpha.url}, tmp_path) as gateway,
    ):
        for _ in range(2):
            assert covered((await gateway.ask(minimal_request())).document)[:2] == ("answered", 1)
