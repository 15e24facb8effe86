"""The arguments of ``execbroker-node misbehave``."""

import argparse
from typing import TYPE_CHECKING, Final

from gateway.httpkit.listen_address import ListenAddress, listen_argument
from node_stub.misbehave.bounds import DEFAULT_OFFERS, MAX_OFFERS

if TYPE_CHECKING:
    from node_stub.misbehave.mixing import Share

LOOPBACK: Final = ListenAddress("127.0.0.1", 0)
"""A node that takes any password is for this machine alone, unless it is told otherwise."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What the command takes."""
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--as",
        dest="shares",
        type=_shares,
        metavar="NAME[:PART][,NAME[:PART]...]",
        help="how to behave: by turns, or with a PART of all requests (slow:0.2)",
    )
    what.add_argument("--list", action="store_true", help="say what each behaviour does")
    command.add_argument(
        "--listen",
        type=listen_argument,
        default=LOOPBACK,
        metavar="HOST:PORT",
        help="default: a free port of the loopback interface; whoever reaches it is let in",
    )
    command.add_argument(
        "--offers", type=_count, default=DEFAULT_OFFERS, metavar="N", help="in each answer"
    )
    command.add_argument(
        "--delay-s", type=_seconds, metavar="S", help="in place of each behaviour's own time"
    )
    command.add_argument("--seed", type=int, default=0, metavar="N", help="of what comes by chance")


def _shares(text: str) -> "tuple[Share, ...]":
    from node_stub.misbehave.mixing import parse_shares  # noqa: PLC0415 - the command's own

    try:
        return parse_shares(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= MAX_OFFERS:
        raise argparse.ArgumentTypeError(f"must be 1 to {MAX_OFFERS}")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.0 < value <= 86_400.0:
        raise argparse.ArgumentTypeError("must be above 0 and at most a day")
    return value
