"""A session whose node is lost before it ran is executed elsewhere, once, where its owner wishes.

Reproduces what Kueue's MultiKueue tests of a lost worker: a short loss moves nothing, a long one
moves the work exactly once (``test/integration/multikueue/jobs_test.go``).
"""

import asyncio
import json
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from gateway.wire.documents import Document
from tests.support.crashing import is_request, is_update
from tests.support.faulty_nodes import Asked, http_reply, offer_document, offerset_document, running
from tests.support.gateway import running_gateway
from tests.support.lost_node import (
    GRACE_S,
    NEVER_RUNS,
    PATIENT_GRACE,
    RUNS_LATER,
    RUNS_ON,
    WATCHFUL,
    WISH,
    LostNode,
    accept_at_alpha,
    accepted_at_alpha,
    kinds_of,
    message_of,
    metric_of,
    two_nodes,
)
from tests.support.node import node_settings, running_node
from tests.support.pair import LASTING
from tests.support.proxy import Moment, Weather
from tests.support.requests import minimal_request
from tests.support.waiting import eventually

UNDERWAY: Final = ("ACCEPTED", "WAITING", "PREPARING", "AVAILABLE", "RUNNING", "RELEASING")
SILENT: Final = ("urn:last-known", "urn:resubmission-waiting", "urn:resubmission-asking")


# -- how long it is lost ---------------------------------------------------------------------------


async def test_a_node_lost_for_less_than_the_grace_keeps_its_session(tmp_path: Path) -> None:
    async with accepted_at_alpha(tmp_path, sessions=PATIENT_GRACE) as lost:
        await lost.alpha.close()
        await lost.says("urn:resubmission-waiting")
        await lost.alpha.open()
        await lost.says_no_more(*SILENT)
        assert (await lost.read())["phase"] in UNDERWAY
        assert await lost.counted("begun") == 0
        assert lost.ran() == {lost.session}


async def test_many_short_losses_are_no_long_one(tmp_path: Path) -> None:
    async with accepted_at_alpha(
        tmp_path, sessions=replace(WATCHFUL, resubmit_after_s=1.0)
    ) as lost:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while loop.time() - began < 2.0:
            lost.alpha.weather = Weather.FAILS
            await lost.says("urn:resubmission-waiting")
            lost.alpha.weather = Weather.FINE
            await lost.says_no_more(*SILENT)
        assert await lost.counted("begun") == 0
        await lost.becomes(*UNDERWAY)


async def test_a_node_lost_for_longer_than_the_grace_loses_its_session_to_another_once(
    tmp_path: Path,
) -> None:
    async with accepted_at_alpha(tmp_path) as lost:
        await lost.alpha.close()
        successor = await lost.successor()
        found = await lost.becomes("COMPLETED", uuid=successor)
        left = await lost.becomes("CANCELLED")
        there = message_of(left, "urn:resubmitted-as")
        assert there["values"]["url"] == f"{lost.gateway.url}/sessions/{successor}"
        assert there["values"]["node"] == "alpha"
        assert message_of(found, "urn:resubmission-of")["values"]["session"] == lost.session
        assert found["federation"]["node"] == "beta"
        assert message_of(left, "urn:command-pending")["values"]["node"] == "alpha"
        assert lost.ran() == {lost.session, successor}
        assert await lost.counted("begun") == await lost.counted("moved") == 1
        assert lost.beta.seen.count(("POST", "/requests")) == 2  # at first, and once again


async def test_the_session_at_the_lost_node_is_cancelled_there_when_it_is_back(
    tmp_path: Path,
) -> None:
    async with accepted_at_alpha(tmp_path) as lost:
        await lost.alpha.close()
        successor = await lost.successor()
        assert (await lost.nodes["alpha"].session(lost.session))["phase"] in UNDERWAY
        await lost.alpha.open()
        await lost.at_node("alpha", lost.session, "CANCELLED")
        await lost.says_no_more("urn:command-pending")
        assert (await lost.read())["phase"] == "CANCELLED"
        await lost.becomes("COMPLETED", uuid=successor)


async def test_what_a_lost_node_does_unseen_is_ended_once_it_is_back_after_the_move(
    tmp_path: Path,
) -> None:
    async with accepted_at_alpha(tmp_path, platform=RUNS_ON) as lost:
        # It begins at the next full second: it is lost before that, and runs there all the same.
        lost.alpha.weather = Weather.FAILS
        assert (await lost.read())["phase"] != "RUNNING", "lost too late to tell anything"
        successor = await lost.successor()
        await lost.at_node("alpha", lost.session, "RUNNING")
        assert lost.alpha.seen.count(("POST", "/requests")) == 1, "the lost node is not asked again"
        lost.alpha.weather = Weather.FINE
        await lost.at_node("alpha", lost.session, "CANCELLED")
        assert (await lost.read())["phase"] == "CANCELLED"
        await lost.becomes("COMPLETED", uuid=successor)


# -- what its owner wishes -------------------------------------------------------------------------


async def test_without_the_wish_a_session_stays_at_its_lost_node_and_says_so(
    tmp_path: Path,
) -> None:
    async with accepted_at_alpha(tmp_path, wish=False) as lost:
        await lost.alpha.close()
        said = await lost.says("urn:not-resubmitted")
        assert "Prefer: resubmit" in said["message"]
        assert "urn:last-known" in kinds_of(await lost.read())
        await lost.stays_for(2 * GRACE_S, *UNDERWAY)
        assert await lost.counted("begun") == 0


async def test_the_wish_can_be_made_after_the_acceptance(tmp_path: Path) -> None:
    async with accepted_at_alpha(tmp_path, wish=False) as lost:
        answer = await lost.gateway.move(lost.session, "ACCEPTED", **WISH)
        assert answer.status == 200, answer.text
        await lost.alpha.close()
        await lost.successor()


async def test_a_direct_request_carries_the_wish_and_its_choice_of_nodes(tmp_path: Path) -> None:
    async with accepted_at_alpha(tmp_path) as lost:
        answer = await lost.gateway.call(
            "POST", "/direct?nodes=alpha", minimal_request(), Prefer="resubmit"
        )
        assert answer.status == 303, answer.text
        await lost.alpha.close()
        uuid = answer.document["meta"]["uuid"]
        await lost.successor()
        # Only alpha was wanted here, so nobody else is asked.
        asked = lost.beta.seen.count(("POST", "/requests"))
        await lost.says("urn:resubmission-asking", uuid)
        assert lost.beta.seen.count(("POST", "/requests")) == asked
        assert "urn:resubmitted-as" not in kinds_of(await lost.read(uuid))


async def test_what_its_owner_cancels_while_others_are_asked_is_not_moved(tmp_path: Path) -> None:
    async with accepted_at_alpha(tmp_path) as lost:
        gate = lost.beta.stop_at(Moment.ASKED, is_request)
        await lost.alpha.close()
        await gate.reached.wait()
        answer = await lost.gateway.move(lost.session, "CANCELLED")
        assert answer.document["phase"] == "CANCELLED"
        gate.open()
        await lost.comes_to("called_off")
        assert lost.ran() == {lost.session}
        assert "urn:resubmitted-as" not in kinds_of(await lost.read())


async def test_work_moves_on_as_often_as_the_settings_allow(tmp_path: Path) -> None:
    sessions = replace(WATCHFUL, resubmit_limit=2)
    async with accepted_at_alpha(tmp_path, beta=NEVER_RUNS, sessions=sessions) as lost:
        lost.alpha.weather = Weather.FAILS
        second = await lost.successor()
        lost.alpha.weather = Weather.FINE
        lost.beta.weather = Weather.FAILS
        third = str((await lost.says("urn:resubmitted-as", second))["values"]["session"])
        shown = await lost.becomes(*UNDERWAY, uuid=third)
        assert shown["federation"]["node"] == "alpha"
        assert message_of(shown, "urn:resubmission-of")["values"]["session"] == second
        lost.beta.weather = Weather.FINE
        lost.alpha.weather = Weather.FAILS
        await lost.says("urn:not-resubmitted", third)


# -- it comes back ---------------------------------------------------------------------------------


async def test_a_node_that_is_back_while_others_are_asked_keeps_its_session(
    tmp_path: Path,
) -> None:
    async with accepted_at_alpha(tmp_path) as lost:
        gate = lost.beta.stop_at(Moment.ANSWERED, is_request)
        await lost.alpha.close()
        await gate.reached.wait()
        await lost.alpha.open()
        await lost.says_no_more(*SILENT)
        gate.open()
        await lost.comes_to("called_off")
        await lost.stays_for(GRACE_S, *UNDERWAY)
        assert lost.ran() == {lost.session}
        # It may be lost again, and then it moves.
        lost.beta.remove_gates()
        await lost.alpha.close()
        await lost.successor()


@pytest.mark.parametrize("moment", [Moment.ASKED, Moment.ANSWERED])
async def test_a_node_that_is_back_before_another_is_seen_to_accept_keeps_its_session(
    tmp_path: Path, moment: Moment
) -> None:
    async with accepted_at_alpha(tmp_path, platform=RUNS_LATER) as lost:
        first = await lost.let_go_at_beta()
        gate = lost.beta.stop_at(moment, lambda told: is_update(told) and told.path != first)
        lost.alpha.weather = Weather.FAILS
        assert (await lost.read())["phase"] != "RUNNING", "lost too late to tell anything"
        await gate.reached.wait()
        lost.alpha.weather = Weather.FINE
        await lost.becomes("RUNNING")
        gate.open()
        await lost.comes_to("called_off")
        await lost.stays_for(GRACE_S, "RUNNING")
        assert "urn:resubmitted-as" not in kinds_of(await lost.read())
        for uuid in lost.ran() - {lost.session}:
            # On a slow machine it has come to its own end before it could be cancelled.
            await lost.at_node("beta", uuid, "CANCELLED", "COMPLETED")
            assert (await lost.read(uuid))["phase"] in {"CANCELLED", "COMPLETED"}


async def test_a_node_that_does_not_know_its_session_is_lost_and_told_when_it_knows_it_again(
    tmp_path: Path,
) -> None:
    offer = offer_document()
    is_known, told = True, list[bytes]()

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        body: Document = offer
        status = "200 OK"
        if asked.path.startswith("/requests"):
            body, status = offerset_document([offer]), "303 See Other"
        elif not is_known:
            body, status = {"title": "no such session"}, "404 Not Found"
        elif asked.method == "POST":
            told.append(asked.body)
            offer["phase"] = "CANCELLED" if b"CANCELLED" in asked.body else "PREPARING"
        writer.write(http_reply(json.dumps(body).encode(), status=status))

    async with (
        running(behave) as alpha,
        running_node(tmp_path, node_settings(name="beta")) as beta,
        running_gateway(
            {"alpha": alpha.url, "beta": beta.url},
            tmp_path / "gateway",
            sessions=replace(WATCHFUL, resubmit_after_s=1.0),
            commands=LASTING,
        ) as gateway,
    ):
        lost = LostNode(gateway, {"beta": beta}, {}, tmp_path)
        lost.session = await accept_at_alpha(gateway, WISH)
        is_known = False
        waiting = await lost.says("urn:resubmission-waiting")
        assert waiting["values"]["node"] == "alpha"
        await lost.becomes("COMPLETED", uuid=await lost.successor())
        offer["phase"] = "RUNNING"
        is_known = True

        async def is_ended() -> bool:
            return bool(offer["phase"] == "CANCELLED")

        await eventually(is_ended)


# -- who asks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("store_of_gateways", ["sqlite", "postgres"], indirect=True)
async def test_of_two_gateways_one_resubmits(tmp_path: Path) -> None:
    async with two_nodes(tmp_path) as (nodes, proxies), AsyncExitStack() as stack:
        urls = {name: proxy.url for name, proxy in proxies.items()}
        first, second = [
            await stack.enter_async_context(
                running_gateway(urls, tmp_path / "gateway", sessions=WATCHFUL, commands=LASTING)
            )
            for _ in range(2)
        ]
        lost = LostNode(first, nodes, proxies, tmp_path)
        lost.session = await accept_at_alpha(first, WISH)
        await lost.alpha.close()
        successor = await lost.successor()
        await lost.becomes("COMPLETED", uuid=successor)
        assert (await second.read(lost.session))["phase"] == "CANCELLED"
        assert lost.ran() == {lost.session, successor}
        moved = [
            await metric_of(one, "resubmissions_total", outcome="moved") for one in (first, second)
        ]
        assert sorted(moved) == [0, 1]


async def test_what_nobody_else_can_execute_is_asked_for_again_and_then_given_up(
    tmp_path: Path,
) -> None:
    commands = replace(LASTING, give_up_s=1.0)
    async with accepted_at_alpha(tmp_path, commands=commands) as lost:
        lost.beta.weather = Weather.FAILS
        await lost.alpha.close()
        await lost.says("urn:resubmission-asking")
        said = await lost.says("urn:resubmission-given-up")
        assert "None of the 2 nodes answered" in said["values"]["why"]
        assert (await lost.read())["phase"] in UNDERWAY
        assert await lost.counted("given_up") == 1
        await lost.alpha.open()
        await lost.says_no_more("urn:resubmission-given-up", *SILENT)
