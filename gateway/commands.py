"""What the commands of ``execbroker-gateway`` do."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog

from gateway.config import GatewaySettings, load_gateway_settings
from gateway.errors import StoreUnavailableError
from gateway.httpkit.logs import configure_logging
from gateway.httpkit.settings import SettingsError, describe
from gateway.stores.migrating import SchemaTooNewError

EXIT_UNUSABLE: Final = 2
"""The settings cannot be used; as for wrong arguments."""

_log = structlog.stdlib.get_logger(__name__)


def run(options: argparse.Namespace) -> int:
    """Carry out the command that was given; its exit status."""
    try:
        settings = load_gateway_settings(options.config) if options.config else GatewaySettings()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return EXIT_UNUSABLE
    if options.command == "check-config":
        print(json.dumps(describe(settings), indent=2))
        return 0
    if options.command == "openapi":
        return _print_openapi(settings)
    return _serve(settings, options)


def _print_openapi(settings: GatewaySettings) -> int:
    from gateway.app import build_app  # noqa: PLC0415 - only a command that needs it waits for it
    from gateway.httpkit.docs_pages import API_DESCRIPTION  # noqa: PLC0415 - likewise

    document = build_app(settings, Path())[API_DESCRIPTION].build()
    print(json.dumps(document, indent=2))
    return 0


def _serve(settings: GatewaySettings, options: argparse.Namespace) -> int:
    if options.listen is not None:
        settings = replace(settings, listen=options.listen)
    is_json = settings.log_format.is_json_on(sys.stderr)
    configure_logging(json=is_json, level=settings.log_level.value)
    is_worker = options.socket_fd is not None
    if options.workers > 1 and not is_worker:
        return _supervise(settings, options)
    return _answer(settings, options)


def _supervise(settings: GatewaySettings, options: argparse.Namespace) -> int:
    from gateway.httpkit.workers import Pool, supervise  # noqa: PLC0415 - one process never needs

    return supervise(
        Pool(
            command=(sys.executable, "-m", "gateway", *options.arguments),
            listen=settings.listen,
            count=options.workers,
            end_s=settings.drain_notice_s + settings.drain_s,
            is_tls=settings.tls is not None,
        )
    )


def _answer(settings: GatewaySettings, options: argparse.Namespace) -> int:
    from gateway.app import build_app  # noqa: PLC0415 - a supervisor answers nothing
    from gateway.httpkit.serving import run as serve  # noqa: PLC0415 - likewise

    try:
        return serve(
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
