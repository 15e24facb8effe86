"""What schemathesis is told about both services, loaded by its command line."""

import re
from collections.abc import Mapping
from http import HTTPMethod
from typing import Any, Final
from urllib.parse import urlencode

import schemathesis
import yaml

from gateway.wire.codecs import xml
from gateway.wire.codecs.roots import (
    ROOT_DOCUMENT,
    ROOT_IDENTITY,
    ROOT_REQUEST,
    ROOT_TEMPLATE,
    ROOT_UPDATE,
)

_ROOTS: Final[Mapping[str, str]] = {
    "/requests": ROOT_REQUEST,
    "/direct": ROOT_REQUEST,
    "/discovery/estimate": ROOT_REQUEST,
    "/discovery/software": ROOT_TEMPLATE,
    "/discovery/software/{uuid}": ROOT_TEMPLATE,
    "/sessions/{uuid}": ROOT_UPDATE,
    "/admin/identities": ROOT_IDENTITY,
}
"""The root elements of the bodies that operations take."""

_AMBIGUOUS: Final = re.compile(r"[-+.]?[0-9].*")
_DAY: Final = re.compile(r"(?:0000-([0-9]{2})-[0-9]{2}|[0-9]{4}-([0-9]{2})-(?:29|30|31))(?=T)")

WIDEST: Final = 1e300
"""Larger integers have no floating-point number near them."""

LONGEST_QUERY: Final = 7000
"""In bytes, encoded. A request line of more than 8 KiB is refused, whatever the operation."""


def plain(tree: Any) -> Any:
    """The same document with what JSON Schema cannot tell from its neighbours made usual.

    For JSON Schema 2.0 is an integer, and so is 2**70. Here the first is none, and the second is
    no number at all: readers of 64-bit integers are common, and documents are carried unchanged.
    And a pattern cannot say that there is no 30th of February and no year 0.
    """
    if isinstance(tree, dict):
        return {name: plain(value) for name, value in tree.items()}
    if isinstance(tree, list):
        return [plain(value) for value in tree]
    if isinstance(tree, str):
        day = _DAY.match(tree)
        return f"2028-{day[1] or day[2]}-28{tree[day.end() :]}" if day else tree
    if isinstance(tree, bool) or not isinstance(tree, int | float):
        return tree
    if -(2**63) <= tree < 2**63:
        return int(tree) if tree == int(tree) else tree
    return float(max(min(tree, WIDEST), -WIDEST))


@schemathesis.hook
def map_body(_context: Any, body: Any) -> Any:
    """Every generated body."""
    return plain(body)


@schemathesis.hook
def filter_query(_context: Any, query: Any) -> bool:
    """Every generated query that a service gets to see."""
    text = urlencode(query or {}, doseq=True, errors="replace")
    return len(text) <= LONGEST_QUERY


class _Dumper(yaml.SafeDumper):
    """Quotes what is a number in YAML 1.2 and a string in 1.1, such as 1e3 and 0o7."""


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _AMBIGUOUS, list("-+.0123456789"))


@schemathesis.serializer("application/yaml")
def to_yaml(_context: Any, body: Any) -> bytes:
    """Every generated body that is sent as YAML."""
    return body if isinstance(body, bytes) else yaml.dump(body, Dumper=_Dumper).encode()


def _in_xml(tree: Any) -> Any:
    """The same with another character for each that XML cannot carry."""
    if isinstance(tree, dict):
        return {_in_xml(name): _in_xml(value) for name, value in tree.items()}
    if isinstance(tree, list):
        return [_in_xml(value) for value in tree]
    return xml._NOT_XML.sub("\ufffd", tree) if isinstance(tree, str) else tree


@schemathesis.serializer("application/xml")
def to_xml(context: Any, body: Any) -> bytes:
    """Every generated body that is sent as XML, in the form that the services read.

    What schemathesis writes itself has neither kinds as attributes nor any types.
    """
    if isinstance(body, bytes):
        return body
    root = _ROOTS.get(context.case.operation.path, ROOT_DOCUMENT)
    return xml.encode(_in_xml(body), root)


@schemathesis.check
def every_failure_is_a_problem(_context: Any, response: Any, case: Any) -> None:
    """RFC 9457 and nothing else; but a direct execution that failed is a session, with a 400."""
    if response.status_code < 400 or response.request.method == HTTPMethod.HEAD:
        return
    document = response.json()
    if case.operation.path == "/direct" and "phase" in document:
        return
    (media_type,) = response.headers["content-type"]
    assert media_type.partition(";")[0] == "application/problem+json", media_type
    assert document["status"] == response.status_code, document
    assert document["title"], document
    assert document["instance"], document
