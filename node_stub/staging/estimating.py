"""What a node says of a request's data before it offers: refusals, times, and what is assumed."""

import math
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from gateway.wire.documents import Document
from node_stub.appraisal import Appraisal, Remark
from node_stub.rules import Estimate
from node_stub.staging import reasons
from node_stub.staging.allowlist import host_of, shown
from node_stub.staging.cache import Cache, cache_key
from node_stub.staging.credentials import Keyring
from node_stub.staging.destinations import check_destination, read_destination
from node_stub.staging.errors import RefusedError
from node_stub.staging.layout import storage_bytes, uuid_of
from node_stub.staging.notebooks import plan_notebook
from node_stub.staging.plans import DataPlan, Location, WantedFile, plan_data
from node_stub.staging.rates import Rates
from node_stub.staging.reading import components
from node_stub.staging.room import BYTES_PER_GIB
from node_stub.staging.settings import StagingSettings

COPY_BYTES_PER_S: Final = 500e6
"""How fast a file is copied on one machine: a cautious figure for a disk of today."""

RELEASE: Final = Estimate(prepare_s=0, release_s=1)
"""To remove files takes no time to speak of."""


class Estimator:
    """Looks at requests without fetching or looking up anything."""

    def __init__(
        self, settings: StagingSettings, keyring: Keyring, rates: Rates, cache: Cache
    ) -> None:
        self._settings = settings
        self._rules = settings.rules()
        self._push_rules = settings.push.rules()
        self._keyring = keyring
        self._rates = rates
        self._cache = cache

    def appraise(self, document: Document, *, shares_files: bool) -> Appraisal:
        """What can be seen beforehand of storage, data and notebook, times by component UUID."""
        remarks = [*self._notebook(document), *self._destinations(document)]
        stores = components(document, "storage")
        estimates = {str(uuid_of(storage)): RELEASE for storage in stores}
        left = {uuid_of(storage): storage_bytes(storage) for storage in stores}
        for i, data in enumerate(components(document, "data")):
            pointer = f"/data/{i}"
            try:
                plan = plan_data(data, pointer)
            except RefusedError as error:
                remarks.append(_remark(error, pointer))
                continue
            said, hosts = self._locations(plan)
            remarks += [*said, *self._sizes(plan, left)]
            if hosts:
                estimate, assumed = self._time(plan, hosts[0], shares_files=shares_files)
                estimates[str(plan.uuid)] = estimate
                remarks += assumed
        return Appraisal(estimates, tuple(remarks))

    def _notebook(self, document: Document) -> list[Remark]:
        try:
            notebook = plan_notebook(document)
            if notebook is not None and notebook.location is not None:
                self._rules.check(notebook.location.url)
        except RefusedError as error:
            return [_remark(error, "/executable/location")]
        return []

    def _destinations(self, document: Document) -> list[Remark]:
        remarks = []
        for i, storage in enumerate(components(document, "storage")):
            destination = read_destination(storage)
            if destination is None:
                continue
            try:
                check_destination(destination, self._push_rules, self._keyring)
            except RefusedError as error:
                remarks.append(_remark(error, f"/storage/{i}/location"))
        return remarks

    def _locations(self, plan: DataPlan) -> tuple[list[Remark], list[str]]:
        """What is said of the locations, and the hosts of those that may be fetched from."""
        refused: list[tuple[Location, RefusedError]] = []
        hosts = []
        for location in _locations_of(plan):
            try:
                url = self._rules.check(location.url)
                if location.credentials is not None:
                    self._keyring.check(location.credentials, url)
            except RefusedError as error:
                refused.append((location, error))
            else:
                hosts.append(host_of(url) if url.scheme != "file" else "")
        if not hosts:
            said = [_remark(error, plan.pointer + place.pointer) for place, error in refused]
        else:
            said = [
                Remark(
                    reasons.LOCATION_LEFT_OUT,
                    plan.pointer + place.pointer,
                    {"location": shown(place.url), "why": str(error)},
                )
                for place, error in refused
            ]
        return said, hosts

    def _sizes(self, plan: DataPlan, left: dict[UUID, int]) -> list[Remark]:
        """What cannot be fetched or put for its size, as far as that is known."""
        wanted = plan.wanted
        size = wanted.size if isinstance(wanted, WantedFile) else wanted.likely_size
        if size is None:
            return []
        remarks = []
        limit = self._settings.max_file_bytes
        if isinstance(wanted, WantedFile) and size > limit:
            values = {"size": str(size), "limit": str(limit)}
            remarks.append(Remark(reasons.FILE_TOO_LARGE, plan.pointer, values))
        room = left.get(plan.storage, 0)
        if size > room:
            values = {"size": str(size), "limit": str(room)}
            remarks.append(Remark(reasons.STORAGE_TOO_SMALL, f"{plan.pointer}/storage", values))
        left[plan.storage] = room - size
        return remarks

    def _time(
        self, plan: DataPlan, host: str, *, shares_files: bool
    ) -> tuple[Estimate, Sequence[Remark]]:
        wanted = plan.wanted
        if isinstance(wanted, WantedFile) and (kept := self._kept(wanted)) is not None:
            seconds = 0.0 if shares_files else kept / COPY_BYTES_PER_S
            return Estimate(math.ceil(seconds), RELEASE.release_s), ()
        size = wanted.size if isinstance(wanted, WantedFile) else None
        if size is None:
            size = wanted.likely_size
        remarks = []
        if size is None:
            size = int(self._settings.default_size_gib * BYTES_PER_GIB)
            gib = f"{self._settings.default_size_gib:g}"
            remarks.append(Remark(reasons.SIZE_ASSUMED, plan.pointer, {"gib": gib}))
        return Estimate(math.ceil(self._rates.seconds(host, size)), RELEASE.release_s), remarks

    def _kept(self, wanted: WantedFile) -> int | None:
        """The size of what the cache has of it."""
        if wanted.checksum is None:
            return None
        locations = tuple(location.url for location in wanted.locations)
        return self._cache.size_of(cache_key(wanted.checksum, locations))


def _locations_of(plan: DataPlan) -> Sequence[Location]:
    wanted = plan.wanted
    if isinstance(wanted, WantedFile):
        return wanted.locations
    return [Location(wanted.bucket.list_url(None), "/template", wanted.credentials)]


def _remark(error: RefusedError, pointer: str) -> Remark:
    return Remark(error.reason, pointer, error.values)
