"""The calls of Rucio's REST interface that locating needs, one by one, with all their traps.

Source: Rucio 41.5.1, ``lib/rucio/web/rest/flaskapi/v1``; the errors were seen there.
"""

import asyncio
from collections.abc import Collection, Mapping
from typing import Final
from urllib.parse import quote

import msgspec

from gateway.clients.lakes.authorized import AuthorizedCaller
from gateway.clients.lakes.connections import LakeReply
from gateway.clients.lakes.errors import (
    BUSY_STATUSES,
    LakeBusyError,
    LakeCredentialsError,
    LakeRequestError,
    LakeStatusError,
)
from gateway.clients.lakes.paths import did_path
from gateway.clients.lakes.patience import patiently
from gateway.clients.lakes.rows import decode, decode_lines
from gateway.clients.lakes.rucio_rows import (
    ChildRow,
    DatasetRow,
    DistanceRow,
    LinkRow,
    MetaRow,
    ReplicaRow,
    RseRow,
    SizeRow,
)
from gateway.domain.holdings import Did

LISTS_AT_ONCE: Final = 4
"""More calls of ``/replicas/list`` at once only wait for each other (measured)."""

CHEAP_AT_ONCE: Final = 8

_PERMANENT: Final = frozenset({"InvalidObject", "InvalidRSEExpression", "AccessDenied"})
"""Rucio says 500 with these, and means 400 or 403."""

_NO_TOKEN: Final = "Token must be set."  # noqa: S105  # what Rucio says, 400, since 38.0.0

_META: Final = msgspec.json.Decoder(MetaRow)
_REPLICA: Final = msgspec.json.Decoder(ReplicaRow)
_DATASET: Final = msgspec.json.Decoder(DatasetRow)
_CHILD: Final = msgspec.json.Decoder(ChildRow)
_RSE: Final = msgspec.json.Decoder(RseRow)
_LINK: Final = msgspec.json.Decoder(LinkRow)
_SIZE: Final = msgspec.json.Decoder(SizeRow)
_DISTANCES: Final = msgspec.json.Decoder(list[DistanceRow])


class _Failure(msgspec.Struct):
    ExceptionClass: str = ""
    ExceptionMessage: str = ""


class _Version(msgspec.Struct):
    version: str


_FAILURE: Final = msgspec.json.Decoder(_Failure)
_VERSION: Final = msgspec.json.Decoder(_Version)


def rucio_token(token: str) -> Mapping[str, str]:
    """Where Rucio wants its own tokens and those of an OIDC issuer alike; it reads no other."""
    return {"X-Rucio-Auth-Token": token}


def is_token_refused(reply: LakeReply) -> bool:
    """401, or the 400 that a server gives when it sees no token at all."""
    if reply.status == 400:
        return _failure(reply).ExceptionMessage == _NO_TOKEN
    return reply.status == 401


class RucioApi:
    """One Rucio. Every call raises ``LakeError``; a 4xx, and a 500 that means one, is permanent."""

    def __init__(self, caller: AuthorizedCaller) -> None:
        self._caller = caller
        self._lists = asyncio.Semaphore(LISTS_AT_ONCE)
        self._cheap = asyncio.Semaphore(CHEAP_AT_ONCE)

    async def describe(self, dids: Collection[Did], *, deadline: float) -> list[MetaRow]:
        """What these are, at most 1,000; those that are not known are left out.

        One ill-formed identifier among them has all of them refused.
        """
        body = msgspec.json.encode({"dids": _names(dids)})
        reply = await self._post("/dids/bulkmeta", body, self._cheap, deadline)
        return await decode_lines(reply.body, _META)

    async def replicas(self, dids: Collection[Did], *, deadline: float) -> list[ReplicaRow]:
        """The copies of these files, at most 1,000, or of all files in these collections.

        Only copies that can be read; files in collections that have none are left out.
        """
        wanted = {
            "dids": _names(dids),
            # The default, geoip, is 2 to 9 times slower without a database of addresses.
            "sort": "random",
            "resolve_archives": False,
        }
        body = msgspec.json.encode(wanted)
        reply = await self._post("/replicas/list", body, self._lists, deadline)
        return await decode_lines(reply.body, _REPLICA)

    async def dataset(self, did: Did, *, deadline: float) -> list[DatasetRow]:
        """How much of a dataset is where, also where nothing may be read; nothing if unknown."""
        path = f"/replicas/{did_path(did)}/datasets?deep=True"
        reply = await self._get(path, self._lists, deadline)
        return await decode_lines(reply.body, _DATASET)

    async def children(self, did: Did, *, deadline: float) -> list[ChildRow]:
        """What a container consists of, one level down."""
        reply = await self._get(f"/dids/{did_path(did)}/dids", self._cheap, deadline)
        return await decode_lines(reply.body, _CHILD)

    async def size(self, did: Did, *, deadline: float) -> SizeRow:
        """The sum over all files of a collection, also while it is open."""
        path = f"/dids/{did_path(did)}?dynamic_depth=FILE"
        reply = await self._get(path, self._cheap, deadline)
        return await decode(reply.body, _SIZE)

    async def storage_elements(self, *, deadline: float) -> list[RseRow]:
        """Every RSE there is."""
        reply = await self._get("/rses/", self._cheap, deadline)
        return await decode_lines(reply.body, _RSE)

    async def links(self, *, deadline: float) -> list[LinkRow]:
        """What was transferred over each link, and its distance.

        Only for root and accounts with the attribute ``admin``: others are refused.
        """
        reply = await self._get("/requests/metrics", self._cheap, deadline)
        return await decode_lines(reply.body, _LINK)

    async def distance(self, source: str, target: str, *, deadline: float) -> list[DistanceRow]:
        """The distance from one RSE to another, if there is one."""
        path = f"/rses/{quote(source, safe='')}/distances/{quote(target, safe='')}"
        reply = await self._get(path, self._cheap, deadline)
        return await decode(reply.body, _DISTANCES)

    async def version(self, *, deadline: float) -> str:
        """The version of the server, from a call that costs it nothing."""
        reply = await self._get("/ping", self._cheap, deadline)
        return (await decode(reply.body, _VERSION)).version

    async def _get(self, path: str, slots: asyncio.Semaphore, deadline: float) -> LakeReply:
        return await self._ask("GET", path, None, slots, deadline)

    async def _post(
        self, path: str, body: bytes, slots: asyncio.Semaphore, deadline: float
    ) -> LakeReply:
        return await self._ask("POST", path, body, slots, deadline)

    async def _ask(
        self, method: str, path: str, body: bytes | None, slots: asyncio.Semaphore, deadline: float
    ) -> LakeReply:
        async def once() -> LakeReply:
            return _checked(
                await self._caller.ask(method, path, body=body, deadline=deadline, slots=slots)
            )

        return await patiently(once)


def _checked(reply: LakeReply) -> LakeReply:
    if reply.status == 200:
        return reply
    error_class = _failure(reply).ExceptionClass
    if reply.status == 403:
        raise LakeCredentialsError
    if reply.status in BUSY_STATUSES:
        raise LakeBusyError(reply.status, error_class)
    is_permanent = 400 <= reply.status < 500 or (reply.status == 500 and error_class in _PERMANENT)
    raise (LakeRequestError if is_permanent else LakeStatusError)(reply.status, error_class)


def _failure(reply: LakeReply) -> _Failure:
    try:
        return _FAILURE.decode(reply.body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _Failure()


def _names(dids: Collection[Did]) -> list[dict[str, str]]:
    return [{"scope": did.scope, "name": did.name} for did in dids]
