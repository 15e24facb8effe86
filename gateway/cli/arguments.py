"""The command line of ``execbroker``."""

import argparse
from pathlib import Path
from typing import Final
from uuid import UUID

from gateway.cli.group_arguments import (
    add_admin_arguments,
    add_audit_arguments,
    add_discovery_arguments,
    add_draft_arguments,
    add_estimate_arguments,
    add_list_arguments,
    add_publish_arguments,
)
from gateway.cli.subcommands import AddCommand, adder, group, names

DEFAULT_URL: Final = "http://127.0.0.1:8080"
"""Where a gateway listens by default."""
DEFAULT_PASSWORD_ENV: Final = "EXECBROKER_PASSWORD"  # noqa: S105 - the variable's name, not a secret
"""The environment variable that holds the password, never an argument: those are public."""

_EPILOG: Final = """\
environment:
  EXECBROKER_URL        the broker, unless --url says another
  EXECBROKER_USERNAME   the account, unless --username says another
  EXECBROKER_PASSWORD   its password, unless --password-env names another variable
  EXECBROKER_TOKEN      a bearer token in place of an account, unless --token-env names another
                        variable
  EXECBROKER_TOKEN_FILE a file with one, unless --token-file says another; it is read for every call

exit codes:
  0  done
  1  the broker said no, or the session did not complete
  2  the command or its file is wrong
  3  the broker does not answer, or cannot now
"""


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number of seconds")
    return value


def parser() -> argparse.ArgumentParser:
    """The command line."""
    common = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    common.add_argument("--url", help=f"the broker (default: $EXECBROKER_URL or {DEFAULT_URL})")
    common.add_argument("--username", help="the account (default: $EXECBROKER_USERNAME)")
    common.add_argument(
        "--password-env",
        metavar="NAME",
        help="the environment variable with the password (default: EXECBROKER_PASSWORD)",
    )
    token = common.add_mutually_exclusive_group()
    token.add_argument(
        "--token-env", metavar="NAME", help="the environment variable with a bearer token"
    )
    token.add_argument("--token-file", metavar="FILE", type=Path, help="a file with a bearer token")
    common.add_argument(
        "--json", action="store_true", help="write JSON and nothing else to standard output"
    )
    top = argparse.ArgumentParser(
        prog="execbroker",
        description="Ask an ExecutionBroker for offers, take one, follow it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    add = adder(commands, common)
    _add_submit(add("submit", "ask for offers"))
    for name, does in (
        ("accept", "take an offer"),
        ("reject", "let an offer go"),
        ("cancel", "stop a session"),
        ("show", "show a session, an offer or an offer set"),
        ("watch", "follow a session to its end"),
    ):
        command = add(name, does)
        command.add_argument("uuid", type=UUID, metavar="UUID")
        if name == "watch":
            command.add_argument(
                "--timeout", type=_seconds, metavar="S", help="give up after so many seconds"
            )
    _add_outputs(add)
    _add_ranking(add)
    add("nodes", "list the nodes of a gateway")
    discover = commands.add_parser("discover", help="see what there is")
    add_discovery_arguments(group(discover, "discover_command", "WHAT", common))
    add_estimate_arguments(add("estimate", "show what would come of a request; asks no node"))
    add_publish_arguments(add("publish", "publish software as an execution template"))
    draft = commands.add_parser("draft", help="write a request step by step")
    _add_drafts(group(draft, "draft_command", "COMMAND", common))
    lists = commands.add_parser("list", help="list what is yours")
    add_list_arguments(group(lists, "list_command", "WHAT", common))
    admin = commands.add_parser("admin", help="administer a gateway")
    _add_admin(group(admin, "admin_command", "COMMAND", common))
    return top


def _add_drafts(add: AddCommand) -> None:
    add_draft_arguments(add)
    submit = add("submit", "ask for offers with a draft")
    submit.add_argument("uuid", type=UUID, metavar="UUID")
    _add_asking(submit)


def _add_admin(add: AddCommand) -> None:
    add_audit_arguments(add("audit", "show who did what"))
    add_admin_arguments(add)


def _add_ranking(add: AddCommand) -> None:
    explain = add("explain", "show who passed what, and what made the offers rank as they do")
    explain.add_argument("uuid", type=UUID, metavar="OFFERSET")
    replay = add("replay", "show how another policy would rank the same offers")
    replay.add_argument("uuid", type=UUID, metavar="OFFERSET")
    replay.add_argument("--policy", help="instead of the one it was ranked by: greenest, ...")
    replay.add_argument("--limit", type=_positive, metavar="N", help="at most so many offers")
    replay.add_argument(
        "--per-node", type=_positive, metavar="N", help="at most so many offers of one node"
    )


def _add_outputs(add: AddCommand) -> None:
    logs = add("logs", "show what a session writes")
    logs.add_argument("uuid", type=UUID, metavar="UUID")
    logs.add_argument("--follow", "-f", action="store_true", help="until the session has ended")
    logs.add_argument(
        "--stderr", action="store_true", help="standard error instead of standard output"
    )
    results = add("results", "show how a session ended, and list what came out")
    results.add_argument("uuid", type=UUID, metavar="UUID")
    fetch = add("fetch", "save files that came out, or what is missing of them")
    fetch.add_argument("uuid", type=UUID, metavar="UUID")
    fetch.add_argument(
        "paths", nargs="*", metavar="PATH", help="files or directories of the list (default: all)"
    )
    fetch.add_argument(
        "--output", "-o", type=Path, required=True, metavar="DIR", help="where to save them"
    )


def _add_submit(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "request", metavar="REQUEST", help="the request, YAML or JSON; - is standard input"
    )
    _add_asking(command)


def _add_asking(command: argparse.ArgumentParser) -> None:
    """How to ask, and what to do with the offers."""
    command.add_argument("--limit", type=_positive, metavar="N", help="at most so many offers")
    command.add_argument(
        "--per-node", type=_positive, metavar="N", help="at most so many offers of one node"
    )
    command.add_argument("--policy", help="what makes an offer good: balanced, cheapest, ...")
    command.add_argument(
        "--nodes", type=names, default=[], metavar="A,B", help="ask only these nodes"
    )
    command.add_argument(
        "--min-offers", type=_positive, metavar="N", help="do not wait for more than so many"
    )
    command.add_argument(
        "--require", type=names, default=[], metavar="A,B", help="nodes that must answer"
    )
    command.add_argument(
        "--wait", type=_seconds, metavar="S", help="how long the nodes may take to answer"
    )
    command.add_argument(
        "--idempotency-key", metavar="KEY", help="the same key gets the same offer set again"
    )
    command.add_argument(
        "--explain", action="store_true", help="show who passed what, and what counted how much"
    )
    command.add_argument(
        "--accept-best", action="store_true", help="take the first offer that can be had"
    )
    command.add_argument(
        "--follow",
        action="store_true",
        help="take it, show what it writes, and wait until it has ended",
    )
