"""URLs of S3 buckets and their objects, and lists of what is in a bucket. Pure.

Source: Amazon S3 API reference, "ListObjectsV2"; "Creating object key names".
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote_plus, urlencode
from xml.parsers import expat

from gateway.wire.documents import Document
from node_stub.staging.errors import SourceError
from node_stub.staging.reading import text

PAGE_SIZE: Final = 1000
"""Objects of one page of a list: the most that S3 gives."""

MAX_PAGE_BYTES: Final = 8 << 20
"""A page of a thousand objects with the longest keys takes some 4 MB."""

_KEPT: Final = "/-._~"
_BUCKET: Final = "{bucket}"
_OBJECT: Final = "{object}"


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket; ``template`` is the URL of its objects, with ``{bucket}`` and ``{object}``.

    A query of the template belongs to every URL: so a presigned URL can be given.
    """

    name: str
    template: str

    def object_url(self, key: str) -> str:
        """Where an object is."""
        return self._filled(quote(key, safe=_KEPT, errors="surrogatepass"))

    def list_url(self, continuation: str | None) -> str:
        """Where a page of the list of all objects is; None is the first."""
        query = {"encoding-type": "url", "list-type": "2", "max-keys": str(PAGE_SIZE)}
        if continuation is not None:
            query["continuation-token"] = continuation
        url = self._filled("")
        return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"

    def _filled(self, key: str) -> str:
        name = quote(self.name, safe="-._~")
        return self.template.replace(_BUCKET, name).replace(_OBJECT, key)


def read_bucket(data: Document) -> Bucket:
    """The bucket that an S3 data resource means.

    A template without ``{object}`` is a whole (presigned) URL if it has a query, otherwise what
    bucket and object are appended to; without template, that is the endpoint.
    """
    endpoint, name = text(data, "endpoint") or "", text(data, "bucket") or ""
    template = (text(data, "template") or endpoint).strip()
    if "://" not in template:
        template = f"https://{template}"
    address, mark, query = template.partition("?")
    if not mark:
        query = endpoint.partition("?")[2]
    if _OBJECT not in address and not mark:
        address = address.rstrip("/")
        if _BUCKET not in address:
            address += f"/{_BUCKET}"
        address += f"/{_OBJECT}"
    return Bucket(name, f"{address}?{query}" if query else address)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object in a bucket; ``size`` in bytes."""

    key: str
    size: int


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the objects; ``continuation`` asks for those that follow, None if there are none."""

    objects: tuple[StoredObject, ...]
    continuation: str | None


class _PageReader:
    """Takes the events of the parser."""

    def __init__(self) -> None:
        self.objects: list[StoredObject] = []
        self.members: dict[str, str] = {}
        self._object: dict[str, str] | None = None
        self._text: list[str] = []
        self._depth = 0
        self.root = ""

    def start(self, name: str, _attributes: dict[str, str]) -> None:
        self._text = []
        self._depth += 1
        if self._depth == 1:
            self.root = name
        elif self._depth == 2 and name == "Contents":
            self._object = {}

    def characters(self, data: str) -> None:
        self._text.append(data)

    def end(self, name: str) -> None:
        value = "".join(self._text)
        if self._depth == 2 and self._object is not None:
            size = self._object.get("Size", "")
            if not (size.isascii() and size.isdigit()):
                raise SourceError("the list of the bucket has an object without size")
            self.objects.append(StoredObject(self._object.get("Key", ""), int(size)))
            self._object = None
        elif self._depth == 2:
            self.members[name] = value
        elif self._depth == 3 and self._object is not None:
            self._object[name] = value
        self._depth -= 1


def _refuse_doctype(*_: object) -> None:
    raise SourceError("the list of the bucket has a document type")


def read_page(body: bytes) -> Page:
    """One page of a list, as S3 answers.

    Raises
    ------
    SourceError
        It is none.
    """
    reader = _PageReader()
    parser = expat.ParserCreate()
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.characters
    # Without a document type there are no entities that grow.
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        raise SourceError("the list of the bucket is not XML") from error
    if reader.root != "ListBucketResult":
        raise SourceError("the list of the bucket is something else")
    objects = reader.objects
    if reader.members.get("EncodingType") == "url":
        objects = [StoredObject(unquote_plus(found.key), found.size) for found in objects]
    is_more = reader.members.get("IsTruncated", "").strip() == "true"
    continuation = reader.members.get("NextContinuationToken") if is_more else None
    if is_more and not continuation:
        raise SourceError("the list of the bucket breaks off")
    return Page(tuple(objects), continuation)
