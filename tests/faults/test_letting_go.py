"""What is over frees the rest, directly executed requests included: nothing is held for nobody."""

import asyncio
from pathlib import Path
from typing import Final

from gateway.sections.credentials import PassThroughSettings
from gateway.settings import CommandSettings
from gateway.wire.documents import Document
from node_stub.config import OfferSettings
from node_stub.platforms.simulated import JobStep, SimulatedSettings
from tests.api.gateway.conftest import holds_of
from tests.support.crashing import is_update
from tests.support.faulty_nodes import (
    answers_late,
    answers_unchanged_to_accept,
    running,
)
from tests.support.gateway import (
    running_gateway,
)
from tests.support.node import ALICE, node_settings, running_node
from tests.support.pair import LASTING, pair
from tests.support.proxy import Weather, running_proxy
from tests.support.requests import minimal_request
from tests.support.stores import Store
from tests.support.waiting import eventually

UNDERWAY: Final = {"ACCEPTED", "WAITING", "PREPARING", "AVAILABLE", "RUNNING", "RELEASING"}
TAKEN: Final = UNDERWAY | {"COMPLETED"}
RUNS_ON: Final = SimulatedSettings(prepare_s=0, run_s=0, release_s=0, hang=frozenset({JobStep.RUN}))


async def test_a_pending_acceptance_that_is_seen_to_be_over_frees_the_other_offers(
    tmp_path: Path,
) -> None:
    short = OfferSettings(count=1, expires_s=1, min_expires_s=1)
    async with pair(tmp_path, alpha_changes={"offers": short}, commands=LASTING) as two:
        offers = await two.offers()
        two.proxy.applies_to = is_update
        two.proxy.weather = Weather.FAILS
        assert (await two.accept(offers["alpha"])).status in {409, 503}
        await two.becomes_at_alpha(offers["alpha"], "EXPIRED")
        await two.becomes(offers["alpha"], "EXPIRED")
        answer = await two.accept(offers["beta"])
        assert answer.status == 200, answer.text


async def test_a_late_answer_after_the_accepted_session_was_cancelled_is_let_go(
    tmp_path: Path,
) -> None:
    async with (
        running(answers_late(0.8, offers=1)) as late,
        running_node(tmp_path, node_settings(platform=RUNS_ON)) as node,
        running_gateway({"alpha": node.url, "late": late.url}, tmp_path / "gateway") as gateway,
    ):
        answer = await gateway.ask(minimal_request(), Prefer="wait=0.3")
        uuid = answer.document["offers"][0]["meta"]["uuid"]
        await gateway.move(uuid, "ACCEPTED")
        await gateway.move(uuid, "CANCELLED")
        path = f"/offersets/{answer.document['meta']['uuid']}"

        async def has_come() -> Document | None:
            document: Document = (await gateway.call("GET", path)).document
            return (
                document
                if "late" in [entry["outcome"] for entry in document["federation"]["coverage"]]
                else None
            )

        document = await eventually(has_come)
        assert document is not None
        assert {offer["federation"]["node"] for offer in document["offers"]} == {"alpha"}


async def test_holds_at_a_node_with_the_owners_own_account_are_let_go_in_the_owners_name(
    tmp_path: Path,
) -> None:
    async with (
        running_node(tmp_path, node_settings()) as node,
        running_gateway(
            {"alpha": node.url},
            tmp_path / "gateway",
            node_options={"alpha": {"credentials": (PassThroughSettings(),)}},
        ) as gateway,
    ):
        answer = await gateway.call("POST", "/requests?limit=1", minimal_request(), account=ALICE)
        assert len(answer.document["offers"]) == 1

        async def one_is_held() -> bool:
            return await holds_of(node) == 1

        await eventually(one_is_held)


# -- directly --------------------------------------------------------------------------------------


async def test_a_direct_request_that_comes_to_nothing_lets_every_offer_go(tmp_path: Path) -> None:
    async with (
        running(answers_unchanged_to_accept()) as stubborn,
        running_gateway({"stubborn": stubborn.url}, tmp_path / "gateway") as gateway,
    ):
        answer = await gateway.call("POST", "/direct", minimal_request())
        assert answer.status == 400

        async def was_rejected() -> bool:
            return any(b"REJECTED" in asked.body for asked in stubborn.asked)

        await eventually(was_rejected)


async def test_a_direct_request_cut_short_before_its_acceptance_is_carried_on(
    tmp_path: Path, store: Store
) -> None:
    """As a crash leaves it between the choice and the intent, which are two transactions."""
    async with pair(tmp_path) as two:
        offers = await two.offers("", Idempotency_Key="cut")
        uuid = offers["alpha"]["meta"]["uuid"]
        async with store.opened(tmp_path / "gateway") as database, database.transaction() as tx:
            await tx.execute("UPDATE idempotency SET path = '/direct', session = ?", (uuid,))
        answer = await two.gateway.call("POST", "/direct", minimal_request(), Idempotency_Key="cut")
        assert answer.status == 303, answer.text
        assert answer.document["phase"] in TAKEN
        await two.becomes(answer.document, "COMPLETED")
        assert two.ran() == {answer.document["meta"]["uuid"]}


async def test_one_direct_request_sent_twice_at_once_executes_once(tmp_path: Path) -> None:
    async with (
        running(answers_unchanged_to_accept()) as stubborn,
        pair(tmp_path) as two,
        running_gateway(
            {"stubborn": stubborn.url, "alpha": two.proxy.url, "beta": two.beta.url},
            tmp_path / "third",
        ) as gateway,
    ):
        # Only the canned offer says what it costs, so it is tried first, in vain.
        answers = await asyncio.gather(
            *(
                gateway.call(
                    "POST", "/direct?policy=cheapest", minimal_request(), Idempotency_Key="twice"
                )
                for _ in range(3)
            )
        )
        assert {answer.status for answer in answers} == {303}, [a.text for a in answers]
        assert len({answer.document["meta"]["uuid"] for answer in answers}) == 1
        assert len(two.ran()) == 1


async def test_a_node_that_hangs_delays_no_command_to_another(tmp_path: Path) -> None:
    async with (
        running_node(tmp_path / "a", node_settings(name="alpha")) as alpha,
        running_node(tmp_path / "b", node_settings(name="beta")) as beta,
        running_proxy(alpha.url) as proxy,
        running_gateway(
            {"alpha": proxy.url, "beta": beta.url},
            tmp_path / "g",
            commands=CommandSettings(first_s=0.05, deadline_s=10, lease_s=30, at_once=4),
        ) as gateway,
    ):
        proxy.applies_to = is_update
        proxy.weather = Weather.HANGS
        for _ in range(4):
            answer = await gateway.ask(minimal_request(), "?limit=1&nodes=alpha,beta")
            assert answer.status == 303

        async def only_what_was_kept_is_held_at_beta() -> bool:
            return await holds_of(beta) <= 4

        await eventually(only_what_was_kept_is_held_at_beta, 4.0)
        proxy.weather = Weather.FINE
