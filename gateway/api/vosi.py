"""What IVOA registries and their validators ask of every service: its interfaces, and if it is up.

Source: IVOA Support Interfaces (VOSI) 1.1, with the schemas VOSICapabilities 1.0, VOSIAvailability
1.0, VOResource 1.1 and VODataService 1.1. Both documents must be readable by everybody.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from xml.etree.ElementTree import Element, SubElement, tostring

from aiohttp import web

from gateway.api.nodes import NODES
from gateway.api.presenting import own_base_url
from gateway.domain.registration import LIVE
from gateway.httpkit.health import LIFECYCLE
from gateway.httpkit.operations import docs

CAPABILITIES_PATH: Final = "/vosi/capabilities"
"""Where the service says what its interfaces are."""

AVAILABILITY_PATH: Final = "/vosi/availability"
"""Where the service says whether it is up."""

BROKER: Final = "ivo://ivoa.net/std/ExecutionBroker"
"""The ExecutionBroker interface. The standard is a draft, and its identifier not registered yet."""

SECURITY: Final = {"basic": "ivo://ivoa.net/sso#BasicAA", "bearer": "ivo://ivoa.net/sso#OAuth"}
"""The ways to say who one is, as IVOA's single-sign-on profile names them."""

MEDIA_TYPE: Final = "application/xml"
"""One of the two that VOSI allows, the other being ``text/xml``."""

_TAGS: Final = ["vosi"]
_VOSI: Final = "ivo://ivoa.net/std/VOSI"
_CAPABILITIES_NS: Final = "http://www.ivoa.net/xml/VOSICapabilities/v1.0"
_AVAILABILITY_NS: Final = "http://www.ivoa.net/xml/VOSIAvailability/v1.0"
_DATA_SERVICE_NS: Final = "http://www.ivoa.net/xml/VODataService/v1.1"
_XSI_NS: Final = "http://www.w3.org/2001/XMLSchema-instance"
_DOCUMENT: Final = {200: {"description": "The document", "content": {MEDIA_TYPE: {}}}}


@dataclass(frozen=True, slots=True)
class Registered:
    """What the documents say that no request does: how callers say who they are, and since when.

    ``security`` are identifiers of IVOA's single-sign-on profile, alternatives; empty: none.
    """

    security: tuple[str, ...]
    since: datetime


REGISTERED = web.AppKey("registered", Registered)
"""What is said of this service."""


@docs(
    tags=_TAGS,
    summary="The interfaces of this service, for the IVOA registry",
    responses=_DOCUMENT,
    media_types=(MEDIA_TYPE,),
)
async def get_capabilities(request: web.Request) -> web.Response:
    """Tell the interfaces."""
    base = own_base_url(request)
    return _answer(capabilities_of(base, request.app[REGISTERED].security))


@docs(
    tags=_TAGS,
    summary="Whether this service is up, for the IVOA registry",
    responses=_DOCUMENT,
    media_types=(MEDIA_TYPE,),
)
async def get_availability(request: web.Request) -> web.Response:
    """Tell whether it is up."""
    failures = await request.app[LIFECYCLE].failures()
    registry = request.app[NODES]
    live = sum(node.standing in LIVE for node in registry)
    notes = [f"{name}: {why}" for name, why in sorted(failures.items())]
    notes.append(f"{live} of {len(registry)} nodes are live")
    since = None if failures else request.app[REGISTERED].since
    return _answer(availability_of(since, notes))


def capabilities_of(base: str, security: tuple[str, ...]) -> bytes:
    """The document of capabilities, for a service whose URLs begin with ``base``."""
    root = Element(
        "vosi:capabilities",
        {
            "xmlns:vosi": _CAPABILITIES_NS,
            "xmlns:vs": _DATA_SERVICE_NS,
            "xmlns:xsi": _XSI_NS,
        },
    )
    _add_capability(root, BROKER, base, use="base", security=security)
    for name, path in (
        ("capabilities", CAPABILITIES_PATH),
        ("availability", AVAILABILITY_PATH),
    ):
        _add_capability(root, f"{_VOSI}#{name}", f"{base}{path}", use="full")
    return _text(root)


def availability_of(since: datetime | None, notes: list[str]) -> bytes:
    """The document of availability; ``since`` when the service is up, None if it is not."""
    root = Element("vosi:availability", {"xmlns:vosi": _AVAILABILITY_NS})
    SubElement(root, "vosi:available").text = "false" if since is None else "true"
    if since is not None:
        # The schema wants whole seconds and the Z.
        at = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        SubElement(root, "vosi:upSince").text = at
    for note in notes:
        SubElement(root, "vosi:note").text = note
    return _text(root)


def add_vosi_routes(app: web.Application) -> None:
    """Serve both documents."""
    app.router.add_get(CAPABILITIES_PATH, get_capabilities)
    app.router.add_get(AVAILABILITY_PATH, get_availability)


def _add_capability(
    root: Element, standard: str, url: str, *, use: str, security: tuple[str, ...] = ()
) -> None:
    capability = SubElement(root, "capability", {"standardID": standard})
    interface = SubElement(
        capability, "interface", {"xsi:type": "vs:ParamHTTP", "role": "std", "version": "1.0"}
    )
    SubElement(interface, "accessURL", {"use": use}).text = url
    for method in security:
        SubElement(interface, "securityMethod", {"standardID": method})


def _text(root: Element) -> bytes:
    text: bytes = tostring(root, encoding="UTF-8", xml_declaration=True)
    return text


def _answer(text: bytes) -> web.Response:
    return web.Response(body=text, content_type=MEDIA_TYPE)
