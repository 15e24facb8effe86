"""Against a real Rucio: whatever it knows is found, and nothing it does delays an answer.

The server and what it knows: tests/support/rucio.py and tests/support/rucio_seed.py.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.domain.holdings import Copy, DidKind, Place
from gateway.domain.reasons import ReasonCode
from gateway.sections.lake_settings import (
    LocatingSettings,
    OidcSettings,
)
from gateway.wire.secret import Secret
from tests.support.oidc_issuer import CLIENT_ID, CLIENT_SECRET, SUBJECT, running_issuer
from tests.support.rucio import ACCOUNT, RucioServer
from tests.support.rucio_lake import Lake, running_lake
from tests.support.rucio_seed import (
    BLOCKED,
    COMPLETE,
    DEEP,
    GB,
    LOST,
    SCATTERED,
    SCOPE,
    SITES,
    TAPED,
)
from tests.support.waiting import eventually

pytestmark = [pytest.mark.xdist_group("rucio"), pytest.mark.timeout(240)]

HASTY = LocatingSettings(
    failing_s=0.4, failures=3, rest_s=0.3, silence_s=3, closed_s=0.001, open_s=0.001
)
"""Answers are stale at once, and a lake that is gone is noticed soon."""


@pytest.fixture
async def lake(rucio: RucioServer, tmp_path: Path) -> AsyncIterator[Lake]:
    async with running_lake(rucio, tmp_path) as running:
        yield running


async def test_a_file_is_found_with_its_size_checksums_and_urls(lake: Lake) -> None:
    holding = await lake.holding(DEEP[0])
    assert (holding.kind, holding.bytes, holding.files) == (DidKind.FILE, DEEP[1], 1)
    assert {one.type: one.value for one in holding.checksums} == {
        "adler32": "0cc737eb",
        "md5": "0" * 32,
    }
    (copy,) = holding.parts[0].copies
    assert copy.place == Place(rse="SE_OSO")
    assert copy.urls[0].startswith("davs://se-oso.test.invalid:1094/data/")
    assert copy.urls[0].endswith("/deep/er/name.fits")


async def test_a_dataset_is_found_with_whole_partial_and_blocked_copies(lake: Lake) -> None:
    holding = await lake.holding("complete")
    assert (holding.kind, holding.bytes, holding.files) == (DidKind.DATASET, 55 * GB, 10)
    assert holding.parts[0].copies == (
        Copy(Place(rse="AU_STORM"), 45 * GB, 9, is_complete=False),
        Copy(Place(rse="JP_STORM"), 45 * GB, 9, is_complete=False),
        Copy(Place(rse="UK_XRD"), 55 * GB, 10),
        Copy(Place(rse=BLOCKED), 55 * GB, 10, is_readable=False),
    )


async def test_a_dataset_that_is_nowhere_whole_is_known_exactly_after_a_moment(lake: Lake) -> None:
    first = (await lake.locate("scattered")).holdings[0]
    assert first.is_approximate
    holding = await lake.holding("scattered")
    shown = {
        tuple(copy.place.rse for copy in part.copies): (part.bytes, part.files)
        for part in holding.parts
    }
    assert shown == {("CA_XRD",): (12 * GB, 3), ("SE_OSO", "ZA_IDIA"): (9 * GB, 3)}


async def test_a_container_of_containers_is_found_with_its_parts(lake: Lake) -> None:
    holding = await lake.holding("all")
    total = sum(size for _, size in (*COMPLETE, *SCATTERED, *TAPED))
    assert (holding.kind, holding.bytes, holding.files) == (DidKind.CONTAINER, total, 18)
    tapes = [part for part in holding.parts if any(copy.is_tape for copy in part.copies)]
    assert [(part.name, part.bytes) for part in tapes] == [(f"{SCOPE}:taped", 10 * GB)]


async def test_what_cannot_be_read_anywhere_is_there_and_has_no_copy(lake: Lake) -> None:
    located = await lake.locate("lost", "blocked", "empty")
    lost, blocked, empty = (located.holdings[index] for index in range(3))
    assert (lost.bytes, lost.parts[0].copies) == (LOST[1], ())
    assert blocked.parts[0].copies == ()
    assert (empty.bytes, empty.files) == (0, 0)


async def test_unknown_and_impossible_names_cost_nobody_else_anything(lake: Lake) -> None:
    names = ("nobody", "im possible", "../up", "x" * 300, "lost", "complete")
    located = await lake.locate(*names)
    assert set(located.holdings) == {4, 5}
    assert [located.missing[index].code for index in range(4)] == [
        ReasonCode.DATA_NOT_FOUND,
        ReasonCode.DATA_PLACE_UNKNOWN,
        ReasonCode.DATA_PLACE_UNKNOWN,
        ReasonCode.DATA_PLACE_UNKNOWN,
    ]


async def test_more_than_a_thousand_names_are_no_matter(lake: Lake) -> None:
    located = await lake.locate("lost", *(f"nobody-{index}" for index in range(1100)))
    assert set(located.holdings) == {0}
    assert len(located.missing) == 1100


async def test_a_login_that_has_ended_is_renewed_without_anybody_noticing(
    rucio: RucioServer, tmp_path: Path
) -> None:
    async with running_lake(rucio, tmp_path, HASTY) as lake:
        await lake.locate("lost")
        await asyncio.to_thread(rucio.forget_logins)
        located = await lake.locate("complete")
        assert not located.holdings[0].is_stale
        assert located.notes == ()
        assert rucio.logins() == 1
        await asyncio.gather(*(lake.locate("complete", "lost") for _ in range(10)))
        assert rucio.logins() == 1  # shared by all


async def test_tokens_of_an_oidc_issuer_are_as_good_as_a_password(
    rucio: RucioServer, tmp_path: Path
) -> None:
    async with running_issuer(rucio.issuer_port) as issuer:
        await asyncio.to_thread(rucio.bind, f"SUB={SUBJECT}, ISS={issuer.url}", ACCOUNT)
        oidc = OidcSettings(
            token_url=f"{issuer.url}token",
            client_id=CLIENT_ID,
            client_secret=Secret(CLIENT_SECRET),
            audience="rucio",
            scope="openid profile",
        )
        no_password = {"username": None, "password": None}
        async with running_lake(rucio, tmp_path, oidc=oidc, **no_password) as lake:
            assert (await lake.holding("complete")).bytes == 55 * GB
        assert [form["audience"] for form in issuer.given] == ["rucio"]
        wrong = replace(oidc, audience="somebody-else")
        async with running_lake(rucio, tmp_path, oidc=wrong, **no_password) as lake:
            located = await lake.locate("complete")
        assert located.missing[0].code is ReasonCode.LAKE_REFUSED_CREDENTIALS
        assert len(issuer.given) == 3  # refused once, it is asked for another, once


async def test_a_wrong_password_is_said_as_such(rucio: RucioServer, tmp_path: Path) -> None:
    async with running_lake(rucio, tmp_path, password=Secret("wrong")) as lake:
        located = await lake.locate("complete")
    assert located.missing[0].code is ReasonCode.LAKE_REFUSED_CREDENTIALS


async def test_a_restart_is_survived_with_old_answers(rucio: RucioServer, tmp_path: Path) -> None:
    async with running_lake(rucio, tmp_path, HASTY) as lake:
        await lake.locate("complete")
        await asyncio.sleep(0.01)  # until it is old
        rucio.stop()
        try:
            began = asyncio.get_running_loop().time()
            located = await lake.locate("complete", "lost", within_s=2)
            assert asyncio.get_running_loop().time() - began < 1
        finally:
            await asyncio.to_thread(rucio.start)
        assert located.holdings[0].is_stale
        assert located.missing[1].code is ReasonCode.LAKE_UNAVAILABLE
        assert [note.code for note in located.notes] == [ReasonCode.LAKE_UNAVAILABLE]

        async def look() -> bool:
            found = await lake.locate("complete", "lost")
            return not found.missing and not found.holdings[0].is_stale

        await eventually(look, 10)


async def test_a_hang_costs_no_more_than_the_wait_and_its_answer_is_kept(
    rucio: RucioServer, tmp_path: Path
) -> None:
    async with running_lake(rucio, tmp_path, HASTY) as lake:
        await lake.locate("complete")
        await asyncio.sleep(0.01)  # until it is old
        rucio.pause()
        try:
            began = asyncio.get_running_loop().time()
            located = await lake.locate("complete", "lost", within_s=0.5)
            assert asyncio.get_running_loop().time() - began < 0.8
        finally:
            rucio.resume()
        assert located.holdings[0].is_stale
        assert located.missing[1].code is ReasonCode.LAKE_TIMEOUT

        async def look() -> bool:
            return not (await lake.locate("lost")).missing

        await eventually(look, 10)


async def settled(server: RucioServer) -> int:
    """How many requests the server has answered, once it has done with those of other tests."""
    counts = [-1]

    async def look() -> bool:
        await asyncio.sleep(0.05)
        counts.append(server.requests())
        return counts[-1] == counts[-2]

    await eventually(look)
    return counts[-1]


async def test_fifty_requests_at_once_are_a_handful_of_calls(
    rucio: RucioServer, tmp_path: Path
) -> None:
    async with running_lake(rucio, tmp_path) as lake:
        before = await settled(rucio)
        results = await asyncio.gather(*(lake.locate("complete", "lost") for _ in range(50)))
        assert all(set(located.holdings) == {0, 1} for located in results)
        # Login, what they are, the file's copies, the dataset's sums, the table of storage.
        assert rucio.requests() - before == 5


async def test_links_come_with_their_distances(rucio: RucioServer, tmp_path: Path) -> None:
    async with running_lake(rucio, tmp_path) as lake:
        (duty,) = (one for one in lake.parts.duties if one.name == "refresh_links")
        await duty.run()
        links = lake.parts.topology.current().lake_links
    assert len(links) == len(SITES) * (len(SITES) - 1)
    assert {(link.source_rse, link.target_rse): link.distance for link in links}[
        ("UK_XRD", "JP_STORM")
    ] == 157
    assert all(link.done_files is None for link in links)


async def test_an_account_that_may_not_see_transfers_gets_the_distances(
    rucio: RucioServer, tmp_path: Path
) -> None:
    rucio.add_account("plain", "plain-password")
    password = Secret("plain-password")
    async with running_lake(
        rucio, tmp_path, account="plain", username="plain", password=password
    ) as lake:
        assert (await lake.holding("complete")).bytes == 55 * GB
        (duty,) = (one for one in lake.parts.duties if one.name == "refresh_links")
        await duty.run()
        links = lake.parts.topology.current().lake_links
    assert len(links) == len(SITES) * (len(SITES) - 1)
