"""XML: one deterministic form of every document, without document type and without entities.

Members are elements, ``kind`` is an attribute, lists are wrapped. Names that are no XML names, and
the members of maps, are ``<entry name="…">``. Types are those of the schema; where a value has
another, or the schema knows nothing, the attribute ``type`` says it.
Names of roots and items follow the ``xml`` notes of the public OpenAPI document.
"""

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from xml.parsers import expat
from xml.sax.saxutils import escape

from gateway.wire.codecs.base import MAX_DEPTH, MAX_VALUES, Codec, CodecError, check_scalar, checked
from gateway.wire.codecs.roots import ROOT_DOCUMENT, ROOT_SCHEMAS
from gateway.wire.codecs.shapes import (
    ITEM_NAMES,
    STRING,
    KindShape,
    ListShape,
    MapShape,
    ObjectShape,
    Shape,
    shape_of,
)
from gateway.wire.documents import Document

_NAME: Final = re.compile(r"(?!xml)[A-Za-z_][A-Za-z0-9_.-]*", re.ASCII | re.IGNORECASE)
_NOT_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ENTRY: Final = "entry"
_ITEM: Final = "item"
_TEXT_ESCAPES: Final = {"\r": "&#13;"}
_ATTRIBUTE_ESCAPES: Final = {"\r": "&#13;", "\n": "&#10;", "\t": "&#9;", '"': "&quot;"}
_HEAD: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
_UNKNOWN: Final = ObjectShape()
_SCALARS: Final = ("string", "boolean", "integer", "number")
_BOOLEANS: Final = {"true": True, "false": False, "1": True, "0": False}
_INTEGER: Final = re.compile(r"-?[0-9]+")
_NUMBER: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_MAX_DIGITS: Final = 400


@functools.cache
def _root_shape(root: str) -> Shape:
    schema = ROOT_SCHEMAS.get(root)
    return shape_of(schema()) if schema else _UNKNOWN


def _type_name(value: Any) -> str:
    """What JSON calls the type of a value."""
    if value is None:
        return "null"
    for python, name in (
        (str, "string"),
        (bool, "boolean"),
        (int, "integer"),
        (float, "number"),
        (list, "array"),
        (dict, "object"),
    ):
        if isinstance(value, python):
            return name
    raise CodecError(f"a value of type {type(value).__name__} is not JSON")


def _expected(shape: Shape) -> str:
    """The JSON type that a shape says."""
    if isinstance(shape, str):
        return shape
    return "array" if isinstance(shape, ListShape) else "object"


def _member_shape(shape: Shape, name: str) -> Shape:
    if isinstance(shape, ObjectShape):
        return shape.members.get(name, STRING)
    return STRING


def _object_shape(shape: Shape, kind: Any) -> Shape:
    """The shape of an object, once its kind is known."""
    if isinstance(shape, KindShape):
        return shape.of(kind)
    return shape if isinstance(shape, ObjectShape | MapShape) else _UNKNOWN


# ---------------------------------------------------------------------------------------- writing


def _safe(text: str) -> str:
    if found := _NOT_XML.search(text):
        raise CodecError(f"XML cannot carry the character U+{ord(found[0]):04X}")
    return text


def _attribute(name: str, value: str) -> str:
    return f' {name}="{escape(_safe(value), _ATTRIBUTE_ESCAPES)}"'


def _scalar_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return escape(_safe(value), _TEXT_ESCAPES)
    check_scalar(value)
    return repr(value)


def _fits(kind: str, shape: Shape) -> bool:
    """Whether a reader finds the type of a value from its shape alone."""
    expected = _expected(shape)
    # The digits say whether a number is an integer.
    return kind == expected or (kind == "integer" and expected == "number")


def _write(out: list[str], name: str, label: str, value: Any, shape: Shape) -> None:
    """One element with the start ``name`` and further attributes in ``label``."""
    kind = _type_name(value)
    if not _fits(kind, shape):
        label += _attribute("type", kind)
    if isinstance(value, dict):
        inner = _object_shape(shape, value.get("kind"))
        has_kind = isinstance(inner, ObjectShape) and inner.has_kind
        has_kind = has_kind and isinstance(value.get("kind"), str)
        if has_kind:
            label += _attribute("kind", value["kind"])
        members = [(n, v) for n, v in value.items() if not (has_kind and n == "kind")]
        out.append(f"<{name}{label}>")
        for member, item in members:
            _write_member(out, member, item, inner)
    elif isinstance(value, list):
        item_shape = shape.item if isinstance(shape, ListShape) else STRING
        item_name = ITEM_NAMES.get(name, _ITEM)
        out.append(f"<{name}{label}>")
        for item in value:
            _write(out, item_name, "", item, item_shape)
    elif value is None:
        out.append(f"<{name}{label}>")
    else:
        out.append(f"<{name}{label}>{_scalar_text(value)}")
    out.append(f"</{name}>")


def _write_member(out: list[str], name: str, value: Any, shape: Shape) -> None:
    inner = _member_shape(shape, name)
    if isinstance(shape, MapShape) or not _NAME.fullmatch(name):
        _write(out, _ENTRY, _attribute("name", name), value, inner)
    else:
        _write(out, name, "", value, inner)


def encode(document: Document, root: str) -> bytes:
    """The text of a document under a root element: one of those known, or ``document``.

    Raises
    ------
    CodecError
        It has a character or a value that XML cannot carry.
    """
    out = [_HEAD]
    try:
        _write(out, root, "", document, _root_shape(root))
        return "".join(out).encode()
    except (RecursionError, UnicodeEncodeError) as error:
        raise CodecError("cannot be written as XML") from error


# ---------------------------------------------------------------------------------------- reading


class _Element:
    """An element as it stands in the text."""

    __slots__ = ("attributes", "children", "name", "text")

    def __init__(self, name: str, attributes: Mapping[str, str]) -> None:
        self.name = name
        self.attributes = attributes
        self.children: list[_Element] = []
        self.text: list[str] = []


class _Reader:
    """Makes elements of parser events, within the limits."""

    def __init__(self) -> None:
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._data
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.EntityDeclHandler = self._doctype
        self._stack: list[_Element] = []
        self._count = 0
        self._root: _Element | None = None

    def read(self, text: bytes) -> _Element:
        """The root element of a text."""
        try:
            self._parser.Parse(text, True)
        except (expat.ExpatError, LookupError, ValueError) as error:
            if isinstance(error, CodecError):
                raise
            raise CodecError(f"not XML: {error}") from error
        if self._root is None:
            raise CodecError("not XML: no root element")
        return self._root

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1 + len(attributes)
        if self._count > MAX_VALUES:
            raise CodecError(f"more than {MAX_VALUES} elements and attributes")
        if len(self._stack) > MAX_DEPTH:
            raise CodecError(f"nested deeper than {MAX_DEPTH}")
        known = {}
        for key, value in attributes.items():
            if key in ("kind", "name", "type"):
                known[key] = value
            elif not key.startswith(("xmlns", "xsi:", "xml:")):
                raise CodecError(f"<{name[:80]}> has an unknown attribute {key[:80]!r}")
        element = _Element(name, known)
        if self._stack:
            self._stack[-1].children.append(element)
        self._stack.append(element)

    def _end(self, _name: str) -> None:
        self._root = self._stack.pop()

    def _data(self, text: str) -> None:
        self._stack[-1].text.append(text)

    def _doctype(self, *_declaration: object) -> None:
        raise CodecError("a document type or entity declaration is not allowed")


def _kind_of(element: _Element) -> str | None:
    """The kind of an object: an attribute, or a child for those who write by hand."""
    if "kind" in element.attributes:
        return element.attributes["kind"]
    for child in element.children:
        if child.name == "kind" and not child.children:
            return "".join(child.text)
    return None


def _declared(element: _Element, shape: Shape) -> str:
    """The JSON type of an element: as it says, or as the schema says, or as it looks."""
    if given := element.attributes.get("type"):
        return given
    expected = _expected(shape)
    if isinstance(shape, str) and (element.children or "kind" in element.attributes):
        return "object"
    return expected


def _read_scalar(element: _Element, kind: str) -> Any:
    if element.children:
        raise CodecError(f"<{element.name[:80]}> has elements in it where a {kind} should be")
    text = "".join(element.text)
    if kind == "string":
        return text
    text = text.strip()
    if kind == "boolean" and text in _BOOLEANS:
        return _BOOLEANS[text]
    if kind != "boolean" and len(text) <= _MAX_DIGITS:
        if _INTEGER.fullmatch(text):
            return int(text)
        if kind == "number" and _NUMBER.fullmatch(text):
            return float(text)
    raise CodecError(f"<{element.name[:80]}> is no {kind}: {text[:80]!r}")


def _no_text(element: _Element) -> None:
    if "".join(element.text).strip():
        raise CodecError(f"<{element.name[:80]}> has text beside its elements")


def _members(element: _Element, shape: Shape) -> Iterator[tuple[str, Any]]:
    if "kind" in element.attributes:
        yield "kind", element.attributes["kind"]
    for child in element.children:
        is_entry = child.name == _ENTRY and "name" in child.attributes
        name = child.attributes["name"] if is_entry else child.name
        if not is_entry and "name" in child.attributes:
            raise CodecError(f"<{child.name[:80]}> has an attribute 'name' but is no entry")
        yield name, _read(child, _member_shape(shape, name))


def _read_object(element: _Element, shape: Shape) -> Document:
    _no_text(element)
    found: Document = {}
    for name, value in _members(element, _object_shape(shape, _kind_of(element))):
        if name in found:
            raise CodecError(f"the member {name[:80]!r} stands twice in <{element.name[:80]}>")
        found[name] = value
    return found


def _read(element: _Element, shape: Shape) -> Any:
    kind = _declared(element, shape)
    if kind in _SCALARS:
        return _read_scalar(element, kind)
    if kind == "object":
        return _read_object(element, shape)
    if kind == "array":
        _no_text(element)
        item = shape.item if isinstance(shape, ListShape) else STRING
        return [_read(child, item) for child in element.children]
    if kind != "null":
        raise CodecError(f"<{element.name[:80]}> is of an unknown type {kind[:80]!r}")
    if element.children or element.text:
        raise CodecError(f"<{element.name[:80]}> is null but not empty")
    return None


def decode(text: bytes) -> Any:
    """The tree that the text says. Its root element says which schema knows the types.

    Raises
    ------
    CodecError
        It is not XML, has an unknown root, or is not within the limits.
    """
    root = _Reader().read(text)
    if root.name not in ROOT_SCHEMAS and root.name != ROOT_DOCUMENT:
        known = ", ".join((*ROOT_SCHEMAS, ROOT_DOCUMENT))
        raise CodecError(f"the root element <{root.name[:80]}> is none of {known}")
    return checked(_read(root, _root_shape(root.name)))


CODEC: Final = Codec("application/xml", frozenset({"text/xml"}), decode, encode)
"""On request; the public client cannot read it."""
