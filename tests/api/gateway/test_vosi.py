"""What IVOA registries read, held against the structure of IVOA's schemas."""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from xml.etree.ElementTree import Element, fromstring

import pytest

from gateway.api.vosi import availability_of, capabilities_of
from gateway.httpkit.health import LIFECYCLE
from tests.support.gateway import GatewayUnderTest, running_gateway
from tests.support.node import NOBODY, Account

CAPABILITIES = "{http://www.ivoa.net/xml/VOSICapabilities/v1.0}"
AVAILABILITY = "{http://www.ivoa.net/xml/VOSIAvailability/v1.0}"
TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
SEQUENCES = {
    "capability": ["validationLevel", "description", "interface"],
    "interface": [
        "accessURL", "mirrorURL", "securityMethod", "testQueryString",
        "queryType", "resultType", "param", "testQuery",
    ],
    f"{AVAILABILITY}availability": [
        f"{AVAILABILITY}{name}" for name in ("available", "upSince", "downAt", "backAt", "note")
    ],
}  # fmt: skip
"""Children in the order of vr:Capability, vs:ParamHTTP and vosi:Availability; all others none."""


def in_order(element: Element) -> Iterator[str]:
    """Whatever is not where the schemas have it."""
    allowed = SEQUENCES.get(element.tag, [])
    names = [child.tag for child in element]
    yield from (f"{name} in {element.tag}" for name in names if name not in allowed)
    places = [allowed.index(name) for name in names if name in allowed]
    if places != sorted(places):
        yield f"order in {element.tag}: {names}"
    for child in element:
        yield from in_order(child)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[GatewayUnderTest]:
    """A gateway of two nodes, one of them switched off."""
    nodes = {"alpha": "http://127.0.0.1:9", "beta": "http://127.0.0.1:9/beta"}
    options = {"beta": {"enabled": False}}
    async with running_gateway(nodes, tmp_path, node_options=options) as running:
        yield running


async def test_capabilities_name_the_broker_and_vosi_with_their_urls(
    gateway: GatewayUnderTest,
) -> None:
    answer = await gateway.call("GET", "/vosi/capabilities", account=NOBODY)
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("application/xml")
    root = fromstring(answer.text)
    assert root.tag == f"{CAPABILITIES}capabilities"
    assert [child.tag for child in root] == ["capability"] * 3, "unqualified, as the schema has it"
    assert not [fault for child in root for fault in in_order(child)]
    found = {one.attrib["standardID"]: one.find("interface") for one in root}
    for standard, path, use in (
        ("ivo://ivoa.net/std/ExecutionBroker", "", "base"),
        ("ivo://ivoa.net/std/VOSI#capabilities", "/vosi/capabilities", "full"),
        ("ivo://ivoa.net/std/VOSI#availability", "/vosi/availability", "full"),
    ):
        interface = found[standard]
        assert interface is not None
        assert interface.attrib[TYPE] == "vs:ParamHTTP"
        url = interface.find("accessURL")
        assert url is not None
        assert (url.text, url.attrib["use"]) == (f"{gateway.url}{path}", use)
    assert 'xmlns:vs="http://www.ivoa.net/xml/VODataService/v1.1"' in answer.text
    assert 'standardID="ivo://ivoa.net/sso#BasicAA"' in answer.text


async def test_availability_says_since_when_and_how_many_nodes_live(
    gateway: GatewayUnderTest,
) -> None:
    # Stale credentials must not keep a registry from looking.
    stale = Account("alice", "wrong")
    answer = await gateway.call("GET", "/vosi/availability", account=stale)
    assert answer.status == 200
    root = fromstring(answer.text)
    assert root.tag == f"{AVAILABILITY}availability"
    assert not list(in_order(root))
    assert root.findtext(f"{AVAILABILITY}available") == "true"
    since = root.findtext(f"{AVAILABILITY}upSince") or ""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", since)
    assert root.findtext(f"{AVAILABILITY}note") == "1 of 2 nodes are live"


async def test_a_gateway_that_is_ending_says_that_it_is_not_there(
    gateway: GatewayUnderTest,
) -> None:
    assert gateway.app is not None
    gateway.app[LIFECYCLE].begin_draining()
    answer = await gateway.call("GET", "/vosi/availability", account=NOBODY)
    root = fromstring(answer.text)
    assert not list(in_order(root))
    assert root.findtext(f"{AVAILABILITY}available") == "false"
    assert root.find(f"{AVAILABILITY}upSince") is None
    assert root.findtext(f"{AVAILABILITY}note") == "service: draining"


@pytest.mark.parametrize(
    "security", [(), ("ivo://ivoa.net/sso#BasicAA", "ivo://ivoa.net/sso#OAuth")]
)
def test_ways_to_say_who_one_is_belong_to_the_broker_alone(security: tuple[str, ...]) -> None:
    root = fromstring(capabilities_of("https://x.org", security))
    assert [one.attrib["standardID"] for one in root.iter("securityMethod")] == list(security)


def test_notes_are_written_so_that_xml_can_be_read() -> None:
    root = fromstring(availability_of(None, ["<&>"]))
    assert root.findtext(f"{AVAILABILITY}note") == "<&>"
