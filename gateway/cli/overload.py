"""A broker that has too much to do says when to come again: so a person need not."""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

from gateway.cli.errors import BrokerProblemError
from gateway.cli.output import Output
from gateway.wire.documents import Document

MOST_TRIES: Final = 6
"""Never more, however soon the broker wants to be asked again."""

PATIENCE_S: Final = 15.0
"""Waited in all, beside what the answers take: who asks sits before a terminal."""

_USUAL_S: Final = 1.0
"""Waited where the broker does not say how long."""


async def when_there_is_room(ask: Callable[[], Awaitable[Document]], output: Output) -> Document:
    """The answer, asked for again as long as the broker turns it away for being overloaded.

    Nothing was begun where it does. Each wait is told beside the result.

    Raises
    ------
    BrokerError
        Any other failure, or the last of these.
    """
    left_s = PATIENCE_S
    for _ in range(MOST_TRIES - 1):
        try:
            return await ask()
        except BrokerProblemError as error:
            wait_s = _USUAL_S if error.retry_after_s is None else error.retry_after_s
            if not _is_overload(error) or wait_s > left_s:
                raise
        left_s -= wait_s
        output.remark(f"The broker has too much to do now; asking again in {wait_s:g} s.")
        await asyncio.sleep(wait_s)
    return await ask()


def _is_overload(error: BrokerProblemError) -> bool:
    """Not where no node answered, say: that is a 503 too, and asking again makes work."""
    slug = str(error.problem.get("type")).rpartition("/")[2]
    return error.status == HTTPStatus.SERVICE_UNAVAILABLE and slug == "overloaded"
