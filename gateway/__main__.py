"""The command ``execbroker-gateway``: serve, check the settings, print the API."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from gateway.app import build_app
from gateway.config import GatewaySettings, load_gateway_settings
from gateway.httpkit.docs_pages import OPENAPI_DOCUMENT
from gateway.httpkit.logs import configure_logging
from gateway.httpkit.server_settings import ListenAddress, LogFormat, parse_listen
from gateway.httpkit.serving import run
from gateway.httpkit.settings import SettingsError, describe


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status is 2 for settings that cannot be used."""
    options = _parser().parse_args(arguments)
    try:
        settings = load_gateway_settings(options.config) if options.config else GatewaySettings()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    if options.command == "check-config":
        print(json.dumps(describe(settings), indent=2))
        return 0
    if options.command == "openapi":
        app = build_app(settings, Path())
        print(json.dumps(app[OPENAPI_DOCUMENT], indent=2))
        return 0
    return _serve(settings, options.listen, options.data_dir)


def _serve(settings: GatewaySettings, listen: ListenAddress | None, data_dir: Path) -> int:
    if listen is not None:
        settings = replace(settings, listen=listen)
    is_json = settings.log_format is LogFormat.JSON or (
        settings.log_format is LogFormat.AUTO and not sys.stderr.isatty()
    )
    configure_logging(json=is_json, level=settings.log_level.value)
    return run(build_app(settings, data_dir), settings.listen, settings.drain_s)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="execbroker-gateway", description="The head of a federation of ExecutionBrokers."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="answer requests until told to stop")
    serve.add_argument("--config", type=Path, required=True, metavar="FILE")
    serve.add_argument("--listen", type=_listen, metavar="HOST:PORT", help="instead of the file's")
    serve.add_argument("--data-dir", type=Path, default=Path(), metavar="DIR")
    check = commands.add_parser("check-config", help="print the settings in force, no secrets")
    check.add_argument("--config", type=Path, required=True, metavar="FILE")
    openapi = commands.add_parser("openapi", help="print the OpenAPI document")
    openapi.add_argument("--config", type=Path, metavar="FILE")
    return parser


def _listen(text: str) -> ListenAddress:
    try:
        return parse_listen(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
