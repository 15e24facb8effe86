"""What locates data, over the real Rucio of the tests, built as the gateway builds it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry

from gateway.assembly.lakes import LakeParts, build_lakes
from gateway.clock import SystemClock
from gateway.domain.holdings import Holding, Located
from gateway.sections.lake_settings import (
    LakeSections,
    LocatingSettings,
    RucioLakeSettings,
    SiteSettings,
)
from gateway.wire.documents import Document
from gateway.wire.kinds import SKAO_DATA
from gateway.wire.secret import Secret
from tests.support.lake_stubs import in_s
from tests.support.locating import views
from tests.support.rucio import ACCOUNT, PASSWORD, USERNAME, RucioServer
from tests.support.rucio_seed import BLOCKED, SCOPE, SITES, TAPE
from tests.support.waiting import eventually


@dataclass(frozen=True, slots=True)
class Lake:
    """What locates data, over the real server."""

    parts: LakeParts

    async def locate(self, *names: str, within_s: float = 10.0) -> Located:
        """Look up objects of the test's scope."""
        documents = [skao(name) for name in names]
        return await self.parts.locator.locate(views(documents), in_s(within_s))

    async def holding(self, name: str) -> Holding:
        """What is known of one; at first it may be rough."""

        async def look() -> Holding | None:
            found = (await self.locate(name)).holdings[0]
            return None if found.is_approximate else found

        found = await eventually(look, 10)
        assert found is not None
        return found


SITE_SETTINGS: Final = {
    site.name: SiteSettings(
        latitude=site.latitude,
        longitude=site.longitude,
        rses=(site.rse, *((BLOCKED,) if site.name == "za" else ())),
        tapes=(TAPE,) if site.name == "uk" else (),
    )
    for site in SITES
}


def lake_settings(server: RucioServer, **more: Any) -> RucioLakeSettings:
    """The real server as a data lake."""
    login = {"account": ACCOUNT, "username": USERNAME, "password": Secret(PASSWORD)}
    return RucioLakeSettings(**{"url": server.url, **login, **more})


def skao(name: str) -> Document:
    """A resource for an object of the test's scope."""
    return {
        "kind": SKAO_DATA,
        "meta": {"name": "data"},
        "skao": {"namespace": SCOPE, "objectname": name},
    }


@asynccontextmanager
async def running_lake(
    server: RucioServer, folder: Path, locating: LocatingSettings | None = None, **more: Any
) -> AsyncIterator[Lake]:
    """What locates data, built as the gateway builds it."""
    sections = LakeSections(
        data_lake=(lake_settings(server, **more),),
        sites=SITE_SETTINGS,
        locating=locating or LocatingSettings(),
    )
    parts = build_lakes(sections, folder, SystemClock(), CollectorRegistry())
    async with parts.running():
        yield Lake(parts)
