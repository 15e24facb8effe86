"""The commands ``execbroker-node drain`` and ``resume``: they tell a node that runs."""

import argparse
import asyncio
import ssl
import sys
from typing import Final

import aiohttp
import msgspec

from gateway.httpkit.listen_address import ListenAddress
from gateway.wire.documents import to_json
from node_stub.config import NodeSettings

WITHIN_S: Final = 10.0
"""For an answer: one row in the node's database, and gateways are told after it."""

EXIT_NOT_DONE: Final = 1
EXIT_UNUSABLE: Final = 2

_WILDCARDS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # compared with, not bound to


class NotToldError(Exception):
    """The node was not told, or refused."""


class _Problem(msgspec.Struct, frozen=True):
    title: str = ""
    detail: str = ""


def run(settings: NodeSettings, options: argparse.Namespace) -> int:
    """Tell the node of these settings as its administrator; the exit status."""
    try:
        url = (options.url or url_of(settings)).rstrip("/")
        trust = ssl.create_default_context(cafile=options.ca_file)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_UNUSABLE
    try:
        said = asyncio.run(_tell(f"{url}/admin/{options.command}", settings, trust))
    except NotToldError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_NOT_DONE
    sys.stdout.write(to_json(said).decode() + "\n")
    return 0


def url_of(settings: NodeSettings) -> str:
    """Where the node of these settings can be reached.

    Raises
    ------
    ValueError
        It listens on whichever port is free.
    """
    if settings.public_url is not None:
        return settings.public_url
    host, port = settings.listen.host, settings.listen.port
    if port == 0:
        raise ValueError("the settings say port 0, which is any free one: give --url")
    scheme = "http" if settings.tls is None else "https"
    return f"{scheme}://{ListenAddress(_WILDCARDS.get(host, host), port)}"


async def _tell(url: str, settings: NodeSettings, trust: ssl.SSLContext) -> dict[str, bool]:
    """What the node says it does from now on.

    Raises
    ------
    NotToldError
    """
    headers = {}
    if settings.authentication.enabled and settings.admin is not None:
        account = settings.admin
        headers["Authorization"] = aiohttp.encode_basic_auth(
            account.username, account.password.reveal()
        )
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=WITHIN_S)) as http,
            http.post(url, headers=headers, ssl=trust, allow_redirects=False) as answer,
        ):
            body = await answer.read()
    except TimeoutError as error:
        raise NotToldError(f"{url}: no answer within {WITHIN_S:g} s") from error
    except (aiohttp.ClientError, ValueError) as error:
        raise NotToldError(f"{url}: {str(error) or type(error).__name__}") from error
    try:
        if answer.status == 200:
            return msgspec.json.decode(body, type=dict[str, bool])
        problem = msgspec.json.decode(body, type=_Problem)
    except msgspec.DecodeError as error:
        raise NotToldError(f"{url}: status {answer.status}, and no node's answer") from error
    raise NotToldError(f"{url}: {answer.status}: {problem.detail or problem.title}")
