"""Webhooks: which URLs they may have, and how their calls are signed."""

import base64

import pytest

from gateway.domain.webhooks import (
    WebhookUrlError,
    allowed_origin,
    is_allowed,
    origin_of,
    sign,
    to_secret,
)


def test_a_call_is_signed_as_the_specification_has_it() -> None:
    """The example of https://github.com/standard-webhooks/standard-webhooks (its libraries)."""
    signature = sign(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_secret_is_written_as_the_specification_has_it() -> None:
    secret = to_secret(bytes(range(32)))
    assert secret.startswith("whsec_")
    assert base64.b64decode(secret.removeprefix("whsec_")) == bytes(range(32))


def test_what_is_no_secret_signs_nothing() -> None:
    with pytest.raises(ValueError, match="no secret"):
        sign("whsec_!", "msg", 1, b"{}")


@pytest.mark.parametrize(
    ("url", "entry"),
    [
        ("https://hooks.example.org/x?y=1", "hooks.example.org"),
        ("https://Hooks.Example.org:443/", "hooks.example.org"),
        ("https://hooks.example.org:8443/", "hooks.example.org:8443"),
        ("http://inside:8080/x", "http://inside:8080"),
        ("https://[2001:db8::1]/", "[2001:db8::1]"),
    ],
)
def test_a_url_of_an_allowed_origin_passes(url: str, entry: str) -> None:
    assert is_allowed(url, {allowed_origin(entry)})


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.org/",
        "https://hooks.example.org:444/",
        "https://hooks.example.org.evil.net/",
        "https://evil.net/?hooks.example.org",
    ],
)
def test_any_other_does_not(url: str) -> None:
    assert not is_allowed(url, {allowed_origin("hooks.example.org")})


@pytest.mark.parametrize(
    "url",
    [
        "ftp://hooks.example.org/",
        "hooks.example.org",
        "https://",
        "https://user@hooks.example.org/",
        "https://user:word@hooks.example.org/",
        "https://hooks.example.org/#part",
        "https://hooks.example.org:99999/",
        "https://hooks.example.org/a b",
        "https://evil.net\\@hooks.example.org/",
        "https://hooks.example.org:0/",
        "https://hooks.example.org/\n",
        "https://hööks.example.org/",
        "https://[/",
        "https://hooks.example.org/" + "x" * 2000,
    ],
)
def test_a_url_that_no_webhook_can_have_is_refused(url: str) -> None:
    with pytest.raises(WebhookUrlError):
        origin_of(url)
