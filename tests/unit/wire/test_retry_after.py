"""Retry-After: seconds, or a date held against the server's own clock."""

import pytest

from gateway.wire.retry_after import retry_after_s


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": " 120 "}, 120.0),
        ({"Retry-After": "9" * 400}, 999999999999.0),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "\u00b2"}, None),
        ({"Retry-After": "Fri, 07 Aug 2026 09:00:30 GMT"}, None),
        (
            {
                "Retry-After": "Fri, 07 Aug 2026 09:00:30 GMT",
                "Date": "Fri, 07 Aug 2026 09:00:00 GMT",
            },
            30.0,
        ),
        (
            {
                "Retry-After": "Fri, 07 Aug 2026 09:00:00 GMT",
                "Date": "Fri, 07 Aug 2026 09:00:30 GMT",
            },
            0.0,
        ),
        ({"Retry-After": "Fri, 99 Aug 2026 09:00:30 GMT", "Date": "x"}, None),
    ],
)
def test_only_what_is_readable_is_heeded(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers) == seconds
