"""``Retry-After``: how long a server asks to be left alone (RFC 9110 §10.2.3)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds until the server wants to be asked again; None if it says nothing readable.

    A date is held against the server's own ``Date``, so that no two clocks are compared; without
    one it says nothing.
    """
    said = headers.get("Retry-After", "").strip()
    if said.isascii() and said.isdigit():
        return float(said[:12])
    then, sent = _date(said), _date(headers.get("Date", ""))
    if then is None or sent is None:
        return None
    return max(0.0, (then - sent).total_seconds())


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
