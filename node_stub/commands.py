"""What the commands of ``execbroker-node`` do that a site's settings are for."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

from gateway.httpkit.logs import configure_logging
from gateway.httpkit.settings import SettingsError, describe
from node_stub.arguments import DRAINING
from node_stub.config import NodeSettings, load_node_settings

EXIT_UNUSABLE: Final = 2
"""The settings or the data cannot be used; as for wrong arguments."""


def run(options: argparse.Namespace) -> int:
    """Carry out the command that was given; its exit status."""
    try:
        settings = load_node_settings(options.config)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return EXIT_UNUSABLE
    if options.command == "check-config":
        print(json.dumps(describe(settings), indent=2))
        return 0
    if options.command in DRAINING:
        return _tell(settings, options)
    if options.command == "openapi":
        return _print_openapi(settings)
    return _serve(settings, options)


def _tell(settings: NodeSettings, options: argparse.Namespace) -> int:
    from node_stub import drain_command  # noqa: PLC0415 - only a command that needs it waits for it

    return drain_command.run(settings, options)


def _print_openapi(settings: NodeSettings) -> int:
    from gateway.httpkit.docs_pages import API_DESCRIPTION  # noqa: PLC0415 - likewise
    from node_stub.app import build_app  # noqa: PLC0415 - likewise

    document = build_app(settings, Path())[API_DESCRIPTION].build()
    print(json.dumps(document, indent=2))
    return 0


def _serve(settings: NodeSettings, options: argparse.Namespace) -> int:
    from gateway.httpkit.serving import run as serve  # noqa: PLC0415 - likewise
    from node_stub.app import build_app  # noqa: PLC0415 - likewise
    from node_stub.platform_factory import MissingExtraError  # noqa: PLC0415 - likewise
    from node_stub.store import DatabaseInUseError, NewerDatabaseError  # noqa: PLC0415 - likewise

    if options.listen is not None:
        settings = replace(settings, listen=options.listen)
    is_json = settings.log_format.is_json_on(sys.stderr)
    configure_logging(json=is_json, level=settings.log_level.value)
    options.data_dir.mkdir(parents=True, exist_ok=True)
    try:
        app = build_app(settings, options.data_dir)
        return serve(app, settings.listen, settings.drain_s, tls=settings.tls)
    except (DatabaseInUseError, MissingExtraError, NewerDatabaseError) as error:
        print(error, file=sys.stderr)
        return EXIT_UNUSABLE
