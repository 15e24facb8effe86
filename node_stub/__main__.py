"""The command ``execbroker-node``."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gateway.httpkit.logs import configure_logging
from gateway.httpkit.server_settings import LogFormat, parse_listen
from gateway.httpkit.serving import run
from gateway.httpkit.settings import SettingsError, describe
from node_stub.app import build_app, describe_api
from node_stub.config import NodeSettings, load_node_settings
from node_stub.misbehave import command as misbehaving
from node_stub.platform_factory import MissingExtraError
from node_stub.store import DatabaseInUseError, NewerDatabaseError

EXIT_UNUSABLE = 2
"""The settings or the data cannot be used; as for wrong arguments."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status."""
    options = _parser().parse_args(arguments)
    if options.command == "misbehave":
        return misbehaving.run(options)
    try:
        settings = load_node_settings(options.config)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return EXIT_UNUSABLE
    if options.command == "check-config":
        print(json.dumps(describe(settings), indent=2))
        return 0
    if options.command == "openapi":
        app = build_app(settings, Path())
        print(json.dumps(describe_api(app, settings), indent=2))
        return 0
    return _serve(settings, options)


def _serve(settings: NodeSettings, options: argparse.Namespace) -> int:
    if options.listen is not None:
        settings = replace(settings, listen=options.listen)
    is_json = settings.log_format is LogFormat.JSON or (
        settings.log_format is LogFormat.AUTO and not sys.stderr.isatty()
    )
    configure_logging(json=is_json, level=settings.log_level.value)
    options.data_dir.mkdir(parents=True, exist_ok=True)
    try:
        app = build_app(settings, options.data_dir)
        return run(app, settings.listen, settings.drain_s, tls=settings.tls)
    except (DatabaseInUseError, MissingExtraError, NewerDatabaseError) as error:
        print(error, file=sys.stderr)
        return EXIT_UNUSABLE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="execbroker-node", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    texts = {
        "serve": "serve until told to end",
        "check-config": "print the settings in force, without secrets",
        "openapi": "print the OpenAPI document",
    }
    for name, text in texts.items():
        command = commands.add_parser(name, help=text)
        command.add_argument("--config", type=Path, required=True, metavar="FILE")
        if name == "serve":
            command.add_argument("--listen", type=parse_listen, metavar="HOST:PORT")
            command.add_argument("--data-dir", type=Path, default=Path(), metavar="DIR")
    text = "pretend to be a node with a fault, to rehearse what a gateway makes of it"
    misbehaving.add_arguments(commands.add_parser("misbehave", help=text, description=text))
    return parser


if __name__ == "__main__":
    sys.exit(main())
