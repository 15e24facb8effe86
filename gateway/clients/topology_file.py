"""The last map of sites in a file, so that a restart does not forget where things are."""

import asyncio
import os
from pathlib import Path

import msgspec
import structlog

from gateway.clients.topology import SiteMap

_log = structlog.stdlib.get_logger(__name__)


class SavedMap:
    """One file; its folder exists. What is in it can be made anew at any time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def load(self) -> SiteMap | None:
        """The map that was saved, if there is one that can be read."""
        return await asyncio.to_thread(self._load)

    async def save(self, site_map: SiteMap) -> None:
        """Keep it: the file is there whole or as it was. Failing to is logged."""
        await asyncio.to_thread(self._save, site_map)

    def _load(self) -> SiteMap | None:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=SiteMap)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            _log.warning("saved_map_not_read", file=str(self._path), error=str(error))
            return None

    def _save(self, site_map: SiteMap) -> None:
        part = self._path.with_name(f"{self._path.name}.{os.getpid()}.part")
        try:
            part.write_bytes(msgspec.json.encode(site_map))
            part.replace(self._path)
        except OSError as error:
            _log.warning("map_not_saved", file=str(self._path), error=str(error))
