"""The command line of ``execbroker-node``."""

import argparse
from pathlib import Path
from typing import Final

from gateway.httpkit.listen_address import listen_argument
from node_stub.misbehave import arguments as misbehaving

DRAINING: Final = {
    "drain": "have the running node take no new requests; its sessions go on",
    "resume": "have the running node take requests again",
}
"""The commands that tell a running node, and what; ``/admin/`` has them by the same names."""


def parser() -> argparse.ArgumentParser:
    """The command line. It tells which ``command``, and with which options."""
    made = argparse.ArgumentParser(
        prog="execbroker-node", description="A broker at one site, and others to rehearse with."
    )
    commands = made.add_subparsers(dest="command", required=True)
    texts = {
        "serve": "serve until told to end",
        "check-config": "print the settings in force, without secrets",
        "openapi": "print the OpenAPI document",
        **DRAINING,
    }
    for name, text in texts.items():
        command = commands.add_parser(name, help=text)
        command.add_argument("--config", type=Path, required=True, metavar="FILE")
        if name == "serve":
            command.add_argument("--listen", type=listen_argument, metavar="HOST:PORT")
            command.add_argument("--data-dir", type=Path, default=Path(), metavar="DIR")
        if name in DRAINING:
            _add_draining(command)
    text = "pretend to be a node with a fault, to rehearse what a gateway makes of it"
    misbehaving.add_arguments(commands.add_parser("misbehave", help=text, description=text))
    return made


def _add_draining(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--url",
        metavar="URL",
        help="where the node is; default: its public_url, or else the address it listens on",
    )
    command.add_argument(
        "--ca-file",
        type=Path,
        metavar="FILE",
        help="certificates (PEM) of the authorities to trust in place of the system's",
    )
