"""What a call to a webhook is, whatever makes it."""

from collections.abc import Mapping
from typing import Protocol


class WebhookUnreachableError(Exception):
    """There was no answer, and why not. Nothing in it tells more of the URL than its host."""


class WebhookPoster(Protocol):
    """Makes calls to webhooks."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """The status of the answer, whose body is not looked at.

        Raises
        ------
        WebhookUnreachableError
        """
        ...
