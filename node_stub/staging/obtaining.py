"""Getting one wanted file to its place: out of the cache, or fetched into it, or just fetched."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from node_stub.staging.allowlist import UrlRules, is_signed, parse_url, shown
from node_stub.staging.cache import Cache, cache_key
from node_stub.staging.client import GuardedClient
from node_stub.staging.credentials import Keyring
from node_stub.staging.errors import RefusedError, UnobtainableError
from node_stub.staging.fetching import Demand, Fetcher
from node_stub.staging.layout import Place
from node_stub.staging.parts import PartFile
from node_stub.staging.plans import Location, WantedFile
from node_stub.staging.room import Lease
from node_stub.staging.sources import FileSource, HttpSource, Source
from node_stub.staging.threads import settled


@dataclass(frozen=True, slots=True)
class Order:
    """One file to get.

    ``part`` is what it is fetched into if it does not go by the cache. ``is_shared``: the file of
    the cache itself may be put there, since nothing can write to it.
    """

    wanted: WantedFile
    target: Path
    part: Path
    place: Place
    lease: Lease
    max_bytes: int
    is_shared: bool = False


class Obtainer:
    """Gets files; the same data for two sessions is fetched once."""

    def __init__(
        self,
        rules: UrlRules,
        client: GuardedClient,
        keyring: Keyring,
        fetcher: Fetcher,
        cache: Cache,
    ) -> None:
        self._rules = rules
        self._client = client
        self._keyring = keyring
        self._fetcher = fetcher
        self._cache = cache

    async def obtain(self, order: Order) -> int:
        """Get a file to its place, complete and verified; how many bytes were fetched for it.

        Raises
        ------
        UnobtainableError
            No location gave it.
        StorageError
            It has no room.
        """
        key = self._key(order.wanted)
        if key is None:
            return await self._fetch_apart(order)
        async with self._cache.turn(key):
            if await self._is_given(order, key):
                return 0
            return await self._fetch_into_cache(order, key)

    def _key(self, wanted: WantedFile) -> str | None:
        """What it is cached under; None if it is not for everybody, or cannot be told from others.

        Files of this machine are no nearer in the cache than they are.
        """
        if wanted.checksum is None or not self._cache.limit_bytes:
            return None
        urls = []
        for location in wanted.locations:
            try:
                urls.append(parse_url(location.url))
            except RefusedError:
                continue
        if not urls or any(url.scheme == "file" or is_signed(url) for url in urls):
            return None
        return cache_key(wanted.checksum, tuple(location.url for location in wanted.locations))

    async def _is_given(self, order: Order, key: str) -> bool:
        size = self._cache.size_of(key)
        if size is None or order.wanted.size not in {None, size} or size > order.max_bytes:
            return False
        order.lease.resize(size)
        mode = order.place.file_mode
        given = await settled(self._cache.give, key, order.target, mode, is_shared=order.is_shared)
        return given is not None

    async def _fetch_into_cache(self, order: Order, key: str) -> int:
        assert order.wanted.checksum is not None  # it has a key
        part = self._cache.part(key, order.wanted.checksum)
        try:
            received = await self._fetch(order, part)
            if self._cache.can_hold(part.size):
                await settled(self._cache.admit, key, part)
                if await self._is_given(order, key):
                    return received
                raise UnobtainableError("the cache lost it again")
            await settled(part.finish, order.target, order.place.file_mode)
        finally:
            await settled(part.close)
        return received

    async def _fetch_apart(self, order: Order) -> int:
        part = PartFile(order.part, order.wanted.checksum)
        try:
            received = await self._fetch(order, part)
            await settled(part.finish, order.target, order.place.file_mode)
        finally:
            await settled(part.close)
        return received

    async def _fetch(self, order: Order, part: PartFile) -> int:
        sources, refused = self._sources(order.wanted)
        if not sources:
            raise UnobtainableError("; ".join(refused))
        sizes = {order.wanted.size, *(location.size for location in order.wanted.locations)}
        # What one location states is believed of all, unless they contradict each other.
        stated = order.wanted.size if len(sizes - {None}) != 1 else (sizes - {None}).pop()
        demand = Demand(stated, order.wanted.checksum, order.max_bytes)
        try:
            return await self._fetcher.fetch(demand, sources, part, order.lease)
        except UnobtainableError as error:
            raise UnobtainableError("; ".join([str(error), *refused])) from error

    def _sources(self, wanted: WantedFile) -> tuple[list[Source], Sequence[str]]:
        sources: list[Source] = []
        refused = []
        for location in wanted.locations:
            try:
                sources.append(self._source(location, wanted.name))
            except RefusedError as error:
                refused.append(f"{shown(location.url)}: {error}")
        return sources, refused

    def _source(self, location: Location, name: str) -> Source:
        url = self._rules.check(location.url)
        if url.scheme == "file":
            return FileSource(self._rules.check_file(url), self._rules.file_roots)
        signer = self._keyring.signer(location.credentials, url)
        return HttpSource(self._client, url, name, signer)
