"""Small static data lakes, and the sites they lie at."""

from pathlib import Path
from typing import Any, Final

import yaml

from gateway.sections.lake_settings import SiteSettings, StaticLakeSettings
from gateway.wire.documents import Document
from gateway.wire.kinds import SKAO_DATA

GB: Final = 10**9

SITES: Final = {
    "uk": SiteSettings(latitude=51.6, longitude=-1.3, rses=("UK_RSE",)),
    "sweden": SiteSettings(latitude=57.4, longitude=11.9, rses=("SE_RSE",)),
    "australia": SiteSettings(latitude=-31.9, longitude=115.8, rses=("AU_RSE",)),
}
"""Three sites of which the first two are near each other."""

AT_SITES: Final = {
    "alpha": {"site": "uk"},
    "beta": {"site": "sweden"},
    "gamma": {"site": "australia"},
}
"""Settings by node that place the three usual nodes."""


def copies_at(*rses: str, name: str = "f1") -> list[Document]:
    """A whole copy with its URL at each of these."""
    return [
        {"rse": rse, "urls": [f"davs://{rse.lower().replace('_', '-')}.example.org/{name}"]}
        for rse in rses
    ]


def lake_at(folder: Path, *entries: Document) -> tuple[StaticLakeSettings, ...]:
    """A lake with these data."""
    file = folder / "lake.yaml"
    file.write_text(yaml.safe_dump({"data": list(entries)}))
    return (StaticLakeSettings(file=file),)


def file_entry(size: int, *rses: str, name: str = "f1", **more: Any) -> Document:
    """A file of so many bytes, whole at each of these."""
    return {"did": f"test:{name}", "bytes": size, "copies": copies_at(*rses, name=name), **more}


def skao(name: str = "f1", **members: Any) -> Document:
    """The resource by which a client asks for that file."""
    return {"kind": SKAO_DATA, "skao": {"namespace": "test", "objectname": name, **members}}
