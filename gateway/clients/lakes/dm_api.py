"""SRCNet's data management API as a data lake: one identifier a call, places and no sizes.

Source: its public clients, which have seen three shapes of the answer to ``/data/locate``.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from gateway.clients.lakes.authorized import AuthorizedCaller
from gateway.clients.lakes.base import Health, Settled
from gateway.clients.lakes.connections import LakeReply
from gateway.clients.lakes.errors import (
    BUSY_STATUSES,
    LakeBusyError,
    LakeError,
    LakeInvalidAnswerError,
    LakeRequestError,
    LakeStatusError,
)
from gateway.clients.lakes.findings import Findings
from gateway.clients.lakes.paths import did_path
from gateway.clients.lakes.patience import patiently
from gateway.clients.lakes.rows import decode
from gateway.domain.holdings import Copy, Did, DidKind, Holding, LocateResult, Part, Place

CALLS_AT_ONCE: Final = 8

_ANY: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder()


@dataclass(frozen=True, slots=True)
class StoredReplicas:
    """What one storage area has of an identifier: the URLs of its files there."""

    place: Place
    urls: tuple[str, ...]
    is_dataset: bool | None


class DmApiLake:
    """One data management API. Keeps nothing."""

    def __init__(self, name: str, caller: AuthorizedCaller) -> None:
        self.name = name
        self._caller = caller
        self._slots = asyncio.Semaphore(CALLS_AT_ONCE)

    async def locate(
        self, dids: Collection[Did], *, deadline: float, settled: Settled
    ) -> LocateResult:
        """What the service knows of each; the deadline is for all the calls together."""
        findings = Findings(self.name, dids, settled)
        async with asyncio.TaskGroup() as group:
            for did in dict.fromkeys(dids):
                group.create_task(self._locate(did, findings, deadline))
        return findings.result()

    async def health(self, *, deadline: float) -> Health:
        """Whether it answers."""
        try:
            reply = await self._caller.ask("GET", "/ping", deadline=deadline)
        except LakeError as error:
            return Health(self.name, is_up=False, detail=str(error))
        return Health(self.name, reply.status == 200, f"HTTP status {reply.status}")

    async def _locate(self, did: Did, findings: Findings, deadline: float) -> None:
        try:
            # `nearest_by_ip`, the other order, needs a licence over there and has answered 500.
            path = f"/data/locate/{did_path(did)}?sort=random"
            reply = await patiently(lambda: self._ask(path, deadline))
            if reply.status == 404:
                findings.not_found(did)
                return
            stored = replicas_from(await decode(reply.body, _ANY))
        except LakeError as error:
            findings.failed([did], error)
            return
        if stored:
            holding = to_holding(did, stored)
            findings.hold(did, holding, is_open=holding.kind is not DidKind.FILE)
        else:
            findings.not_found(did)

    async def _ask(self, path: str, deadline: float) -> LakeReply:
        reply = await self._caller.ask("GET", path, deadline=deadline, slots=self._slots)
        if reply.status in {200, 404}:
            return reply
        if reply.status in BUSY_STATUSES:
            raise LakeBusyError(reply.status)
        raise (LakeRequestError if 400 <= reply.status < 500 else LakeStatusError)(reply.status)


def replicas_from(document: Any) -> tuple[StoredReplicas, ...]:
    """What each storage area has, from any of the three shapes; areas that have nothing left out.

    Raises
    ------
    LakeInvalidAnswerError
        It is none of them.
    """
    if isinstance(document, list):
        found = tuple(_from_item(item) for item in document)
    elif isinstance(document, dict):
        found = tuple(_from_member(rse, value) for rse, value in document.items())
    else:
        raise LakeInvalidAnswerError(_NO_SHAPE)
    return tuple(stored for stored in found if stored.urls)


_NO_SHAPE: Final = "it is none of the forms that locations come in"


def _from_item(item: Any) -> StoredReplicas:
    """``[{"identifier", "associated_storage_area_id", "replicas", "is_dataset", …}]``: today's."""
    if not isinstance(item, dict) or not isinstance(item.get("identifier"), str):
        raise LakeInvalidAnswerError(_NO_SHAPE)
    area, is_dataset = item.get("associated_storage_area_id"), item.get("is_dataset")
    return StoredReplicas(
        Place(rse=item["identifier"], area=area if isinstance(area, str) and area else None),
        _urls(item.get("replicas")),
        is_dataset if isinstance(is_dataset, bool) else None,
    )


def _from_member(rse: str, value: Any) -> StoredReplicas:
    """``{rse: [url]}``, the first shape, and ``{rse: {"replicas", "services"}}``, the second."""
    urls = value.get("replicas") if isinstance(value, dict) else value
    return StoredReplicas(Place(rse=rse), _urls(urls), is_dataset=None)


def _urls(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(url, str) for url in value):
        raise LakeInvalidAnswerError(_NO_SHAPE)
    return tuple(value)


def to_holding(did: Did, stored: Collection[StoredReplicas]) -> Holding:
    """What is known of an identifier that has at least one replica: no sizes.

    Of a dataset, nobody says whether an area has all of it. The one with the most files is taken
    to, which makes the whole a guess.
    """
    counts = [len(area.urls) for area in stored]
    said = {area.is_dataset for area in stored}
    if True in said or (None in said and max(counts) > 1):
        files = max(counts)
        copies = tuple(
            Copy(area.place, files=len(area.urls), is_complete=len(area.urls) == files)
            for area in stored
        )
        kind = DidKind.DATASET if True in said else DidKind.UNKNOWN
        part = Part(str(did), files=files, copies=copies)
        return Holding(did, kind, files=files, parts=(part,), is_approximate=True)
    copies = tuple(Copy(area.place, files=1, urls=area.urls) for area in stored)
    kind = DidKind.FILE if said == {False} else DidKind.UNKNOWN
    return Holding(did, kind, files=1, parts=(Part(str(did), files=1, copies=copies),))
