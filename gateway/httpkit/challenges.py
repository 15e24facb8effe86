"""What a 401 says about how to call (RFC 9110 §11.6.1): every scheme that is taken, each once."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import hdrs, web

from gateway.httpkit.errors import BEARER_CHALLENGE, CHALLENGE


def challenge_with(*, bearer: bool) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """A signal handler that adds the challenges which a 401 does not have yet.

    The one of the scheme that was tried stands first, and says what was wrong with it.
    """
    challenges = (CHALLENGE, BEARER_CHALLENGE) if bearer else (CHALLENGE,)

    async def add_challenges(_request: web.Request, response: web.StreamResponse) -> None:
        if response.status != HTTPStatus.UNAUTHORIZED:
            return
        given = response.headers.getall(hdrs.WWW_AUTHENTICATE, [])
        schemes = {text.partition(" ")[0] for text in given}
        for challenge in challenges:
            if challenge.partition(" ")[0] not in schemes:
                response.headers.add(hdrs.WWW_AUTHENTICATE, challenge)

    return add_challenges
