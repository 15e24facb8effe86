"""A gateway is a broker like any other: it can be a node of another gateway."""

from dataclasses import replace
from pathlib import Path

from gateway.settings import FederationSettings
from tests.api.gateway.conftest import running_federation
from tests.api.gateway.test_acceptance import UNDERWAY
from tests.support.gateway import FEDERATION, running_gateway
from tests.support.requests import minimal_request
from tests.support.waiting import eventually


def named(name: str) -> FederationSettings:
    return replace(FEDERATION, name=name)


async def test_offers_come_through_two_gateways_and_are_accepted_through_both(
    tmp_path: Path,
) -> None:
    async with (
        running_federation(tmp_path, ("alpha", "beta"), federation=named("below")) as below,
        running_gateway(
            {"south": below.gateway.url}, tmp_path / "above", federation=named("above")
        ) as above,
    ):
        answer = await above.ask(minimal_request())
        assert answer.status == 303, answer.text
        assert answer.document["result"] == "YES", answer.text
        offer = answer.document["offers"][0]
        assert offer["federation"]["node"] == "south"
        assert offer["federation"]["path"][0] == "south"
        assert offer["federation"]["path"][1] in {"alpha", "beta"}
        uuid = offer["meta"]["uuid"]
        accepted = await above.move(uuid, "ACCEPTED")
        assert accepted.document["phase"] in UNDERWAY

        async def is_completed() -> bool:
            phase: str = (await above.read(uuid))["phase"]
            return phase == "COMPLETED"

        await eventually(is_completed, 8.0)
        assert (await below.gateway.read(uuid))["phase"] == "COMPLETED"


async def test_a_no_comes_through_two_gateways_with_the_nodes_own_words(tmp_path: Path) -> None:
    async with (
        running_federation(tmp_path, ("alpha",), federation=named("below")) as below,
        running_gateway(
            {"south": below.gateway.url}, tmp_path / "above", federation=named("above")
        ) as above,
    ):
        answer = await above.ask({})
        assert answer.document["result"] == "NO"
        said = [message["kind"] for message in answer.document["meta"]["messages"]]
        assert "urn:executable-required" in said
