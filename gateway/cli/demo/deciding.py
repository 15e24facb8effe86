"""Why the offers are ranked as they are: where the data lie, who is near, what others would say."""

from typing import Final

from rich.console import Console

from gateway.cli.client import ExecutionBrokerClient
from gateway.cli.demo.asking import Asked
from gateway.cli.demo.errors import DemoError
from gateway.cli.demo.lake import HOME, SITE_OF, SITES, SLOW_GBIT_S, DemoLake
from gateway.cli.demo.telling import step, tell_list
from gateway.cli.explaining import nearest_lines, replay_table
from gateway.cli.ranking_summary import summarise_explanation, summarise_replay
from gateway.cli.summary import at, items

OTHER_POLICY: Final = "greenest"
"""Another policy than the one the offers are ranked by."""


async def show_decision(
    to: Console, client: ExecutionBrokerClient, asked: Asked, lake: DemoLake
) -> None:
    """Tell what the gateway found out about the data, and what that did to the order.

    Raises
    ------
    DemoError
        The best node was not told what the lake knows.
    BrokerError
    """
    step(to, "Where the data are, and what that means")
    tell_list(to, "The gateway's data lake (lake.yaml) and its settings", _facts(lake))
    _show_told(to, asked, lake)
    explanation = summarise_explanation(await client.explanation(asked.offerset))
    tell_list(to, "What being near is worth", nearest_lines(explanation))
    replay = summarise_replay(await client.replay(asked.offerset, policy=OTHER_POLICY))
    step(
        to, f"What the policy {OTHER_POLICY} would make of the same offers (nobody is asked again)"
    )
    to.print(replay_table(explanation, replay))


def _facts(lake: DemoLake) -> list[str]:
    near = ", ".join(name for name, site in SITE_OF.items() if site == HOME)
    far = {site: name for name, site in SITE_OF.items()}
    return [
        f"{lake.did} has {lake.file.size} bytes; its only copy is on {SITES[HOME]['rses'][0]} in "
        f"{HOME}, where {near} is.",
        f"The link to {far['uk']} in uk is declared, and slow on purpose: {SLOW_GBIT_S * 1e6:g} "
        "kbit/s, over which these few bytes take as long as 1 TB does at 10 Gbit/s.",
        f"Of the link to {far['japan']} in japan nothing is declared: it is reckoned from where "
        "the sites lie. (Really, all of them are on this machine.)",
    ]


def _show_told(to: Console, asked: Asked, lake: DemoLake) -> None:
    """What the gateway added to the request is in the node's answer."""
    for data in items(asked.best, "data"):
        size, checksum = at(data, "skao", "datasize"), at(data, "skao", "checksum")
        if (size, checksum) != (lake.file.size, {"type": "sha256", "value": lake.file.sha256}):
            raise DemoError(f"{asked.offers[0].node} was told {size} and {checksum} of {lake.did}")
        filled = f"size {size}, {checksum['type']} {checksum['value']}, and where to fetch it"
        tell_list(to, f"What it filled in for {asked.offers[0].node}", [filled])
