"""Rankings that rank nothing, or lose their order: public failures of others, and this one."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Final
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.domain.policies import Policy
from gateway.domain.quantities import (
    MICRO,
    SCALES,
    Amount,
    Candidate,
    Direction,
    Placement,
    Quantity,
)
from gateway.domain.ranking import Ranking
from gateway.wire.documents import Document
from gateway.wire.kinds import SIMPLE_DATA, SKAO_DATA
from tests.support.faulty_nodes import Asked, running
from tests.support.gateway import GatewayUnderTest, running_gateway
from tests.support.lake_files import AT_SITES, GB, SITES, file_entry, lake_at, skao
from tests.support.plain_node import PlainNode
from tests.support.requests import minimal_request
from tests.unit.domain import maps
from tests.unit.domain.builders import MEASURED, candidate_sets, policies, uuid

ALL: Final = tuple(maps.SITES)
DAY_MS: Final = 86_400_000


def place_of(one: UUID, among: Sequence[Candidate], policy: Policy) -> int:
    """Where an offer stands, counted from 0."""
    return [scored.uuid for scored in Ranking(among, policy).ordered].index(one)


# -- in the domain ---------------------------------------------------------------------------------


@given(
    st.lists(st.sampled_from(ALL), min_size=1, max_size=4, unique=True),
    st.sampled_from(ALL),
    st.integers(1, 50 * maps.TB),
    st.integers(0, DAY_MS),
    policies,
)
def test_rucio_7123_a_replica_brought_nearer_never_lowers_a_site(
    copies: list[str], chosen: str, size: int, delay_ms: int, policy: Policy
) -> None:
    """Rucio returned replicas in a random order when its table of places could not be read.

    Nothing said so, and its client lost the order on the way even where there was one
    (rucio/rucio#7123; sorting had no effect at all: #4832).

    Here: give a site a copy of its own, and it stands no lower among the same sites.
    """

    def standing(held: list[str]) -> int:
        known = maps.placed(maps.found(maps.holding(maps.part(size, *held))))
        offers = {
            site: Candidate(site, uuid(number), delay_ms, known[site].to_ranking())
            for number, site in enumerate(ALL, start=1)
        }
        return place_of(offers[chosen].uuid, list(offers.values()), policy)

    nearer = list(dict.fromkeys([*copies, chosen]))
    assert standing(nearer) <= standing(copies)


@given(candidate_sets, policies, st.data())
def test_funnel_inert_ranking_a_better_offer_stands_no_lower_however_the_offers_arrive(
    arrived: list[Candidate], policy: Policy, data: st.DataObject
) -> None:
    """Funnel multiplies each score by a weight that is nowhere set, and sorts the zeros.

    (ohsu-comp-bio/funnel b427ea1, compute/scheduler/default.go and scores.go.)

    Here: an offer that becomes sooner, nearer or cheaper, and nothing else, stands no lower; and
    the order in which the offers came makes no difference.
    """
    if not arrived:
        return
    chosen = data.draw(st.sampled_from(arrived))
    better = data.draw(st.sampled_from([sooner, nearer, cheaper]))(chosen)
    others = [one for one in arrived if one.uuid != chosen.uuid]
    shuffled = data.draw(st.permutations([*others, better]))
    before = place_of(chosen.uuid, arrived, policy)
    assert place_of(chosen.uuid, shuffled, policy) <= before


def sooner(offer: Candidate) -> Candidate:
    """The offer with half the wait, if that is known."""
    start = offer.start_delay_ms
    return offer if start is None else replace(offer, start_delay_ms=start // 2)


def nearer(offer: Candidate) -> Candidate:
    """The offer with half the staging, if that is known."""
    placement = offer.placement
    if placement is None or placement.staging_ms is None:
        return offer
    half_ms = placement.staging_ms // 2
    closer = Placement(half_ms, placement.at_least_ms, placement.whereabouts)
    return replace(offer, placement=closer)


def cheaper(offer: Candidate) -> Candidate:
    """The offer at half its price, if that is known."""
    price = offer.amounts.get(Quantity.MONETARY)
    if price is None:
        return offer
    half = replace(price, value=price.value // 2)
    return replace(offer, amounts={**offer.amounts, Quantity.MONETARY: half})


_BEST: Final = {Direction.LESS_IS_BETTER: 0, Direction.SHARE: MICRO}


@given(candidate_sets, policies)
def test_rucio_7123_an_offer_of_which_nothing_is_known_is_never_before_the_best(
    arrived: list[Candidate], policy: Policy
) -> None:
    """What is not known counts as something, and never as the best there is."""
    best = Candidate(
        "zeta",
        uuid(1),
        0,
        Placement(0),
        {quantity: Amount(_BEST.get(SCALES[quantity].direction, 10**15)) for quantity in MEASURED},
    )
    unknown = Candidate("alpha", uuid(2), None, Placement(None))
    ordered = [scored.uuid for scored in Ranking([*arrived, unknown, best], policy).ordered]
    assert ordered.index(best.uuid) < ordered.index(unknown.uuid)


# -- through the whole gateway ---------------------------------------------------------------------


HOMES: Final = {"alpha": "UK_RSE", "beta": "SE_RSE", "gamma": "AU_RSE"}
STEP_S: Final = 0.03
"""How far apart answers come: more than a gateway takes to read one."""


@dataclass(slots=True)
class Paced:
    """A plain node that answers after a while."""

    node: PlainNode = field(default_factory=lambda: PlainNode(frozenset({SKAO_DATA, SIMPLE_DATA})))
    delay_s: float = 0.0

    async def __call__(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self.delay_s)
        await self.node(asked, writer)


@asynccontextmanager
async def three_sites_and_one_nowhere(
    at: Path, nodes: dict[str, Paced]
) -> AsyncIterator[GatewayUnderTest]:
    """A gateway that knows where three of its nodes are, and one file at each of them."""
    entries = [file_entry(500 * GB, home, name=home) for home in HOMES.values()]
    async with AsyncExitStack() as stack:
        urls = {
            name: (await stack.enter_async_context(running(node))).url
            for name, node in nodes.items()
        }
        yield await stack.enter_async_context(
            running_gateway(
                urls,
                at / "gateway",
                node_options=AT_SITES,
                data_lake=lake_at(at, *entries),
                sites=SITES,
            )
        )


async def test_rucio_7123_the_client_gets_the_order_of_the_ranking_however_answers_arrive(
    tmp_path: Path,
) -> None:
    """Through HTTP and back: the site that has the data is first, the one nobody knows never.

    The same in every order in which three sites can answer, and with scores that differ.
    """
    nodes = {name: Paced() for name in (*HOMES, "nowhere")}
    async with three_sites_and_one_nowhere(tmp_path, nodes) as gateway:
        for name, home in HOMES.items():
            orders = []
            for arriving in permutations(HOMES):
                for turn, other in enumerate(arriving):
                    nodes[other].delay_s = turn * STEP_S
                answer = await gateway.ask(minimal_request(data=[skao(home)]))
                assert answer.status == 303, answer.text
                orders.append(order_of(answer.document))
                scores = [offer["federation"]["score"] for offer in answer.document["offers"]]
                assert scores == sorted(scores, reverse=True)
                assert scores[0] > scores[1]
            assert orders == [orders[0]] * len(orders)
            assert orders[0][0] == name
            assert set(orders[0]) == set(nodes)


def order_of(answer: Document) -> list[str]:
    """The nodes in the order of their offers."""
    return [offer["federation"]["node"] for offer in answer["offers"]]
