"""The command ``execbroker-gateway``: serve, check the settings, print the API."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog

from gateway.app import build_app
from gateway.config import GatewaySettings, load_gateway_settings
from gateway.errors import StoreUnavailableError
from gateway.httpkit.docs_pages import OPENAPI_DOCUMENT
from gateway.httpkit.logs import configure_logging
from gateway.httpkit.server_settings import ListenAddress, LogFormat, parse_listen
from gateway.httpkit.serving import run
from gateway.httpkit.settings import SettingsError, describe
from gateway.httpkit.workers import Pool, supervise
from gateway.stores.migrating import SchemaTooNewError

MAX_WORKERS: Final = 64
"""More than any machine this was tried on has cores for; a slip of the finger is no request."""

_log = structlog.stdlib.get_logger(__name__)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status is 2 for settings that cannot be used."""
    given = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(given, argparse.Namespace(arguments=given))
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
    return _serve(settings, options)


def _serve(settings: GatewaySettings, options: argparse.Namespace) -> int:
    if options.listen is not None:
        settings = replace(settings, listen=options.listen)
    is_json = settings.log_format is LogFormat.JSON or (
        settings.log_format is LogFormat.AUTO and not sys.stderr.isatty()
    )
    configure_logging(json=is_json, level=settings.log_level.value)
    is_worker = options.socket_fd is not None
    if options.workers > 1 and not is_worker:
        return supervise(
            Pool(
                command=(sys.executable, "-m", "gateway", *options.arguments),
                listen=settings.listen,
                count=options.workers,
                end_s=settings.drain_notice_s + settings.drain_s,
                is_tls=settings.tls is not None,
            )
        )
    try:
        return run(
            build_app(settings, options.data_dir),
            settings.listen,
            settings.drain_s,
            settings.drain_notice_s,
            options.socket_fd,
            settings.tls,
        )
    except (SchemaTooNewError, StoreUnavailableError) as error:
        _log.critical("database_not_usable", reason=str(error.__cause__ or error))
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="execbroker-gateway", description="The head of a federation of ExecutionBrokers."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="answer requests until told to stop")
    serve.add_argument("--config", type=Path, required=True, metavar="FILE")
    serve.add_argument("--listen", type=_listen, metavar="HOST:PORT", help="instead of the file's")
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
    return parser


def _listen(text: str) -> ListenAddress:
    try:
        return parse_listen(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= MAX_WORKERS:
        raise argparse.ArgumentTypeError(f"must be 1 to {MAX_WORKERS}")
    return count


if __name__ == "__main__":
    sys.exit(main())
