"""Links from Rucio: transfers for those who may see them, distances for the others."""

from gateway.clients.lakes.authorized import AuthorizedCaller
from gateway.clients.lakes.rucio_api import RucioApi
from gateway.clients.lakes.rucio_links import MAX_PAIRS, RucioLinks
from gateway.domain.holdings import LakeLink
from tests.support.faulty_nodes import Asked
from tests.support.lake_stubs import Answer, answering, fails, in_s, lines, says

METRICS = lines(
    {
        "src_rse": "UK",
        "dst_rse": "JP",
        "distance": 157,
        "files": {"done-total-1h": 3, "done-total-6h": 40, "failed-total-6h": 2, "queued-total": 9},
        "bytes": {"done-total-6h": 4e12},
    },
    {"src_rse": "JP", "dst_rse": "UK", "distance": 157},
    {"src_rse": "UK", "dst_rse": "UK", "files": {"done-total-6h": 1}},
    {"src_rse": "UK", "dst_rse": "SE", "files": {"queued-total": 1}},
)


async def links_of(answer: Answer) -> tuple[LakeLink, ...]:
    async with answering(answer) as (server, connections):
        api = RucioApi(AuthorizedCaller(connections, server.url, None))
        return await RucioLinks("rucio", api).links(deadline=in_s(5))


async def test_one_call_gives_all_transfers_and_distances() -> None:
    assert await links_of(says(METRICS)) == (
        LakeLink("UK", "JP", 157, 4_000_000_000_000, 40, 2, 9),
        LakeLink("JP", "UK", 157),
        LakeLink("UK", "SE", None, 0, 0, 0, 1),
    )


async def test_who_may_not_see_transfers_is_told_the_distances() -> None:
    async def answer(asked: Asked, writer: object) -> None:
        if asked.path == "/requests/metrics":
            behave = fails("500 Internal Server Error", "AccessDenied")
        elif asked.path == "/rses/":
            behave = says(lines({"rse": "A"}, {"rse": "B"}, {"rse": "C D"}))
        elif asked.path == "/rses/A/distances/B":
            behave = says(b'[{"distance": 5, "ranking": 5}]')
        elif asked.path == "/rses/B/distances/C%20D":
            behave = says(b'[{"distance": null}]')
        else:
            behave = says(b"[]")
        await behave(asked, writer)  # type: ignore[arg-type]

    assert await links_of(answer) == (LakeLink("A", "B", 5),)


async def test_a_large_lake_is_not_asked_pair_by_pair() -> None:
    calls = 0

    async def answer(asked: Asked, writer: object) -> None:
        nonlocal calls
        calls += 1
        if asked.path == "/requests/metrics":
            behave = fails("500 Internal Server Error", "AccessDenied")
        else:
            behave = says(lines(*({"rse": f"RSE_{index}"} for index in range(30))))
        await behave(asked, writer)  # type: ignore[arg-type]

    assert MAX_PAIRS < 30 * 29
    assert await links_of(answer) == ()
    assert calls == 2
