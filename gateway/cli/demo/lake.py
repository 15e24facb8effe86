"""The demo's data lake: one file, whose only copy lies at one of three sites.

All nodes of a demo run on one machine, where nothing is far. What makes the sites differ is what
the gateway's settings declare of the links between them, as operators do for links that they know.
"""

from dataclasses import dataclass
from typing import Final

from gateway.cli.demo.archive import Archive, ArchiveFile
from gateway.wire.documents import Document

LAKE_FILE: Final = "lake.yaml"
"""The catalogue, beside the gateway's settings."""

NAMESPACE: Final = "demo"
"""Of the names in the lake, as the example request has it."""

SITE_OF: Final = {"alpha": "uk", "beta": "spain", "gamma": "japan"}
"""Where the nodes are."""

HOME: Final = "spain"
"""The site that has the copy."""

SLOW_GBIT_S: Final = 2e-5
"""What the link from there to the United Kingdom is declared to carry: so little that the 2.1 MB of
the demo take as long as 1 TB does at 10 Gbit/s, a quarter of an hour."""

SITES: Final[Document] = {
    "uk": {"latitude": 51.57, "longitude": -1.31, "rses": ["UK_RSE"]},
    "spain": {"latitude": 37.16, "longitude": -3.59, "rses": ["ES_RSE"]},
    "japan": {"latitude": 35.68, "longitude": 139.54, "rses": ["JP_RSE"]},
}
"""Didcot, Granada, Mitaka. From Spain to Japan no link is declared: geography has to do."""


@dataclass(frozen=True, slots=True)
class DemoLake:
    """One file of an archive, by its name in the lake."""

    file: ArchiveFile
    url: str

    @property
    def did(self) -> str:
        """Its identifier."""
        return f"{NAMESPACE}:{self.file.name}"

    def catalogue(self) -> Document:
        """The lake's file: what there is, how large it is, and where its copy lies."""
        entry: Document = {
            "did": self.did,
            "bytes": self.file.size,
            "checksums": {"sha256": self.file.sha256},
            "copies": [{"rse": SITES[HOME]["rses"][0], "urls": [self.url]}],
        }
        return {"data": [entry]}


def lake_of(store: Archive, name: str) -> DemoLake:
    """The lake with one file of the archive, which has its only copy."""
    file = store.files[name]
    return DemoLake(file, store.location(file))


def lake_sections() -> Document:
    """The sections of the gateway's settings about data."""
    return {
        "data_lake": {"type": "static", "file": LAKE_FILE},
        "sites": SITES,
        "links": [{"from": HOME, "to": "uk", "gbit_s": SLOW_GBIT_S}],
    }
