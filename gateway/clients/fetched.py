"""A document from a URL that a user names, and that there is none. Knows no HTTP library."""

from dataclasses import dataclass
from typing import Protocol


class FetchError(Exception):
    """There is no document; the message says why, in words for the user."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was found: where, after all redirects, and of which media type by its own word."""

    url: str
    media_type: str
    body: bytes


class Fetches(Protocol):
    """Fetches documents, if it may."""

    async def fetch(self, url: str) -> Fetched:
        """The document at this URL, within bounds of time and size.

        Raises
        ------
        FetchError
            The URL may not be fetched, or there is nothing that can be.
        """
        ...
