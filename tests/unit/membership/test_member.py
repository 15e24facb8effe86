"""Step by step through a membership: what is done when, and how long is waited in between."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from gateway.httpkit.membership.capabilities import tag_of
from gateway.httpkit.membership.client import MAX_REPLY_BYTES
from gateway.httpkit.membership.member import (
    FIRST_PAUSE_S,
    JITTER,
    REFUSED_PAUSE_S,
    SHORTEST_RENEW_S,
    MemberState,
)
from gateway.wire.documents import to_json
from gateway.wire.secret import Secret
from node_stub.membership_files import MembershipFiles
from tests.support.joined_gateway import TOKEN, JoinedGateway, joined_gateway
from tests.support.membership import joining
from tests.support.waiting import until

RENEW_S: Final = 30.0


@pytest.fixture
async def gateway() -> AsyncIterator[JoinedGateway]:
    async with joined_gateway(RENEW_S) as running:
        yield running


def is_about(pause_s: float, wished_s: float) -> bool:
    return wished_s * (1 - JITTER) <= pause_s <= wished_s * (1 + JITTER)


async def test_the_next_step_after_joining_and_after_each_renewal_is_the_next_renewal(
    gateway: JoinedGateway, tmp_path: Path
) -> None:
    async with joining(gateway, tmp_path) as here:
        pauses = [await here.member.step() for _ in range(8)]
        assert all(is_about(pause_s, RENEW_S) for pause_s in pauses)
        assert len(set(pauses)) == 8
        assert len(gateway.told) == 7
        assert here.member.status.state is MemberState.MEMBER


async def test_nothing_is_done_before_connections_are_taken(
    gateway: JoinedGateway, tmp_path: Path
) -> None:
    async with joining(gateway, tmp_path, is_listening=False) as here:
        assert await here.member.step() > RENEW_S
        assert gateway.calls == 0
        here.lifecycle.begin_listening("http://127.0.0.1:1")
        assert here.member.wake.is_set()


async def test_a_gateway_that_is_away_is_asked_again_ever_more_slowly_and_never_given_up(
    gateway: JoinedGateway, tmp_path: Path
) -> None:
    async with joining(gateway, tmp_path) as here:
        await here.member.step()
        gateway.fault = 503
        pauses = [await here.member.step() for _ in range(7)]
        assert pauses == [FIRST_PAUSE_S * 2**n for n in range(5)] + [RENEW_S, RENEW_S]
        assert here.member.status.state is MemberState.AWAY
        gateway.fault = None
        assert is_about(await here.member.step(), RENEW_S)
        gateway.fault = 503
        assert await here.member.step() == FIRST_PAUSE_S


@pytest.mark.parametrize("status", [408, 429, 500, 502])
async def test_trouble_of_the_gateway_is_no_refusal(
    gateway: JoinedGateway, tmp_path: Path, status: int
) -> None:
    gateway.fault = status
    async with joining(gateway, tmp_path) as here:
        assert await here.member.step() == FIRST_PAUSE_S
        assert here.member.status.state is MemberState.AWAY


@pytest.mark.parametrize("status", [301, 307, 400, 401, 403, 404, 409, 422])
async def test_a_refusal_is_told_once_and_tried_again_slowly(
    gateway: JoinedGateway, tmp_path: Path, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.fault = status
    async with joining(gateway, tmp_path) as here:
        for _ in range(3):
            assert await here.member.step() == REFUSED_PAUSE_S
        assert here.member.status.reason == f"{status}: as it was told to"
    said = capsys.readouterr().out
    assert said.count("membership_refused") == 1
    assert TOKEN not in said
    gateway.fault = None


async def test_what_the_service_can_do_and_whether_it_drains_goes_with_each_renewal(
    gateway: JoinedGateway, tmp_path: Path
) -> None:
    async with joining(gateway, tmp_path) as here:
        await here.member.step()
        await here.member.step()
        here.said.can = here.said.can | {"kinds": ["https://example.org/new-kind"]}
        here.said.drain()
        here.membership.tell()
        assert here.member.wake.is_set()
        await here.member.step()
        assert not here.member.wake.is_set()
        before, after = gateway.told
        assert (before["draining"], after["draining"]) == (False, True)
        assert before["capabilities"] != after["capabilities"] == tag_of(here.said.can)


async def test_a_service_that_drains_says_so_as_soon_as_it_is_registered(
    gateway: JoinedGateway, tmp_path: Path
) -> None:
    async with joining(gateway, tmp_path) as here:
        here.said.drain()
        await here.member.step()
        assert [renewal["draining"] for renewal in gateway.told] == [True]


async def test_a_registration_that_is_lost_is_made_anew_with_the_own_credential(
    gateway: JoinedGateway, tmp_path: Path
) -> None:
    async with joining(gateway, tmp_path) as here:
        await here.member.step()
        gateway.forget()
        assert await here.member.step() == FIRST_PAUSE_S
        assert is_about(await here.member.step(), RENEW_S)
        assert gateway.bearers[-1] == gateway.credentials["alpha"]


async def test_a_credential_that_no_longer_holds_is_replaced_with_the_token(
    gateway: JoinedGateway, tmp_path: Path
) -> None:
    async with joining(gateway, tmp_path) as here:
        await here.member.step()
        old = gateway.credentials.pop("alpha")
        gateway.forget()
        gateway.tokens.add(TOKEN)
        await here.member.step()
        await here.member.step()
        assert gateway.bearers[-2:] == [old, TOKEN]
        assert gateway.credentials["alpha"] != old
        await here.member.step()
        assert here.member.status.state is MemberState.MEMBER


async def test_a_name_that_is_taken_is_not_tried_for_with_every_credential(
    gateway: JoinedGateway, tmp_path: Path
) -> None:
    gateway.credentials["alpha"] = "ebn_somebody-else"
    async with joining(gateway, tmp_path) as here:
        assert await here.member.step() == REFUSED_PAUSE_S
        assert here.member.status.reason == "409: the name is taken"
    gateway.credentials.clear()
    async with joining(gateway, tmp_path) as here:
        await here.member.step()
    gateway.fault, gateway.calls = 409, 0
    async with joining(gateway, tmp_path) as here:
        assert await here.member.step() == REFUSED_PAUSE_S
        assert gateway.calls == 1


async def test_a_gateway_that_asks_for_renewals_without_end_is_not_obeyed(
    gateway: JoinedGateway, tmp_path: Path
) -> None:
    gateway.renew_s = 0.0
    async with joining(gateway, tmp_path) as here:
        assert is_about(await here.member.step(), SHORTEST_RENEW_S)


async def test_a_service_that_is_about_to_end_leaves_and_does_not_come_back(
    gateway: JoinedGateway, tmp_path: Path
) -> None:
    async with joining(gateway, tmp_path) as here:
        await here.member.step()
        here.lifecycle.begin_draining()
        assert here.member.wake.is_set()
        assert await here.member.step() > RENEW_S
        assert here.member.status.state is MemberState.LEFT
        await here.member.step()
    assert gateway.left == ["alpha"]
    assert len(gateway.bearers) == 2


async def test_leaving_that_was_cancelled_on_the_way_is_done_at_the_end(
    gateway: JoinedGateway, tmp_path: Path
) -> None:
    gateway.hangs = True
    async with joining(gateway, tmp_path) as here:
        await here.member.step()
        here.lifecycle.begin_draining()
        step = asyncio.create_task(here.member.step())
        await until(lambda: gateway.calls == 2)
        step.cancel()
        await asyncio.wait([step])
        gateway.hangs = False
    assert gateway.left == ["alpha"]


async def test_a_gateway_that_hangs_at_the_end_keeps_nobody(
    gateway: JoinedGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.httpkit.membership.membership.LEAVE_S", 0.05)
    gateway.hangs = True
    loop = asyncio.get_running_loop()
    async with joining(gateway, tmp_path) as here:
        await here.member.step()
        began = loop.time()
    assert loop.time() - began < 2.0
    assert gateway.left == []


async def test_a_credential_that_cannot_be_kept_is_kept_as_soon_as_it_can(
    gateway: JoinedGateway, tmp_path: Path
) -> None:
    name = hashlib.sha256(gateway.url.encode()).hexdigest()[:16]
    in_the_way = tmp_path / "memberships" / f"{name}.json.new"
    in_the_way.mkdir(parents=True)
    async with joining(gateway, tmp_path) as here:
        await here.member.step()
        assert here.member.status.state is MemberState.MEMBER
        in_the_way.rmdir()
        await here.member.step()
        (file,) = in_the_way.parent.iterdir()
        assert gateway.credentials["alpha"] in file.read_text()


class Hesitant(MembershipFiles):
    """Takes its time with the first credential it is to keep."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.was_asked = asyncio.Event()

    async def keep(self, gateway: str, credential: Secret) -> None:
        if not self.was_asked.is_set():
            self.was_asked.set()
            await asyncio.Event().wait()
        await super().keep(gateway, credential)


async def test_who_ends_as_it_is_admitted_still_comes_back_without_the_token(
    gateway: JoinedGateway, tmp_path: Path
) -> None:
    keeping = Hesitant(tmp_path / "memberships")
    async with joining(gateway, tmp_path, keeping=keeping) as here:
        step = asyncio.create_task(here.member.step())
        await keeping.was_asked.wait()
        assert here.member.status.state is MemberState.JOINING
        here.lifecycle.begin_draining()
        step.cancel()
        await asyncio.wait([step])
    assert gateway.left == ["alpha"]
    async with joining(gateway, tmp_path, token=None, keeping=keeping) as here:
        await here.member.step()
        assert here.member.status.state is MemberState.MEMBER


async def test_an_answer_that_is_too_long_or_no_answer_at_all_is_no_registration(
    gateway: JoinedGateway, tmp_path: Path
) -> None:
    async with joining(gateway, tmp_path) as here:
        long = to_json({"name": "alpha", "state": "up", "lease": {"renew_s": 1, "expires_s": 3}})
        for answer in (long + b" " * MAX_REPLY_BYTES, b"[]", b'{"name": "alpha"}', b"{"):
            gateway.says = answer
            assert await here.member.step() >= FIRST_PAUSE_S
            assert here.member.status.state is MemberState.AWAY
        gateway.says = None
        await here.member.step()
        assert here.member.status.state is MemberState.MEMBER
