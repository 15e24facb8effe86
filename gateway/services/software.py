"""The register of execution templates: software as it can be run, with what is left to choose."""

import asyncio
import posixpath
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from gateway.clients.fetched import Fetched, FetchError, Fetches
from gateway.clock import Clock
from gateway.domain.templates import MAX_WORDS, Template, folded, folded_words, template_of
from gateway.editing_errors import InvalidCursorError
from gateway.errors import PreconditionFailedError
from gateway.services.caller import ADMIN_OWNER, Caller
from gateway.services.listing_cursor import CursorError, cursor_of, place_of
from gateway.settings import DiscoverySettings
from gateway.software_errors import (
    NotTemplateOwnerError,
    TemplateImportError,
    TooManyTemplatesError,
    UnknownTemplateError,
)
from gateway.stores.database import Database, Transaction
from gateway.stores.listing import Place
from gateway.stores.software import Marks, Search, SoftwareRow, SoftwareStore, Tag
from gateway.wire.codecs.base import Codec, CodecError
from gateway.wire.codecs.registry import YAML, codec_for_content_type
from gateway.wire.documents import Document, to_json
from gateway.wire.faults import validate
from gateway.wire.problem import Fault
from gateway.wire.schemas.template import TemplateSchema

_SCHEMA: Final = TemplateSchema()
_BY_SUFFIX: Final = {".json": "application/json", ".xml": "application/xml"}


@dataclass(frozen=True, slots=True)
class Page:
    """Some of what was found, newest first; ``next_cursor`` is None where nothing comes after."""

    rows: tuple[SoftwareRow, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is looked for: all of it must hold. ``text`` are beginnings of words, in any order.

    ``kinds`` are URIs, or the names at their ends. ``cursor`` is what the page before ended with.
    """

    text: str = ""
    kinds: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    owner: str | None = None
    cursor: str | None = None
    limit: int

    def to_search(self) -> Search:
        """What the store is asked.

        Raises
        ------
        InvalidCursorError
            The cursor is none of a list like this.
        """
        tags = [(Tag.KIND, kind) for kind in self.kinds]
        tags += [(Tag.KEYWORD, folded(keyword)) for keyword in self.keywords]
        words = tuple(dict.fromkeys(folded_words(self.text)))[:MAX_WORDS]
        return Search(
            words=words,
            tags=tuple(dict.fromkeys(tags)),
            owner=self.owner,
            before=self._place(),
            # One more, to see whether it goes on.
            limit=self.limit + 1,
        )

    def next_cursor(self, last: SoftwareRow) -> str:
        """The cursor of what comes after this template."""
        return cursor_of(Place(last.published, last.uuid), self._filters())

    def _place(self) -> Place | None:
        try:
            return None if self.cursor is None else place_of(self.cursor, self._filters())
        except CursorError as error:
            raise InvalidCursorError(str(error)) from error

    def _filters(self) -> object:
        return ["software", self.text, self.kinds, self.keywords, self.owner]


class SoftwareService:
    """Keeps templates and finds them again. Everybody may read them, owners change their own."""

    def __init__(
        self,
        database: Database,
        store: SoftwareStore,
        fetcher: Fetches,
        clock: Clock,
        settings: DiscoverySettings,
        mint: Callable[[], UUID],
    ) -> None:
        self._database = database
        self._store = store
        self._fetcher = fetcher
        self._clock = clock
        self._settings = settings
        self._mint = mint

    async def publish(
        self, document: Document, caller: Caller, *, source: str | None = None
    ) -> SoftwareRow:
        """Keep a new template, which has passed its schema.

        Raises
        ------
        TooManyTemplatesError
            The caller has as many as one owner may have.
        """
        template, now = template_of(document), self._clock.now()
        owner = caller.owner or ADMIN_OWNER
        row = SoftwareRow(
            uuid=self._mint(),
            owner=owner,
            number=1,
            latest=1,
            title=template.title,
            description=template.description,
            keywords=template.keywords,
            kinds=template.kinds,
            document=to_json(template.document),
            source=source,
            published=now,
            created=now,
        )
        async with self._database.transaction() as tx:
            limit = self._settings.templates_per_owner
            if not caller.is_admin and await self._store.count_of(tx, owner) >= limit:
                raise TooManyTemplatesError(limit)
            await self._store.add(tx, row, _marks(template))
        return row

    async def import_from(self, url: str, caller: Caller) -> SoftwareRow:
        """Keep a new template that lies at a URL.

        Raises
        ------
        TemplateImportError
            Nothing may be fetched there, or what is there is no template.
        TooManyTemplatesError
            The caller has as many as one owner may have.
        """
        try:
            fetched = await self._fetcher.fetch(url)
        except FetchError as error:
            raise TemplateImportError(url, str(error)) from error
        # A quarter of a megabyte of YAML takes a second to read.
        document = await asyncio.to_thread(_document_in, fetched, url)
        return await self.publish(document, caller, source=fetched.url)

    async def read(self, uuid: UUID, number: int | None = None) -> SoftwareRow:
        """One version of a template, or its latest.

        Raises
        ------
        UnknownTemplateError
            There is none.
        """
        async with self._database.reading() as reader:
            return await self._found(reader, uuid, number)

    async def versions(self, uuid: UUID) -> list[tuple[int, datetime]]:
        """The versions there are and when each was made, newest first.

        Raises
        ------
        UnknownTemplateError
            There is no such template.
        """
        async with self._database.reading() as reader:
            numbers = await self._store.numbers(reader, uuid)
        if not numbers:
            raise UnknownTemplateError(uuid)
        return numbers

    async def search(self, query: Query) -> Page:
        """The latest versions of what is looked for.

        Raises
        ------
        InvalidCursorError
            The cursor is none of a list like this.
        """
        search = query.to_search()
        async with self._database.reading() as reader:
            rows = await self._store.search(reader, search)
        shown = tuple(rows[: query.limit])
        has_more = len(rows) > query.limit
        return Page(shown, query.next_cursor(shown[-1]) if has_more else None)

    async def revise(
        self,
        uuid: UUID,
        document: Document,
        caller: Caller,
        *,
        is_expected: Callable[[SoftwareRow], bool],
    ) -> SoftwareRow:
        """Make this the next version; what the latest says already makes none.

        ``is_expected`` says whether the latest version is the one that the caller has seen.

        Raises
        ------
        UnknownTemplateError, NotTemplateOwnerError
            There is no such template, or it is not the caller's.
        PreconditionFailedError
            There is another version than the caller expects.
        """
        template = template_of(document)
        async with self._database.transaction() as tx:
            latest = await self._own(tx, uuid, caller)
            if not is_expected(latest):
                raise PreconditionFailedError
            row = SoftwareRow(
                uuid=uuid,
                owner=latest.owner,
                number=latest.number + 1,
                latest=latest.number + 1,
                title=template.title,
                description=template.description,
                keywords=template.keywords,
                kinds=template.kinds,
                document=to_json(template.document),
                source=None,
                published=latest.published,
                created=self._clock.now(),
            )
            if _content(row) == _content(latest):
                return latest
            await self._store.add_version(tx, row, _marks(template))
        return row

    async def remove(
        self, uuid: UUID, caller: Caller, *, is_expected: Callable[[SoftwareRow], bool]
    ) -> None:
        """Delete the template with all its versions; drafts made from it have copies.

        Raises
        ------
        UnknownTemplateError, NotTemplateOwnerError, PreconditionFailedError
            As above.
        """
        async with self._database.transaction() as tx:
            if not is_expected(await self._own(tx, uuid, caller)):
                raise PreconditionFailedError
            await self._store.remove(tx, uuid)

    async def _own(self, tx: Transaction, uuid: UUID, caller: Caller) -> SoftwareRow:
        """The latest version, held for a change by the caller."""
        await self._store.hold(tx, uuid)
        latest = await self._found(tx, uuid, None)
        if not caller.owns(latest.owner):
            raise NotTemplateOwnerError(uuid)
        return latest

    async def _found(self, tx: Transaction, uuid: UUID, number: int | None) -> SoftwareRow:
        row = await self._store.version(tx, uuid, number)
        if row is None:
            raise UnknownTemplateError(uuid, number)
        return row


def _content(row: SoftwareRow) -> tuple[object, ...]:
    return row.title, row.description, row.keywords, row.document


def _marks(template: Template) -> Marks:
    return Marks(
        template.words(),
        (
            *((Tag.KEYWORD, folded(keyword)) for keyword in template.keywords),
            *((Tag.KIND, kind) for kind in template.kind_names()),
        ),
    )


def _document_in(fetched: Fetched, url: str) -> Document:
    """The template in a file.

    Raises
    ------
    TemplateImportError
        There is none in it.
    """
    codec = _codec_of(fetched)
    try:
        document = codec.decode(fetched.body)
    except CodecError as error:
        raise TemplateImportError(url, f"not readable as {codec.media_type}: {error}") from error
    faults = (
        validate(_SCHEMA, document)
        if isinstance(document, dict)
        else [Fault("", "Must be an object.")]
    )
    if faults:
        raise TemplateImportError(url, "it is no execution template; see errors", faults)
    checked: Document = document
    return checked


def _codec_of(fetched: Fetched) -> Codec:
    """By the media type, else by the name; YAML for all else, as JSON can be read as that too.

    Hosts of source code call every file plain text.
    """
    suffix = posixpath.splitext(urlsplit(fetched.url).path)[1].lower()
    by_name = codec_for_content_type(_BY_SUFFIX.get(suffix, ""))
    return codec_for_content_type(fetched.media_type) or by_name or YAML
