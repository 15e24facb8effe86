"""The commands about a ranking: why it is as it is, and how another policy would have it."""

import argparse

from gateway.cli.client import ExecutionBrokerClient
from gateway.cli.explaining import show_explanation, show_replay
from gateway.cli.output import OK, Output
from gateway.cli.ranking_summary import summarise_explanation, summarise_replay
from gateway.cli.render import coverage_table


async def explain(
    client: ExecutionBrokerClient, arguments: argparse.Namespace, output: Output
) -> int:
    """Shows for each clause who passes it, and what the policy counted."""
    document = await client.explanation(arguments.uuid)
    if output.is_json:
        output.result(document)
        return OK
    explanation = summarise_explanation(document)
    show_explanation(output.tables, explanation)
    output.tables.print(coverage_table(explanation.coverage))
    return OK


async def replay(
    client: ExecutionBrokerClient, arguments: argparse.Namespace, output: Output
) -> int:
    """Shows how the order would change under another policy, and what moves each offer."""
    document = await client.replay(
        arguments.uuid,
        policy=arguments.policy,
        per_node=arguments.per_node,
        limit=arguments.limit,
    )
    if output.is_json:
        output.result(document)
        return OK
    explanation = summarise_explanation(await client.explanation(arguments.uuid))
    show_replay(output.tables, explanation, summarise_replay(document))
    return OK
