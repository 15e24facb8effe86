"""What counts a request as being answered, and when a stream stops counting as one.

A stream of events may be open for long and costs next to nothing: it takes no place of those who
wait for an answer, nobody waits for its end when the service is to end, and how long it was open is
no time that anybody waited. So it counts until its head is sent.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from aiohttp import web

_ANSWERING: Final = web.RequestKey("answering", ExitStack)


@contextmanager
def answering(request: web.Request) -> Iterator[ExitStack]:
    """What is entered here counts the request; it is left when the request has been answered."""
    with ExitStack() as counted:
        request[_ANSWERING] = counted
        yield counted


def count_with(request: web.Request) -> ExitStack:
    """Where to enter what else counts the request."""
    return request[_ANSWERING]


def stop_counting(request: web.Request) -> None:
    """The head of a stream has been sent: from here on it is not being answered any more."""
    request[_ANSWERING].close()
