"""Which URLs, hosts and addresses are allowed."""

from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.addresses import is_allowed, parse_address
from node_stub.staging.allowlist import UrlRules, is_signed, parse_url, shown
from node_stub.staging.errors import RefusedError

OPEN = UrlRules(schemes=frozenset({"https", "http"}), hosts=("*",))
PRIVATE = [
    "127.0.0.1",
    "127.8.8.8",
    "10.1.2.3",
    "192.168.1.1",
    "172.16.0.1",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "192.0.2.1",
    "198.18.0.1",
    "169.254.169.254",
    "::1",
    "::",
    "::7f00:1",
    "fe80::1",
    "fc00::1",
    "fd00:ec2::254",
    "fec0::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:a00:1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2001:db8::1",
]
NEVER = ["169.254.169.254", "fe80::1", "0.0.0.0", "::", "224.0.0.1", "ff02::1"]


@pytest.mark.parametrize("text", PRIVATE)
def test_no_special_address_is_open_to_everybody(text: str) -> None:
    assert not is_allowed(ip_address(text), may_be_private=False)
    host = f"[{text}]" if ":" in text else text
    with pytest.raises(RefusedError, match="address"):
        OPEN.check(f"https://{host}/x")


@pytest.mark.parametrize("text", [*NEVER, "fd00:ec2::254", "100.100.100.200"])
def test_metadata_and_nowhere_are_refused_where_private_addresses_are_not(text: str) -> None:
    assert not is_allowed(ip_address(text), may_be_private=True)


@given(st.ip_addresses(v=4))
def test_an_address_wrapped_into_ipv6_is_judged_like_itself(address: IPv4Address) -> None:
    for wrapped in (f"::ffff:{address}", f"64:ff9b::{address}"):
        inner = parse_address(wrapped)
        assert inner is not None
        for may_be_private in (False, True):
            judged = is_allowed(address, may_be_private=may_be_private)
            assert is_allowed(inner, may_be_private=may_be_private) == judged


@pytest.mark.parametrize("text", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"])
def test_public_addresses_are_allowed(text: str) -> None:
    assert is_allowed(ip_address(text), may_be_private=False)


@pytest.mark.parametrize(
    ("pattern", "host", "is_match"),
    [
        ("data.example.org", "data.example.org", True),
        ("data.example.org", "DATA.Example.ORG.", True),
        ("data.example.org", "x.data.example.org", False),
        ("*.example.org", "a.b.example.org", True),
        ("*.example.org", "example.org", False),
        ("*.example.org", "badexample.org", False),
        ("*.example.org", "example.org.evil.com", False),
        ("*", "anything.at.all", True),
    ],
)
def test_hosts_are_matched_whole(pattern: str, host: str, is_match: bool) -> None:
    rules = UrlRules(schemes=frozenset({"https"}), hosts=(pattern,))
    if is_match:
        rules.check(f"https://{host}/x")
    else:
        with pytest.raises(RefusedError, match="host"):
            rules.check(f"https://{host}/x")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/x",
        "gopher://example.org/x",
        "file:///etc/passwd",
        "https://user@example.org/x",
        "https://user:secret@example.org/x",
        "https://@example.org/x",
        "https://example.org\\@evil.com/x",
        "https:///x",
        "https://exa mple.org/x",
        "https://example.org/x\r\nHost: evil",
        "https://example.org:99999/x",
        "//example.org/x",
        "example.org/x",
        "",
        "https://[::1/x",
        "https://localhost/x",
        "https://a.localhost/x",
        "https://printer.local/x",
        "https://metadata.google.internal/x",
        "https://example.org/" + "x" * 9000,
    ],
)
def test_what_is_no_plain_url_of_a_public_host_is_refused(url: str) -> None:
    with pytest.raises(RefusedError) as caught:
        OPEN.check(url)
    assert "secret" not in str(caught.value)


@given(st.text())
def test_any_text_is_a_url_or_refused(text: str) -> None:
    try:
        url = parse_url(text)
    except RefusedError:
        return
    assert url.scheme
    assert url.raw_user is None
    assert url.raw_password is None


@pytest.mark.parametrize(
    "url",
    [
        "https://h.org/a%2Fb?X-Amz-Signature=ab%2Fcd%3D&x=%20+y",
        "https://h.org/a/../b?c=%7E",
        "https://h.org/a%2e%2e/b",
    ],
)
def test_a_url_stays_byte_by_byte_what_was_signed(url: str) -> None:
    assert str(parse_url(url)) == url


@given(st.text(), st.text("abcdef", min_size=1))
def test_what_is_shown_has_no_query(path: str, secret: str) -> None:
    assert f"sig={secret}" not in shown(f"https://h.org/p?sig={secret}&{path}")


def test_what_is_shown_has_no_user() -> None:
    assert shown("https://me:secret@h.org/x") == "https://h.org/x"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://h.org/x?X-Amz-Signature=1", True),
        ("https://h.org/x?SIG=1", True),
        ("https://h.org/x?ID=ivo://x&REQUEST=getFile", False),
        ("https://h.org/x", False),
    ],
)
def test_signed_urls_are_known(url: str, expected: bool) -> None:
    assert is_signed(parse_url(url)) == expected


FILES = UrlRules(schemes=frozenset({"file"}), hosts=(), file_roots=("/data", "/srv/x"))


@pytest.mark.parametrize(
    "url",
    ["file:///data/a.fits", "file://localhost/srv/x/b/c", "file:///data/%20a", "file:/data/a"],
)
def test_files_below_a_root_seem_allowed(url: str) -> None:
    FILES.check(url)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "file:///data",
        "file:///data/",
        "file:///data/../etc/passwd",
        "file:///data/%2e%2e/etc/passwd",
        "file:///data/..%2f..%2fetc/passwd",
        "file:///database/x",
        "file://other.host/data/a",
        "file:///data/a%00.fits",
        "file:///data/a?x",
        "file://data/a",
    ],
)
def test_files_elsewhere_are_refused(url: str) -> None:
    with pytest.raises(RefusedError):
        FILES.check(url)
