"""What the URL of a node may be. Pure."""

from typing import Final
from urllib.parse import urlsplit

MAX_URL: Final = 2000
"""Characters: what every HTTP implementation takes (RFC 9110 §4.1 asks for 8000 of servers)."""


def fault_in_url(url: str) -> str | None:
    """What is wrong with the URL of a node, if anything is.

    A name and password in it would be sent, logged and shown with it; a query or fragment makes no
    sense in front of paths.
    """
    if len(url) > MAX_URL:
        return f"has more than {MAX_URL} characters"
    if not url.isascii() or any(char <= " " or char in "\\\x7f" for char in url):
        return "has characters that no URL has"
    try:
        parts = urlsplit(url)
        is_somewhere = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return "cannot be read as a URL"
    fault = None
    if parts.scheme not in {"http", "https"} or not is_somewhere:
        fault = "is no http or https URL with a host"
    elif "@" in parts.netloc:
        fault = "has user information in it; give the account as credentials"
    elif "?" in url or "#" in url:
        fault = "has a query or fragment; it must be what paths are appended to"
    return fault
