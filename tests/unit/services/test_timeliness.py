"""Offers that come late enter a node's track record; those that nobody waited for do not."""

from gateway.services.answers import Completeness
from gateway.services.registry import RegisteredNode
from tests.support import faulty_nodes as nodes
from tests.support.asking import Asking, asking


def counts(rig: Asking, name: str) -> tuple[float, float]:
    """Answers in time, and late ones."""
    node: RegisteredNode = rig.registry.get(name)
    record = node.snapshot().track_record
    return round(record["timely"]), round(record["late"])


async def test_offers_in_time_and_late_ones_are_counted() -> None:
    behaviours = {"quick": nodes.healthy(), "slow": nodes.answers_late(0.3)}
    async with asking(behaviours) as rig:
        await rig.ask(wait_s=0.15)
        await rig.until_late(1)
        assert counts(rig, "quick") == (1, 0)
        assert counts(rig, "slow") == (0, 1)
        assert rig.registry.get("slow").snapshot().kept_share < 0.8


async def test_whom_nobody_waited_for_is_not_late() -> None:
    behaviours = {"quick": nodes.healthy(2), "slow": nodes.answers_late(0.2)}
    async with asking(behaviours) as rig:
        await rig.ask(wait_s=5, completeness=Completeness(min_offers=1))
        await rig.until_late(1)
        assert counts(rig, "slow") == (0, 0)


async def test_a_refusal_says_nothing_about_being_in_time() -> None:
    async with asking({"alpha": nodes.says_no()}) as rig:
        await rig.ask(wait_s=1)
        assert counts(rig, "alpha") == (0, 0)
