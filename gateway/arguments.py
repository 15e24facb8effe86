"""The command line of ``execbroker-gateway``."""

import argparse
from pathlib import Path
from typing import Final

from gateway.httpkit.listen_address import listen_argument

MAX_WORKERS: Final = 64
"""More than any machine this was tried on has cores for; a slip of the finger is no request."""


def parser() -> argparse.ArgumentParser:
    """The command line. It tells which ``command``, and with which options."""
    made = argparse.ArgumentParser(
        prog="execbroker-gateway", description="The head of a federation of ExecutionBrokers."
    )
    commands = made.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="answer requests until told to stop")
    serve.add_argument("--config", type=Path, required=True, metavar="FILE")
    serve.add_argument(
        "--listen", type=listen_argument, metavar="HOST:PORT", help="instead of the file's"
    )
    serve.add_argument("--data-dir", type=Path, default=Path(), metavar="DIR")
    serve.add_argument(
        "--workers",
        type=_count,
        default=1,
        metavar="N",
        help="processes that share the address and the database; SIGHUP replaces them one by one",
    )
    # Given by the supervisor to its workers: the listening socket they inherit.
    serve.add_argument("--socket-fd", type=int, help=argparse.SUPPRESS)
    check = commands.add_parser("check-config", help="print the settings in force, no secrets")
    check.add_argument("--config", type=Path, required=True, metavar="FILE")
    openapi = commands.add_parser("openapi", help="print the OpenAPI document")
    openapi.add_argument("--config", type=Path, metavar="FILE")
    return made


def _count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= MAX_WORKERS:
        raise argparse.ArgumentTypeError(f"must be 1 to {MAX_WORKERS}")
    return count
