"""The list of what is in a bucket, page by page, within the site's limits."""

from yarl import URL

from node_stub.staging import reasons
from node_stub.staging.allowlist import UrlRules
from node_stub.staging.client import GuardedClient, Signer, translated
from node_stub.staging.credentials import Keyring
from node_stub.staging.errors import RefusedError, SourceError
from node_stub.staging.names import distinct_paths
from node_stub.staging.plans import Location, WantedBucket, WantedFile
from node_stub.staging.repeating import repeated
from node_stub.staging.s3 import MAX_PAGE_BYTES, Page, StoredObject, read_page
from node_stub.staging.settings import StagingSettings
from node_stub.staging.sources import check_status


class BucketLister:
    """Asks S3 services what is in their buckets."""

    def __init__(
        self, settings: StagingSettings, rules: UrlRules, client: GuardedClient, keyring: Keyring
    ) -> None:
        self._settings = settings
        self._rules = rules
        self._client = client
        self._keyring = keyring

    async def files(self, wanted: WantedBucket) -> list[WantedFile]:
        """Every object as a file with its size, under a path of its own; markers left out.

        The name of each is its path below the directory of the data.

        Raises
        ------
        RefusedError, SourceError, TransientError
            It cannot be had, or holds too much.
        """
        objects = await self._objects(wanted)
        paths = distinct_paths(found.key for found in objects)
        return [
            WantedFile(
                name=str(paths[found.key]),
                locations=(
                    Location(wanted.bucket.object_url(found.key), "/template", wanted.credentials),
                ),
                size=found.size,
            )
            for found in objects
        ]

    async def _objects(self, wanted: WantedBucket) -> list[StoredObject]:
        objects: dict[str, StoredObject] = {}
        continuation: str | None = None
        while True:
            page = await self._page(wanted, continuation)
            # A key that ends in a slash stands for a directory: it has no content of its own.
            objects |= {found.key: found for found in page.objects if not found.key.endswith("/")}
            if len(objects) > self._settings.max_objects:
                raise SourceError(f"the bucket has more than {self._settings.max_objects} objects")
            if page.continuation is None:
                return list(objects.values())
            if not page.objects or page.continuation == continuation:
                raise SourceError("the list of the bucket does not come to an end")
            continuation = page.continuation

    async def _page(self, wanted: WantedBucket, continuation: str | None) -> Page:
        url = self._rules.check(wanted.bucket.list_url(continuation))
        if url.scheme == "file":
            raise RefusedError(reasons.SCHEME_REFUSED, scheme="file", location=wanted.bucket.name)
        signer = self._keyring.signer(wanted.credentials, url)

        async def ask() -> Page:
            return read_page(await self._body(url, signer))

        return await repeated(ask, self._settings)

    async def _body(self, url: URL, signer: Signer | None) -> bytes:
        body = bytearray()
        async with self._client.request("GET", url, {}, signer=signer) as response:
            check_status(response)
            with translated(url):
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > MAX_PAGE_BYTES:
                        raise SourceError("the list of the bucket is too large")
        return bytes(body)
