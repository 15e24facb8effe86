"""Nodes join: who may bring one, under which name, and whether its URL is its own."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

import structlog

from gateway.clients.proof import Found, Prover, ProvingError
from gateway.clock import Clock
from gateway.domain.node import NoCredentials, NodeCredentials
from gateway.domain.node_urls import fault_in_url
from gateway.domain.registration import (
    MemberCause,
)
from gateway.registration_errors import (
    BadRegistrationTokenError,
    NameTakenError,
    OtherNodeError,
    UnknownMemberError,
    UnprovenUrlError,
    UnusableUrlError,
)
from gateway.services.membership import note_causes
from gateway.services.node_credentials import CredentialBox
from gateway.services.node_directory import NodeDirectory
from gateway.services.registration_tokens import (
    CREDENTIAL_PREFIX,
    MAX_ATTEMPTS,
    digest_of,
    new_secret,
)
from gateway.services.registry import NodeRegistry, RegisteredNode
from gateway.stores.database import Database, Transaction
from gateway.stores.node_credentials import Granted, NodeCredentialStore, RegistrationTokenStore
from gateway.stores.nodes import NodeRow, NodeStore
from gateway.wire.documents import Document

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Registrant:
    """Who brings a node.

    ``who`` is kept with the registration. ``node`` is the only one that may be brought. ``token``
    is the UUID of the token; one that ``has_credential`` of its own comes again, and keeps it.
    """

    who: str
    node: str | None = None
    token: UUID | None = None
    has_credential: bool = False
    is_admin: bool = False


@dataclass(frozen=True, slots=True)
class NewNode:
    """A node as it registers. ``challenge_key`` is what whoever serves the URL holds too."""

    name: str
    url: str
    challenge_key: bytes = field(repr=False)
    declared: Document = field(default_factory=dict)
    credentials: NodeCredentials = field(default_factory=NoCredentials)


@dataclass(frozen=True, slots=True)
class Joined:
    """A node that is in, and its new credential, shown this once; None where it keeps its own."""

    node: RegisteredNode
    credential: str | None = field(repr=False)


class RegistrationService:
    """Decides who gets in. A node is in the store before it is in the registry."""

    def __init__(
        self,
        *,
        database: Database,
        store: NodeStore,
        tokens: RegistrationTokenStore,
        credentials: NodeCredentialStore,
        registry: NodeRegistry,
        directory: NodeDirectory,
        prover: Prover,
        box: CredentialBox,
        clock: Clock,
    ) -> None:
        self._database = database
        self._store = store
        self._tokens = tokens
        self._credentials = credentials
        self._registry = registry
        self._directory = directory
        self._prover = prover
        self._box = box
        self._clock = clock

    async def register(self, new: NewNode, registrant: Registrant) -> Joined:
        """Take a node in, once its URL is proven.

        The same token may register the same name and URL again until the node has renewed once, as
        the answer with the credential may have been lost.

        Raises
        ------
        BadRegistrationTokenError
            It is used up or over by now, or was used for another node.
        OtherNodeError, NameTakenError
            The name is not this registrant's to take.
        UnusableUrlError, UnprovenUrlError, NoSecretKeyError
            What is said of the node cannot be used.
        """
        new = replace(new, url=new.url.rstrip("/"))
        if registrant.node is not None and registrant.node != new.name:
            raise OtherNodeError(new.name, registrant.node)
        if registrant.token is not None:
            await self._count_attempt(registrant.token, new)
        if (fault := fault_in_url(new.url)) is not None:
            raise UnusableUrlError(fault)
        async with self._database.reading() as reader:
            await self._check_name(reader, new.name, registrant)
        sealed = self._box.put(new.name, new.credentials)
        found = await self._proven(new)
        credential = None if registrant.has_credential else new_secret(CREDENTIAL_PREFIX)
        async with self._database.transaction() as tx:
            await self._save(tx, new, registrant, sealed, found, credential)
        await self._directory.sync()
        _log.info("node_registered", node=new.name, url=new.url, registrant=registrant.who)
        node = self._member(new.name)
        node.note_probe("up", is_well=True)
        return Joined(node, credential)

    async def _count_attempt(self, token: UUID, new: NewNode) -> None:
        """Before it is made, so that no number of them at once is more than may be.

        Raises
        ------
        BadRegistrationTokenError
            There were too many, or the token was used for another node.
        """
        async with self._database.transaction() as tx:
            row = await self._tokens.attempt(
                tx, token, now=self._clock.now(), max_attempts=MAX_ATTEMPTS
            )
        if row is None or (row.used_name or new.name, row.used_url or new.url) != (
            new.name,
            new.url,
        ):
            raise BadRegistrationTokenError

    async def _check_name(
        self, tx: Transaction, name: str, registrant: Registrant
    ) -> NodeRow | None:
        """What is kept of the name that the registrant may take.

        It is who holds its credential, has a token for it, registered it before, or is the
        administrator; anybody, if nobody has it.
        """
        if name in self._directory.configured:
            raise NameTakenError(name)
        row = await self._store.find(tx, name, keep=True)
        if registrant.is_admin or registrant.node == name:
            return row
        if row is not None and row.registrant == registrant.who:
            return row
        if row is not None or await self._credentials.granted_to(tx, name) is not None:
            raise NameTakenError(name)
        return row

    async def _proven(self, new: NewNode) -> Found:
        try:
            await self._prover.prove(new.url, new.challenge_key)
            return await self._prover.capabilities(new.url)
        except ProvingError as error:
            _log.info("node_unproven", node=new.name, url=new.url, why=str(error))
            raise UnprovenUrlError(str(error)) from error

    async def _save(
        self,
        tx: Transaction,
        new: NewNode,
        registrant: Registrant,
        sealed: bytes,
        found: Found,
        credential: str | None,
    ) -> None:
        now = self._clock.now()
        before = await self._check_name(tx, new.name, registrant)
        granted = await self._granted(tx, new, registrant, now)
        is_for = {"owners": list(granted.owners), "groups": list(granted.groups)}
        row = NodeRow(
            name=new.name,
            url=new.url,
            declared=new.declared | is_for,
            credentials=sealed,
            registrant=registrant.who,
            token=None if registrant.token is None else str(registrant.token),
            registered=now,
            renewed=now,
            is_draining=False,
            silent_since=None,
            left_at=None,
            capabilities=found.raw,
            digest=found.digest,
            announced=found.digest,
        )
        if before is not None:
            await self._store.save(tx, row)
        elif not await self._store.add(tx, row):
            raise NameTakenError(new.name)  # somebody else was first, at this moment
        if credential is not None:
            await self._credentials.save(tx, new.name, digest_of(credential), granted, now)
        cause = MemberCause.REGISTERED if before is None else MemberCause.REGISTERED_ANEW
        await note_causes(self._store, tx, new.name, [cause], now)

    async def _granted(
        self, tx: Transaction, new: NewNode, registrant: Registrant, now: datetime
    ) -> Granted:
        """For whom the node is: as its token says, and for one that comes again as before."""
        if registrant.token is not None:
            token = await self._tokens.use(
                tx, registrant.token, name=new.name, url=new.url, now=now
            )
            if token is None:
                raise BadRegistrationTokenError
            return Granted(token.owners, token.groups)
        return await self._credentials.granted_to(tx, new.name) or Granted()

    def _member(self, name: str) -> RegisteredNode:
        try:
            return self._registry.get(name)
        except KeyError as error:  # it was removed a moment ago
            raise UnknownMemberError(name) from error
