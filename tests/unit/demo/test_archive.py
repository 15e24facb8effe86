"""The demo's archive serves files as a data centre does: whole, in parts, or not at all."""

import hashlib
from collections.abc import AsyncIterator
from typing import Final

import aiohttp
import pytest

from gateway.cli.demo.archive import Archive, ArchiveFile, archive

FILE: Final = ArchiveFile("cube.fits", bytes(range(256)) * 8, "application/fits")


@pytest.fixture
async def served() -> AsyncIterator[Archive]:
    async with archive([FILE]) as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        yield session


async def test_a_file_comes_with_its_size_type_and_checksum(
    served: Archive, http: aiohttp.ClientSession
) -> None:
    async with http.get(served.location(FILE)) as response:
        assert response.status == 200
        assert await response.read() == FILE.content
    assert response.content_length == FILE.size
    assert response.content_type == "application/fits"
    assert response.headers["Accept-Ranges"] == "bytes"
    assert response.headers["ETag"] == f'"{hashlib.sha256(FILE.content).hexdigest()}"'
    assert served.fetched == {"cube.fits": 2048}


async def test_a_look_at_a_file_gives_its_size_and_fetches_nothing(
    served: Archive, http: aiohttp.ClientSession
) -> None:
    async with http.head(served.location(FILE)) as response:
        assert (response.status, await response.read()) == (200, b"")
    assert response.content_length == FILE.size
    assert served.fetched == {}


@pytest.mark.parametrize(
    ("asked", "given", "content"),
    [
        ("bytes=0-9", "bytes 0-9/2048", FILE.content[:10]),
        ("bytes=2000-", "bytes 2000-2047/2048", FILE.content[2000:]),
        ("bytes=2000-9999", "bytes 2000-2047/2048", FILE.content[2000:]),
        ("bytes=-7", "bytes 2041-2047/2048", FILE.content[-7:]),
    ],
)
async def test_a_range_of_a_file_is_given(
    served: Archive, http: aiohttp.ClientSession, asked: str, given: str, content: bytes
) -> None:
    async with http.get(served.location(FILE), headers={"Range": asked}) as response:
        assert response.status == 206
        assert response.headers["Content-Range"] == given
        assert await response.read() == content
    assert served.fetched == {"cube.fits": len(content)}


async def test_a_range_of_an_older_file_gives_the_whole_of_the_new_one(
    served: Archive, http: aiohttp.ClientSession
) -> None:
    headers = {"Range": "bytes=5-", "If-Range": '"older"'}
    async with http.get(served.location(FILE), headers=headers) as response:
        assert (response.status, await response.read()) == (200, FILE.content)


@pytest.mark.parametrize("asked", ["bytes=2048-", "bytes=9-3", "lines=1-2"])
async def test_a_range_that_is_not_there_is_refused(
    served: Archive, http: aiohttp.ClientSession, asked: str
) -> None:
    async with http.get(served.location(FILE), headers={"Range": asked}) as response:
        assert response.status == 416
    assert response.headers["Content-Range"] == "bytes */2048"
    assert served.fetched == {}


async def test_what_the_archive_does_not_have_is_not_found(
    served: Archive, http: aiohttp.ClientSession
) -> None:
    async with http.get(f"{served.url}/other.fits") as response:
        assert response.status == 404


async def test_the_archive_is_gone_after_its_block(http: aiohttp.ClientSession) -> None:
    async with archive([FILE]) as served:
        pass
    with pytest.raises(aiohttp.ClientConnectorError):
        await http.get(served.location(FILE))
