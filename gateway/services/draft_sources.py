"""What a draft can begin from: nothing, a request, a template, what was asked before, or data."""

from uuid import UUID

from gateway.domain.drafts import EditError, request_for_ivoid, request_for_rucio
from gateway.editing_errors import InvalidEditError, UnknownDraftSourceError
from gateway.errors import NotOwnerError, UnknownSessionError
from gateway.services.caller import Caller
from gateway.services.transitions import Stores
from gateway.stores.database import Database, Transaction
from gateway.stores.offersets import OfferSetStore
from gateway.stores.software import SoftwareStore
from gateway.wire.documents import Document, from_json


class DraftSources:
    """Finds the request that a draft begins with."""

    def __init__(
        self, database: Database, stores: Stores, offersets: OfferSetStore, software: SoftwareStore
    ) -> None:
        self._database = database
        self._stores = stores
        self._offersets = offersets
        self._software = software

    async def request_of(self, source: Document, caller: Caller) -> Document:
        """The request; ``source`` has one member at most, which says what to begin from.

        Raises
        ------
        UnknownDraftSourceError
            It is not here, or not the caller's.
        InvalidEditError
            An identifier of data is none.
        """
        if "request" in source:
            written: Document = source["request"]
            return written
        if "rucio_did" in source or "ivoid" in source:
            return _of_data(source)
        async with self._database.reading() as reader:
            if "template" in source:
                return await self._of_template(reader, source["template"])
            if "session" in source:
                return await self._of_session(reader, UUID(source["session"]), caller)
            if "offerset" in source:
                uuid = UUID(source["offerset"])
                return await self._of_offerset(reader, uuid, caller, "offerset", uuid)
        return {}

    async def _of_template(self, reader: Transaction, template: str | Document) -> Document:
        which: Document = {"uuid": template} if isinstance(template, str) else template
        uuid = UUID(which["uuid"])
        row = await self._software.version(reader, uuid, which.get("version"))
        if row is None:
            raise UnknownDraftSourceError("template", uuid)
        document: Document = from_json(row.document)
        return document

    async def _of_session(self, reader: Transaction, uuid: UUID, caller: Caller) -> Document:
        try:
            row = await self._stores.owned(reader, uuid, caller)
        except (UnknownSessionError, NotOwnerError) as error:
            raise UnknownDraftSourceError("session", uuid) from error
        return await self._of_offerset(reader, row.offerset, caller, "session", uuid)

    async def _of_offerset(
        self, reader: Transaction, offerset: UUID, caller: Caller, what: str, named: UUID
    ) -> Document:
        row = await self._offersets.find(reader, offerset)
        if row is None or not caller.owns(row.owner):
            raise UnknownDraftSourceError(what, named)
        document: Document = from_json(row.request)
        return document


def _of_data(source: Document) -> Document:
    try:
        if "rucio_did" in source:
            return request_for_rucio(source["rucio_did"])
        return request_for_ivoid(source["ivoid"])
    except EditError as error:
        raise InvalidEditError(error.fault) from error
