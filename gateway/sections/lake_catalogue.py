"""The file of a static data lake: which data there are, and where their copies lie.

::

    data:
      - did: ska-mid:obs-1
        kind: DATASET                # FILE if left out, DATASET or CONTAINER
        bytes: 2550000000000         # left out: not known
        files: 100
        copies:
          - rse: UK_RSE              # all of it
          - {rse: JP_RSE, bytes: 2340000000000, files: 90}
          - {rse: UK_TAPE, tape: true}
      - did: ska-mid:survey
        kind: CONTAINER
        parts: [ska-mid:obs-1]       # other entries
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

from marshmallow import ValidationError, fields, validate, validates_schema

from gateway.domain.holdings import Checksum, Copy, Did, DidKind, Holding, Part, Place
from gateway.httpkit.settings import SettingsSchema, load_settings

_DID: Final = validate.Regexp(r"[^:\s]+:\S+\Z", error="must be scope:name")
_NOT_EMPTY: Final = validate.Length(min=1)
_COUNT: Final = validate.Range(min=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyEntry:
    """A copy at one storage element; without ``bytes`` and ``files`` it is all there."""

    rse: str
    bytes: int | None = None
    files: int | None = None
    tape: bool = False
    urls: tuple[str, ...] = ()

    def to_copy(self, total: int | None, files: int | None) -> Copy:
        """As the rest of the gateway knows it, of data with this size and number of files."""
        is_partial = (self.bytes is not None and self.bytes != total) or (
            self.files is not None and self.files != files
        )
        return Copy(
            Place(rse=self.rse),
            self.bytes if is_partial else total,
            self.files if is_partial else files,
            is_complete=not is_partial,
            is_tape=self.tape,
            urls=self.urls,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DataEntry:
    """One identifier: either with copies, or a container of other entries."""

    did: str
    kind: DidKind = DidKind.FILE
    bytes: int | None = None
    files: int | None = None
    checksums: dict[str, str] = field(default_factory=dict)
    copies: tuple[CopyEntry, ...] = ()
    parts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """The whole file."""

    data: tuple[DataEntry, ...] = ()

    def holdings(self) -> tuple[Holding, ...]:
        """Every entry as the rest of the gateway knows it."""
        entries = {entry.did: entry for entry in self.data}
        return tuple(_holding(entry, _parts(entry, entries)) for entry in self.data)


def load_catalogue(path: Path) -> Catalogue:
    """The catalogue in a file.

    Raises
    ------
    SettingsError
        With everything that is wrong with the file.
    """
    catalogue = load_settings(path, _CatalogueSchema())
    assert isinstance(catalogue, Catalogue)
    return catalogue


class _CopySchema(SettingsSchema):
    settings_class: ClassVar[type] = CopyEntry

    rse = fields.String(required=True, validate=_NOT_EMPTY)
    bytes = fields.Integer(validate=_COUNT)
    files = fields.Integer(validate=_COUNT)
    tape = fields.Boolean(truthy={True}, falsy={False})
    urls = fields.List(fields.String(validate=_NOT_EMPTY))


class _DataSchema(SettingsSchema):
    settings_class: ClassVar[type] = DataEntry

    did = fields.String(required=True, validate=_DID)
    kind = fields.Enum(DidKind, by_value=True)
    bytes = fields.Integer(validate=_COUNT)
    files = fields.Integer(validate=_COUNT)
    checksums = fields.Dict(keys=fields.String(), values=fields.String())
    copies = fields.List(fields.Nested(_CopySchema()))
    parts = fields.List(fields.String(validate=_DID))

    @validates_schema
    def check_parts(self, data: dict[str, Any], **_: Any) -> None:
        """Copies and parts are two ways to say one thing."""
        if data.get("parts") and (data.get("copies") or "bytes" in data or "files" in data):
            raise ValidationError("copies, bytes and files are those of the parts", "parts")
        if data.get("parts") and data.get("kind") is not DidKind.CONTAINER:
            raise ValidationError("only a CONTAINER has parts", "parts")


class _CatalogueSchema(SettingsSchema):
    settings_class: ClassVar[type] = Catalogue

    data = fields.List(fields.Nested(_DataSchema()))

    @validates_schema
    def check_names(self, data: dict[str, Any], **_: Any) -> None:
        """An identifier is there once, and every part is there before what it is part of."""
        seen: set[str] = set()
        for index, entry in enumerate(data.get("data", ())):
            for part in entry.parts:
                if part not in seen:
                    fault = f"{part} is not an entry before this one"
                    raise ValidationError({"data": {index: {"parts": [fault]}}})
            if entry.did in seen:
                raise ValidationError({"data": {index: {"did": ["is there already"]}}})
            seen.add(entry.did)


def _parts(entry: DataEntry, entries: dict[str, DataEntry]) -> dict[str, Part]:
    """By name, so that what is reached twice counts once."""
    if entry.parts:
        found: dict[str, Part] = {}
        for name in entry.parts:
            found |= _parts(entries[name], entries)
        return found
    files = 1 if entry.kind is DidKind.FILE and entry.files is None else entry.files
    copies = tuple(copy.to_copy(entry.bytes, files) for copy in entry.copies)
    return {entry.did: Part(entry.did, entry.bytes, files, copies)}


def _holding(entry: DataEntry, parts: dict[str, Part]) -> Holding:
    sizes = [part.bytes for part in parts.values()]
    files = [part.files for part in parts.values()]
    scope, _, name = entry.did.partition(":")
    return Holding(
        Did(scope, name),
        entry.kind,
        bytes=None if None in sizes else sum(size or 0 for size in sizes),
        files=None if None in files else sum(count or 0 for count in files),
        parts=tuple(parts.values()),
        checksums=tuple(Checksum(kind, value) for kind, value in entry.checksums.items()),
    )
