"""YAML 1.2 with its core schema: ``NO``, ``on``, ``12:30:00`` and dates are strings.

Read from parser events, so that depth, aliases and tags are ours to judge. Written so that readers
of YAML 1.1 see the same values: what either version could take for something else is quoted.
"""

import copy
import re
from codecs import BOM_UTF8
from collections.abc import Callable
from typing import Any, Final

import yaml

from gateway.wire.codecs.base import MAX_DEPTH, MAX_VALUES, Codec, CodecError, checked
from gateway.wire.documents import Document

_TAG: Final = "tag:yaml.org,2002:"
_NULL: Final = re.compile(r"(?:~|null|Null|NULL)?")
_BOOL: Final = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_MAX_DIGITS: Final = 400
_DIRECTIVE: Final = re.compile("(?:^|[\n\r\x85\u2028\u2029])%")
_MAX_DIRECTIVES: Final = 16
"""``%YAML`` and a few ``%TAG``. The parser holds each against all before: 80 000 took 20 s."""


def _integer(text: str) -> int:
    # Base 0 would refuse the leading zeros that YAML allows in decimal numbers.
    return int(text, 0 if text.startswith(("0o", "0x")) else 10)


def _special(text: str) -> Any:
    raise CodecError(f"{text} is no JSON number")


_CORE: Final[tuple[tuple[str, re.Pattern[str], Callable[[str], Any]], ...]] = (
    ("null", _NULL, lambda _: None),
    ("bool", _BOOL, lambda text: text.lower() == "true"),
    ("int", _INT, _integer),
    ("float", _FLOAT, float),
    ("float", _SPECIAL, _special),
)


def _scalar(event: yaml.ScalarEvent) -> Any:
    text: str = event.value
    tag: str | None = event.tag
    if tag == "!" or tag == _TAG + "str" or (tag is None and not event.implicit[0]):
        return text
    for name, pattern, convert in _CORE:
        if tag in (None, _TAG + name) and pattern.fullmatch(text):
            if len(text) > _MAX_DIGITS:
                raise CodecError("a number is too long")
            return convert(text)
    if tag is not None:
        raise CodecError(f"the tag {tag[:80]!r} is not supported here")
    return text


class _Open:
    """A list or object that is being read."""

    __slots__ = ("anchor", "name", "value")

    def __init__(self, value: Any, anchor: str | None) -> None:
        self.value = value
        self.anchor = anchor
        self.name: str | None = None


class _Composer:
    """Makes a tree of events, within the limits."""

    def __init__(self) -> None:
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int] | None] = {}
        self._count = 0
        self.documents: list[Any] = []

    def take(self, event: yaml.Event) -> None:
        """The next event of the stream."""
        if isinstance(event, yaml.ScalarEvent):
            self._take_scalar(event)
        elif isinstance(event, yaml.AliasEvent):
            self._take_alias(event.anchor)
        elif isinstance(event, yaml.MappingStartEvent):
            self._open(event, {}, "map")
        elif isinstance(event, yaml.SequenceStartEvent):
            self._open(event, [], "seq")
        elif isinstance(event, yaml.CollectionEndEvent):
            done = self._stack.pop()
            self._anchor(done.anchor, done.value)
            self._put(done.value)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._anchors.clear()

    def _wants_name(self) -> bool:
        top = self._stack[-1] if self._stack else None
        return top is not None and isinstance(top.value, dict) and top.name is None

    def _counted(self, values: int) -> None:
        self._count += values
        if self._count > MAX_VALUES:
            raise CodecError(f"more than {MAX_VALUES} values, aliases expanded")

    def _anchor(self, anchor: str | None, value: Any) -> None:
        if anchor is not None:
            self._anchors[anchor] = (value, _size(value))

    def _take_scalar(self, event: yaml.ScalarEvent) -> None:
        if not self._wants_name():
            value = _scalar(event)
            self._anchor(event.anchor, value)
            self._put(value)
            return
        if event.value == "<<" and event.implicit[0]:
            raise CodecError("merge keys (<<) are not part of YAML 1.2")
        if event.anchor is not None:
            self._anchor(event.anchor, event.value)
        self._name(event.value)

    def _name(self, name: str) -> None:
        top = self._stack[-1]
        if name in top.value:
            raise CodecError(f"the member {name[:80]!r} stands twice in one object")
        top.name = name

    def _take_alias(self, anchor: str | None) -> None:
        if anchor is None or anchor not in self._anchors:
            raise CodecError(f"the alias {anchor!r} has no anchor")
        known = self._anchors[anchor]
        if known is None:
            raise CodecError(f"the alias {anchor!r} stands within itself")
        value, size = known
        self._counted(size)
        if self._wants_name():
            if not isinstance(value, str):
                raise CodecError("the name of a member has to be a string")
            self._name(value)
            return
        self._put(copy.deepcopy(value))

    def _open(self, event: yaml.CollectionStartEvent, value: Any, tag: str) -> None:
        if event.tag not in (None, "!", _TAG + tag):
            raise CodecError(f"the tag {event.tag[:80]!r} is not supported here")
        if self._wants_name():
            raise CodecError("the name of a member has to be a string")
        if len(self._stack) >= MAX_DEPTH:
            raise CodecError(f"nested deeper than {MAX_DEPTH}")
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._stack.append(_Open(value, event.anchor))

    def _put(self, value: Any) -> None:
        self._counted(1)
        if not self._stack:
            self.documents.append(value)
            return
        top = self._stack[-1]
        if isinstance(top.value, dict):
            top.value[top.name] = value
            top.name = None
        else:
            top.value.append(value)


def _size(value: Any) -> int:
    """How many values are in it. Depth is bounded by the composer."""
    if isinstance(value, dict):
        return 1 + sum(map(_size, value.values()))
    if isinstance(value, list):
        return 1 + sum(map(_size, value))
    return 1


def _readable(text: bytes) -> str:
    """The text, if the parser can be trusted with it."""
    try:
        decoded = text.removeprefix(BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        raise CodecError(f"not UTF-8: {error.reason} at byte {error.start}") from error
    if sum(1 for _ in _DIRECTIVE.finditer(decoded)) > _MAX_DIRECTIVES:
        raise CodecError(f"more than {_MAX_DIRECTIVES} directives")
    return decoded


def decode(text: bytes) -> Any:
    """The tree that the text says; None for an empty one.

    Raises
    ------
    CodecError
        It is not YAML, not one document, or not within the limits.
    """
    composer = _Composer()
    try:
        for event in yaml.parse(_readable(text), Loader=yaml.CSafeLoader):
            composer.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise CodecError(f"{error.problem or error.context}{where}") from error
    except yaml.YAMLError as error:
        raise CodecError(f"not YAML: {error}") from error
    if len(composer.documents) > 1:
        raise CodecError("more than one document in the stream")
    return checked(composer.documents[0]) if composer.documents else None


class _Dumper(yaml.CSafeDumper):
    """Quotes every string that YAML 1.1 or 1.2 could take for something else."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        """Never write an alias: readers bound them."""
        return True


for _name, _pattern in (("int", _INT), ("float", _FLOAT), ("float", _SPECIAL)):
    _Dumper.add_implicit_resolver(
        _TAG + _name, re.compile(f"^(?:{_pattern.pattern})$"), list("-+.0123456789")
    )
# One-letter booleans of YAML 1.1, which PyYAML itself does not know.
_Dumper.add_implicit_resolver(_TAG + "bool", re.compile("^[yYnN]$"), list("yYnN"))


def encode(document: Document, root: str) -> bytes:  # noqa: ARG001 - YAML has no root element
    """The text of a document, in block style and without document marker.

    Raises
    ------
    CodecError
        It has a value that YAML cannot say.
    """
    try:
        checked(document)
        text: bytes = yaml.dump(
            document,
            Dumper=_Dumper,
            allow_unicode=True,
            default_flow_style=False,
            encoding="utf-8",
            sort_keys=False,
            width=1 << 16,
        )
    except (yaml.YAMLError, RecursionError) as error:
        raise CodecError(f"cannot be written as YAML: {error}") from error
    return text


CODEC: Final = Codec(
    "application/yaml",
    frozenset({"application/x-yaml", "application/yml", "text/yaml", "text/x-yaml", "text/yml"}),
    decode,
    encode,
)
"""On request; the public client cannot read it."""
