"""Which behaviour a request meets, and that the list tells of them all."""

import asyncio
from collections import Counter
from typing import cast

import pytest

from node_stub.misbehave.catalogue import ENTRIES
from node_stub.misbehave.command import listing
from node_stub.misbehave.exchange import Asked
from node_stub.misbehave.mixing import Mixture, Share, UnknownBehaviourError, parse_shares


class Written:
    """What a behaviour says, or that it closed."""

    def __init__(self) -> None:
        self.said = b""

    def write(self, data: bytes) -> None:
        self.said += data

    def close(self) -> None:
        self.said = b"closed"

    @property
    def status(self) -> str:
        return "closed" if self.said == b"closed" else self.said.split()[1].decode()


async def statuses(text: str, count: int, path: str = "/requests", seed: int = 0) -> list[str]:
    mixture = Mixture(parse_shares(text), seed=seed)
    said = []
    for _ in range(count):
        written = Written()
        asked = Asked("POST" if path == "/requests" else "GET", path, {}, b"{}")
        await mixture(asked, cast("asyncio.StreamWriter", written))
        said.append(written.status)
    return said


async def test_several_take_turns() -> None:
    assert await statuses("healthy,busy,closes", 4) == ["303", "503", "closed", "303"]


async def test_one_with_a_part_comes_by_chance_and_leaves_the_rest_to_the_healthy() -> None:
    counts = Counter(await statuses("busy:0.2", 1000))
    assert counts.keys() == {"503", "303"}
    assert 150 < counts["503"] < 250


async def test_the_others_take_turns_in_what_a_part_leaves() -> None:
    counts = Counter(await statuses("closes:0.5,busy,error", 1000))
    assert counts.keys() == {"closed", "503", "500"}
    assert abs(counts["503"] - counts["500"]) <= 1


async def test_the_same_seed_gives_the_same_order_and_another_another() -> None:
    first = await statuses("busy:0.5", 64, seed=1)
    assert first == await statuses("busy:0.5", 64, seed=1)
    assert first != await statuses("busy:0.5", 64, seed=2)


async def test_a_look_at_the_health_uses_no_turn_up() -> None:
    mixture = Mixture(parse_shares("closes,healthy"))
    for _ in range(3):
        written = Written()
        asked = Asked("GET", "/readyz", {}, b"")
        await mixture(asked, cast("asyncio.StreamWriter", written))
        assert written.status == "closed"


async def test_health_is_well_where_only_answers_are_wrong() -> None:
    assert await statuses("error", 2, "/livez") == ["200", "200"]
    assert await statuses("error", 1) == ["500"]


def test_shares_are_read() -> None:
    assert parse_shares("slow:0.25, hung") == (Share("slow", 0.25), Share("hung"))


@pytest.mark.parametrize(
    "text", ["", "nobody", "slow:", "slow:0", "slow:2", "slow:nan", "slow:0.6,hung:0.6", "slow,"]
)
def test_what_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(UnknownBehaviourError):
        parse_shares(text)


def test_the_list_says_in_one_sentence_what_each_does() -> None:
    lines = list(listing())
    assert len(lines) == len(ENTRIES)
    for line, (name, entry) in zip(lines, ENTRIES.items(), strict=True):
        assert line.split()[0] == name
        assert entry.text.partition(" [")[0].endswith(".")
        assert len(line) <= 120
