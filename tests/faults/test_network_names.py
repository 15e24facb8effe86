"""Name servers that deny, are mute or are gone cost the offers of the nodes they are asked for."""

from pathlib import Path
from time import monotonic
from typing import Final

import pytest

from gateway.settings import TransportSettings, TransportType
from gateway.wire.documents import Document
from tests.support.islands import DEADLINE_S, islands
from tests.support.name_server import Temper, name_server
from tests.support.netns import need_namespaces
from tests.support.waiting import eventually

HOST: Final = "alpha.execbroker.test"
MARGIN_S: Final = 1.5
"""A resolver left to itself tries for ten seconds and more."""


@pytest.fixture(autouse=True)
def _namespaces() -> None:
    need_namespaces()


def of_alpha(document: Document) -> tuple[str, str | None, int]:
    (entry,) = [e for e in document["federation"]["coverage"] if e["node"] == "alpha"]
    return entry["outcome"], (entry["reason"] or {}).get("code"), entry["offers"]


@pytest.mark.parametrize("transport", list(TransportType))
@pytest.mark.parametrize(
    ("temper", "outcome", "code"),
    [
        (Temper.DENIES, "refused", "name_unknown"),
        (Temper.MUTE, "timeout", "connect_timeout"),
        (None, "refused", "name_unknown"),
    ],
    ids=["denies", "mute", "gone"],
)
async def test_a_name_that_means_nothing_costs_that_node_until_it_means_something_again(
    tmp_path: Path, transport: TransportType, temper: Temper | None, outcome: str, code: str
) -> None:
    settings = TransportSettings(type=transport, dns_cache_s=0.1)
    async with islands(tmp_path, hosts={"alpha": HOST}, transport=settings) as they:

        async def asked() -> Document:
            began = monotonic()
            document = await they.ask()
            assert monotonic() - began < DEADLINE_S + MARGIN_S
            offers = [offer["federation"]["node"] for offer in document["offers"]]
            assert offers.count("beta") == 2
            return document

        if temper is None:
            assert of_alpha(await asked()) == (outcome, code, 0)
        async with name_server({HOST: they.wires["alpha"].address}, they.home) as server:
            if temper is not None:
                server.temper = temper
                assert of_alpha(await asked()) == (outcome, code, 0)
                assert HOST in server.asked
            server.temper = Temper.FINE

            async def is_back() -> bool:
                return of_alpha(await asked()) == ("answered", None, 2)

            await eventually(is_back, 15)
        # What was known of it is good for as long as nobody says otherwise.
        assert of_alpha(await asked()) == ("answered", None, 2)
