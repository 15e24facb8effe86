"""Webhooks as Standard Webhooks has them: where they may lead, and how they are signed. Pure.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Collection
from typing import Final

from yarl import URL

SECRET_PREFIX: Final = "whsec_"  # noqa: S105  # no secret, but what one begins with
"""What a secret begins with; base64 follows."""

SECRET_BYTES: Final = 32
"""The specification wants 24 to 64."""

MAX_URL: Final = 2000
"""Characters of a URL; what is longer breaks somewhere (RFC 9110 §4.1 asks for 8000)."""

_SCHEMES: Final = frozenset({"http", "https"})
_NEVER: Final = frozenset(" \\")


class WebhookUrlError(ValueError):
    """A URL that no webhook can have, and why."""


def origin_of(url: str) -> str:
    """Scheme, host and port of the URL of a webhook, as ``https://host:443``.

    Raises
    ------
    WebhookUrlError
    """
    # Read by the same code that the connection is made with: what passes here is what is called.
    parts = _read(url)
    if parts.scheme not in _SCHEMES:
        raise WebhookUrlError("must begin with https:// or http://")
    if parts.user is not None or parts.password is not None:
        raise WebhookUrlError("may not hold a name or password")
    if not parts.host or not parts.port:
        raise WebhookUrlError("has no host, or no port that there can be")
    if parts.fragment:
        raise WebhookUrlError("may not have a fragment")
    host = f"[{parts.host}]" if ":" in parts.host else parts.host
    return f"{parts.scheme}://{host.lower()}:{parts.port}"


def allowed_origin(entry: str) -> str:
    """The origin that an entry of the settings allows: https unless it says http.

    Raises
    ------
    WebhookUrlError
    """
    return origin_of(entry if "://" in entry else f"https://{entry}")


def is_allowed(url: str, origins: Collection[str]) -> bool:
    """Whether a URL leads to one of these origins.

    Raises
    ------
    WebhookUrlError
    """
    return origin_of(url) in origins


def to_secret(key: bytes) -> str:
    """A key as its owner gets it."""
    return SECRET_PREFIX + base64.b64encode(key).decode()


def sign(secret: str, message_id: str, timestamp_s: int, body: bytes) -> str:
    """The value of the header ``webhook-signature``.

    Raises
    ------
    ValueError
        The secret is none.
    """
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("this is no secret of a webhook") from error
    signed = b"%b.%d.%b" % (message_id.encode(), timestamp_s, body)
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def _read(url: str) -> URL:
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or _NEVER & set(url):
        raise WebhookUrlError(
            f"must be at most {MAX_URL} printable ASCII characters, without space and backslash"
        )
    try:
        return URL(url)
    except ValueError as error:
        raise WebhookUrlError("cannot be read") from error
